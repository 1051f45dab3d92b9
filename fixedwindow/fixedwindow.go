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
	clock clock.Clock
	rule  rule
}

// New returns a limiter that has admitted nothing. Its error names the field,
// the value and the range.
func New(c Config) (*Limiter, error) {
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	r, err := newRule(c)
	if err != nil {
		return nil, err
	}
	return &Limiter{clock: c.Clock, rule: r}, nil
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
	if n < 1 || n > l.rule.limit {
		return n == 0
	}
	return l.allow(n)
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.limit {
		l.answer(&d, n, ahead)
		return d
	}
	l.take(n, &d)
	return d
}

// Peek answers what Take would, and counts nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.limit {
		l.answer(&d, n, ahead)
		return d
	}
	now := l.clock.Now()
	s, ok := l.rule.Take(l.state.Load(), now, n)
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		s, ok = l.rule.Take(s, now, n)
	}
	l.rule.answer(&d, s, now, n, 0, ok)
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
	if n < 1 || n > l.rule.limit {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("fixedwindow: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.rule.limit)
	}
	if l.allow(n) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund uncounts what d counted, if that was in the window that is counted
// now. What a window that has passed admitted gives nothing to the next.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.rule.limit {
		return
	}
	for {
		s := l.state.Load()
		next := l.rule.Refund(s, d.At, d)
		if next == s {
			return
		}
		if l.state.CompareAndSwap(s, next) {
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
	l.answer(&d, n, ahead)
	return d.RetryAfter
}

// allow counts n events, if there is room for them and nobody waits for it.
func (l *Limiter) allow(n int) bool {
	if !l.queue.Empty() {
		return false
	}
	t := l.rule.grid.Time(l.clock.Now())
	for fresh := false; ; {
		old := state(l.state.Load())
		s := l.rule.turn(old, t)
		if uint64(n) > uint64(l.rule.limit)-l.rule.layout.used(s) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			t, fresh = l.rule.grid.Time(coarse.Refresh()), true
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
		next, ok := l.rule.next(s, now, n)
		switch {
		case ok && l.state.CompareAndSwap(uint64(s), uint64(next)):
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = l.rule.limit
			d.Remaining = l.rule.limit - int(l.rule.layout.used(next))
			d.ResetAfter = l.rule.grid.Until(now, l.rule.layout.index(next), 1, 0)
			return
		case !ok && late:
			now, late = coarse.Refresh(), false
		case !ok:
			l.rule.answer(d, uint64(s), now, n, 0, false)
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
	now := clock.Refreshed(l.clock)
	return l.rule.Delay(l.state.Load(), now, ahead, n)
}

// answer answers for n events that are not admitted, or are none, with some
// ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, n, ahead int) {
	now := clock.Refreshed(l.clock)
	l.rule.answer(d, l.state.Load(), now, n, ahead, n == 0)
}
