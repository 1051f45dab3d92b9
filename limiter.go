package ratelimit

import (
	"context"
	"math"
	"time"
)

// Limiter decides whether events may happen now.
// All methods are safe for concurrent use.
//
// An n of 0 is always admitted and changes nothing. A negative n, and one
// above the limit, can never be admitted: such a call is refused with a
// RetryAfter of [Never], or an error that wraps [ErrExceedsLimit], and changes
// nothing either.
//
// While somebody waits, Allow and Take refuse rather than overtake. RetryAfter is
// then a lower bound, save that it may count whoever is admitted at that moment.
type Limiter interface {
	// Allow is AllowN(1).
	Allow() bool

	// AllowN admits all n events, or none of them.
	AllowN(n int) bool

	// Take is AllowN with the reasons.
	Take(n int) Decision

	// Peek answers what Take would, and leaves the state untouched.
	Peek(n int) Decision

	// Wait is WaitN(ctx, 1).
	Wait(ctx context.Context) error

	// WaitN blocks until n events are admitted. Waiters are served in order of
	// arrival; one that gives up leaves neither a debt nor a gap. It returns
	// the context's error if that is done first, an error that wraps
	// [ErrWouldExceedDeadline] as soon as it is known that the context's
	// deadline, which is real time whatever the limiter's clock, does not come
	// after the admission, and one that wraps
	// [ErrExceedsLimit] if n can never be admitted. A call that returns an
	// error has consumed nothing.
	WaitN(ctx context.Context, n int) error
}

// Decision is the answer to [Limiter.Take] and [Limiter.Peek].
type Decision struct {
	Allowed    bool
	N          int           // how many were asked for
	At         time.Duration // the clock reading it was decided at
	Limit      int           // the most that can ever be admitted at once
	Remaining  int           // how many more would be admitted now
	RetryAfter time.Duration // 0 if Allowed; else the wait after which N would be admitted, if nobody else comes; or Never
	ResetAfter time.Duration // the wait until the limiter is as good as new, if nobody else comes
}

// Never is the [Decision.RetryAfter] of what cannot be admitted however long
// one waits.
const Never time.Duration = math.MaxInt64

// Refunder is a limiter that can undo an admission.
type Refunder interface {
	// Refund undoes what d admitted, as far as it still counts. It does
	// nothing for a decision that was refused. Each decision may be refunded
	// once, to the limiter that made it.
	Refund(d Decision)
}

// Resetter is a limiter that can be made as good as new.
type Resetter interface {
	// Reset returns the limiter to its fresh state.
	Reset()
}
