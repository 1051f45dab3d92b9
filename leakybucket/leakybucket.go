// Package leakybucket limits a rate and smooths it: what is admitted goes into a
// bucket that leaks Limit events in every Window and has room for Capacity. It
// is used in one of two ways, or in both.
//
// As a meter, Allow and Take admit at once while the bucket has room. In any
// interval of length t at most Capacity + Limit·t/Window events are admitted, to
// within one nanosecond of the clock: exactly what a token bucket of that burst
// admits.
//
// As a queue, Wait paces: each waiter leaves when all that went in before has
// leaked out, so that single events leave at least Window/Limit apart, and in
// any interval of length t at most 1 + Limit·t/Window of them. At most Capacity
// events wait in line, not counting one that need not wait; beyond that WaitN
// returns an error that wraps [ratelimit.ErrQueueFull] at once. A WaitN of n
// events leaves as a whole, and the next in line n·Window/Limit later, at the next
// whole nanosecond: at a million events a second that can lose a thousandth of
// the rate.
//
// # Cost
//
// The state is one word. A decision reads the clock once and makes one
// compare-and-swap; a refusal writes nothing. Nothing but a wait that blocks
// or fails allocates.
//
// The leaky bucket as a meter is GCRA in its virtual scheduling form (ITU-T
// I.371, annex A); as a queue it is the one of J. Turner, "New directions in
// communications", IEEE Communications Magazine 24(10), 1986. Package
// internal/gcra has the arithmetic and the picture of the word.
package leakybucket

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/fifo"
	"github.com/ratekeep/ratelimit/internal/gcra"
)

// Config says what to limit to.
type Config struct {
	// Limit is how many events leak out per Window: at least 1, and at most
	// one per nanosecond.
	Limit int

	// Window is the time in which Limit events leak out: 1 ns to ten years.
	Window time.Duration

	// Capacity is the most events that the bucket holds, and so the most that
	// Allow ever admits at once; and the most that wait in line. 0 means
	// Limit. The largest leaks out in 18 to 36 years, by the rate; New's error
	// names it.
	Capacity int

	// Clock is what time is read from. nil means a system clock of the
	// limiter's own.
	Clock clock.Clock
}

// Limiter is a leaky bucket. It implements [ratelimit.Limiter],
// [ratelimit.Refunder] and [ratelimit.Resetter]. All methods are safe for
// concurrent use. It is made by New, and must not be copied.
type Limiter struct {
	tat   atomic.Uint64 // theoretical arrival time, in units of the meter
	queue fifo.Queue

	// Set by New.
	clock clock.Clock
	rule  rule
}

// New returns a limiter whose bucket is empty. Its error names the field, the
// value and the range.
func New(c Config) (*Limiter, error) {
	r, err := newRule(c)
	if err != nil {
		return nil, err
	}
	if c.Clock == nil {
		c.Clock = clock.System()
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
func (l *Limiter) Allow() bool { return l.allow(l.rule.meter.Cost(1), l.rule.meter.Size()) }

// AllowN puts n events into the bucket if it has room for all of them.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.rule.capacity {
		return n == 0
	}
	return l.allow(l.rule.meter.Cost(n), l.rule.meter.Size())
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.capacity {
		l.answer(&d, n, ahead)
		return d
	}
	l.take(n, l.rule.meter.Size(), &d)
	return d
}

// Peek answers what Take would, and puts nothing in.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.capacity {
		l.answer(&d, n, ahead)
		return d
	}
	now := l.clock.Now()
	tat, ok := l.rule.Take(l.tat.Load(), now, n)
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		tat, ok = l.rule.Take(tat, now, n)
	}
	l.rule.answer(&d, tat, now, n, algorithm.Line{}, ok)
	return d
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until all that went in before has leaked out, and puts n events
// in. Waiters are served in order of arrival. If Capacity events wait already,
// or n more would be too many, it returns an error that wraps
// [ratelimit.ErrQueueFull] at once.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.rule.capacity {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("leakybucket: %w: n is %d, Capacity %d", ratelimit.ErrExceedsLimit, n, l.rule.capacity)
	}
	if l.allow(l.rule.meter.Cost(n), l.rule.meter.Cost(n)) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Room: l.rule.capacity, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund takes out what d put in: at least d.N events less those that have
// leaked out since, and never so much that there is more room than if d had not
// been asked.
//
// It counts what has leaked out by the clock. On a clock that runs backwards it
// may read less than the admissions since did, and then gives back what has
// leaked out already; on any other it cannot.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.rule.capacity {
		return
	}
	for {
		// The state before the clock: what the word holds by then was not
		// decided at a later reading.
		tat := l.tat.Load()
		if l.tat.CompareAndSwap(tat, l.rule.Refund(tat, l.clock.Now(), d)) {
			l.queue.Wake()
			return
		}
	}
}

// Reset empties the bucket.
func (l *Limiter) Reset() {
	l.tat.Store(0)
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

// allow puts in what costs cost, if nobody waits and no more than depth is in the
// bucket then: its size, or only what is put in now.
func (l *Limiter) allow(cost, depth uint64) bool {
	if !l.queue.Empty() {
		return false
	}
	at := l.rule.meter.At(l.clock.Now())
	for fresh := false; ; {
		tat := l.tat.Load()
		if at < gcra.Conforms(tat, cost, depth) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			at, fresh = l.rule.meter.At(coarse.Refresh()), true
			continue
		}
		if l.tat.CompareAndSwap(tat, gcra.Admit(tat, at, cost)) {
			return true
		}
	}
}

// take is allow for the first in line, with the reasons.
func (l *Limiter) take(n int, depth uint64, d *ratelimit.Decision) {
	now, cost := l.clock.Now(), l.rule.meter.Cost(n)
	coarse, late := l.clock.(*clock.Coarse)
	for {
		tat, at := l.tat.Load(), l.rule.meter.At(now)
		if at >= gcra.Conforms(tat, cost, depth) {
			next := gcra.Admit(tat, at, cost)
			if !l.tat.CompareAndSwap(tat, next) {
				continue
			}
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = l.rule.capacity
			d.Remaining = l.rule.meter.Remaining(next, at)
			d.ResetAfter = l.rule.meter.Until(now, next)
			return
		}
		if !late {
			l.rule.answer(d, tat, now, n, algorithm.Line{}, false)
			return
		}
		now, late = coarse.Refresh(), false
	}
}

// serve puts in the n events of the first in line, once all that went in before
// has leaked out.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	var d ratelimit.Decision
	l.take(n, l.rule.meter.Cost(n), &d)
	return l.rule.meter.Until(d.At, l.tat.Load()), d.Allowed
}

// delay is the wait until all that is in the bucket, and all that is ahead in
// line, has leaked out.
func (l *Limiter) delay(ahead, n int) time.Duration {
	now := clock.Refreshed(l.clock)
	return l.rule.Delay(l.tat.Load(), now, ahead, n)
}

// answer answers for n events that are not admitted, or are none, with some
// ahead in line or elsewhere.
func (l *Limiter) answer(d *ratelimit.Decision, n, ahead int) {
	now := clock.Refreshed(l.clock)
	tat := l.tat.Load()
	line := algorithm.Line{Events: ahead, Here: min(ahead, l.queue.Ahead()), Last: l.queue.Last()}
	l.rule.answer(d, tat, now, n, line, n == 0)
}
