// Package fixedwindow limits a count per aligned window: at most Limit events
// in each window [k·Window, (k+1)·Window) since the Unix epoch plus Offset. All
// limiters with the same Window and Offset begin anew together, on the wall
// clock as it was when the clock started.
//
// # Promise
//
// Exactly Limit events in each window. The worst case is a burst astride an
// edge: up to 2·Limit events in a time as long as a Window, all of them within
// two nanoseconds if they come that fast. Where that matters choose
// slidingwindow, which makes it unlikely, or slidinglog, which excludes it.
//
// # Cost
//
// The state is one word. A decision reads the clock once and makes one
// compare-and-swap; a refusal writes nothing. Nothing but a wait that blocks
// or fails allocates.
package fixedwindow

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/fifo"
	"github.com/ratekeep/ratelimit/internal/span"
	"github.com/ratekeep/ratelimit/internal/window"
)

// Config says what to limit to.
type Config struct {
	// Limit is how many events are admitted in each window: at least 1, and at
	// most one per nanosecond.
	Limit int

	// Window is the length of a window: 1 ns to ten years.
	Window time.Duration

	// Offset moves the windows' edges away from multiples of Window since the
	// Unix epoch, which are UTC: a day begins at midnight UTC, and a week of 7
	// days on a Thursday. It counts modulo Window and may be negative. For days
	// that begin at 06:00 UTC it is 6h, for weeks that begin on Monday 4 days.
	Offset time.Duration

	// Clock is what time is read from. nil means a system clock of the
	// limiter's own.
	Clock clock.Clock
}

// Limiter is a fixed window. It implements [ratelimit.Limiter],
// [ratelimit.Refunder] and [ratelimit.Resetter]. All methods are safe for
// concurrent use. It is made by New, and must not be copied.
type Limiter struct {
	state atomic.Uint64 // a state
	queue fifo.Queue

	// Set by New.
	clock  clock.Clock
	grid   window.Grid
	limit  int
	layout layout
}

// New returns a limiter that has admitted nothing. Its error names the field,
// the value and the range.
func New(c Config) (*Limiter, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return nil, fmt.Errorf("fixedwindow: %w", err)
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	return &Limiter{
		clock:  c.Clock,
		grid:   window.NewGrid(c.Window, c.Offset, c.Clock.Epoch()),
		limit:  c.Limit,
		layout: layoutFor(c.Limit),
	}, nil
}

// MustNew is New for a Config that is known to be good. It panics with New's
// error.
func MustNew(c Config) *Limiter {
	l, err := New(c)
	if err != nil {
		panic(err)
	}
	return l
}

// Allow is AllowN(1).
func (l *Limiter) Allow() bool { return l.allow(1) }

// AllowN counts n events if the window has that many left, or none.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.limit {
		return n == 0
	}
	return l.allow(n)
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.limit {
		l.answer(&d, clock.Refreshed(l.clock), state(l.state.Load()), n, ahead, n == 0)
		return d
	}
	l.take(n, &d)
	return d
}

// Peek answers what Take would, and counts nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.limit {
		l.answer(&d, clock.Refreshed(l.clock), state(l.state.Load()), n, ahead, n == 0)
		return d
	}
	now, s := l.clock.Now(), state(l.state.Load())
	next, ok := l.next(s, now, n)
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		next, ok = l.next(s, now, n)
	}
	l.answer(&d, now, next, n, 0, ok)
	return d
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until a window has n events left, and counts them. Waiters are
// served in order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.limit {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("fixedwindow: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.limit)
	}
	if l.allow(n) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund uncounts what d counted, if that was in the window that is counted
// now. What a window that has passed admitted gives nothing to the next.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.limit {
		return
	}
	charged := l.grid.Charged(d.At, d.ResetAfter)
	for {
		s := state(l.state.Load())
		if l.layout.index(s) != charged {
			return
		}
		used := l.layout.used(s)
		next := l.layout.pack(charged, used-min(used, uint64(d.N)))
		if l.state.CompareAndSwap(uint64(s), uint64(next)) {
			l.queue.Wake()
			return
		}
	}
}

// Reset uncounts everything.
func (l *Limiter) Reset() {
	l.state.Store(0)
	l.queue.Wake()
}

// Clock is the clock that the limiter decides by.
func (l *Limiter) Clock() clock.Clock { return l.clock }

// Delay is the RetryAfter of a Take of n, if events that wait elsewhere were
// ahead of it besides those in line here. [ratelimit.All] asks for it.
func (l *Limiter) Delay(ahead, n int) time.Duration {
	// A sum that overflows is less than either.
	if ahead = max(ahead, l.queue.Ahead(), ahead+l.queue.Ahead()); ahead <= 0 {
		return l.Peek(n).RetryAfter
	}
	var d ratelimit.Decision
	l.answer(&d, clock.Refreshed(l.clock), state(l.state.Load()), n, ahead, n == 0)
	return d.RetryAfter
}

// allow counts n events, if there is room for them and nobody waits for it.
func (l *Limiter) allow(n int) bool {
	if !l.queue.Empty() {
		return false
	}
	t := l.grid.Time(l.clock.Now())
	for fresh := false; ; {
		old := state(l.state.Load())
		s := l.turn(old, t)
		if uint64(n) > uint64(l.limit)-l.layout.used(s) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			t, fresh = l.grid.Time(coarse.Refresh()), true
			continue
		}
		if l.state.CompareAndSwap(uint64(old), uint64(s)+uint64(n)) {
			return true
		}
	}
}

// take is allow for the first in line, with the reasons.
func (l *Limiter) take(n int, d *ratelimit.Decision) {
	now := l.clock.Now()
	coarse, late := l.clock.(*clock.Coarse)
	for {
		s := state(l.state.Load())
		next, ok := l.next(s, now, n)
		switch {
		case ok && l.state.CompareAndSwap(uint64(s), uint64(next)):
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = l.limit
			d.Remaining = l.limit - int(l.layout.used(next))
			d.ResetAfter = l.grid.Until(now, l.layout.index(next), 1, 0)
			return
		case !ok && late:
			now, late = coarse.Refresh(), false
		case !ok:
			l.answer(d, now, s, n, 0, false)
			return
		}
	}
}

// serve counts the n events of the first in line.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	var d ratelimit.Decision
	l.take(n, &d)
	return d.RetryAfter, d.Allowed
}

// delay is the wait for n events behind others in line.
func (l *Limiter) delay(ahead, n int) time.Duration {
	var d ratelimit.Decision
	l.answer(&d, clock.Refreshed(l.clock), state(l.state.Load()), n, ahead, false)
	return d.RetryAfter
}

// next is the decision: whether the window of now has room for n events, and
// the state after it.
func (l *Limiter) next(s state, now time.Duration, n int) (next state, ok bool) {
	next = l.turn(s, l.grid.Time(now))
	if uint64(n) > uint64(l.limit)-l.layout.used(next) {
		return s, false
	}
	return next + state(n), true
}

// turn is the state at a time: a new window has used nothing. A time before the
// window of s counts as in that window, so readings may arrive in any order.
func (l *Limiter) turn(s state, t uint64) state {
	if l.grid.Ended(l.layout.index(s), t) {
		return l.layout.pack(l.grid.Index(t), 0)
	}
	return s
}

// answer puts a decision into words: of n events at now, which left the state
// s, with some events ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, now time.Duration, s state, n, ahead int, ok bool) {
	s = l.turn(s, l.grid.Time(now))
	index, used := l.layout.index(s), l.layout.used(s)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = l.limit
	turns := uint64(1) // until n events fit, which is in the next window
	if ahead == 0 {
		d.Remaining = l.limit - int(used)
		if used > 0 {
			d.ResetAfter = l.grid.Until(now, index, 1, 0)
		}
	} else {
		// Those in line fill up one window after the other.
		filled := used + uint64(ahead)
		turns = (filled + uint64(max(n, 1)) - 1) / uint64(l.limit)
		d.ResetAfter = l.grid.Until(now, index, (filled-1)/uint64(l.limit)+1, 0)
	}
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= l.limit {
			d.RetryAfter = max(l.grid.Until(now, index, turns, 0), 1)
		}
	}
}
