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
	clock    clock.Clock
	meter    gcra.Meter
	capacity int
}

// New returns a limiter whose bucket is empty. Its error names the field, the
// value and the range.
func New(c Config) (*Limiter, error) {
	if c.Capacity == 0 {
		c.Capacity = c.Limit
	}
	meter, err := gcra.New(c.Limit, c.Window, c.Capacity, "Capacity")
	if err != nil {
		return nil, fmt.Errorf("leakybucket: %w", err)
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	return &Limiter{clock: c.Clock, meter: meter, capacity: c.Capacity}, nil
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
func (l *Limiter) Allow() bool { return l.allow(l.meter.Cost(1), l.meter.Size()) }

// AllowN puts n events into the bucket if it has room for all of them.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.capacity {
		return n == 0
	}
	return l.allow(l.meter.Cost(n), l.meter.Size())
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.capacity {
		l.answer(&d, clock.Refreshed(l.clock), l.tat.Load(), n, ahead, n == 0)
		return d
	}
	l.take(n, l.meter.Size(), &d)
	return d
}

// Peek answers what Take would, and puts nothing in.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.capacity {
		l.answer(&d, clock.Refreshed(l.clock), l.tat.Load(), n, ahead, n == 0)
		return d
	}
	now, tat := l.clock.Now(), l.tat.Load()
	conforms := gcra.Conforms(tat, l.meter.Cost(n), l.meter.Size())
	if coarse, late := l.clock.(*clock.Coarse); late && l.meter.At(now) < conforms {
		now = coarse.Refresh()
	}
	at := l.meter.At(now)
	if at >= conforms {
		tat = gcra.Admit(tat, at, l.meter.Cost(n))
	}
	l.answer(&d, now, tat, n, 0, at >= conforms)
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
	if n < 1 || n > l.capacity {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("leakybucket: %w: n is %d, Capacity %d", ratelimit.ErrExceedsLimit, n, l.capacity)
	}
	if l.allow(l.meter.Cost(n), l.meter.Cost(n)) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Room: l.capacity, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund takes out what d put in: at least d.N events less those that have
// leaked out since, and never so much that there is more room than if d had not
// been asked.
//
// It counts what has leaked out by the clock. On a clock that runs backwards it
// may read less than the admissions since did, and then gives back what has
// leaked out already; on any other it cannot.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.capacity {
		return
	}
	for {
		// The state before the clock: what the word holds by then was not
		// decided at a later reading.
		tat := l.tat.Load()
		at := l.meter.Latest(tat, l.meter.At(l.clock.Now()))
		if l.tat.CompareAndSwap(tat, gcra.Refund(tat, at, l.meter.At(d.At), l.meter.Cost(d.N))) {
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
	l.answer(&d, clock.Refreshed(l.clock), l.tat.Load(), n, ahead, n == 0)
	return d.RetryAfter
}

// allow puts in what costs cost, if nobody waits and no more than depth is in the
// bucket then: its size, or only what is put in now.
func (l *Limiter) allow(cost, depth uint64) bool {
	if !l.queue.Empty() {
		return false
	}
	at := l.meter.At(l.clock.Now())
	for fresh := false; ; {
		tat := l.tat.Load()
		if at < gcra.Conforms(tat, cost, depth) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			at, fresh = l.meter.At(coarse.Refresh()), true
			continue
		}
		if l.tat.CompareAndSwap(tat, gcra.Admit(tat, at, cost)) {
			return true
		}
	}
}

// take is allow for the first in line, with the reasons.
func (l *Limiter) take(n int, depth uint64, d *ratelimit.Decision) {
	now, cost := l.clock.Now(), l.meter.Cost(n)
	coarse, late := l.clock.(*clock.Coarse)
	for {
		tat, at := l.tat.Load(), l.meter.At(now)
		if at >= gcra.Conforms(tat, cost, depth) {
			next := gcra.Admit(tat, at, cost)
			if !l.tat.CompareAndSwap(tat, next) {
				continue
			}
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = l.capacity
			d.Remaining = l.meter.Remaining(next, at)
			d.ResetAfter = l.meter.Until(now, next)
			return
		}
		if !late {
			l.answer(d, now, tat, n, 0, false)
			return
		}
		now, late = coarse.Refresh(), false
	}
}

// serve puts in the n events of the first in line, once all that went in before
// has leaked out.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	var d ratelimit.Decision
	l.take(n, l.meter.Cost(n), &d)
	return l.meter.Until(d.At, l.tat.Load()), d.Allowed
}

// delay is the wait until all that is in the bucket, and all that is ahead in
// line, has leaked out.
func (l *Limiter) delay(ahead, _ int) time.Duration {
	now, tat := clock.Refreshed(l.clock), l.tat.Load()
	return l.meter.Until(now, l.meter.Behind(tat, l.meter.At(now), ahead))
}

// answer puts a decision into words: of n events at now, which left the state
// tat, with some events ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, now time.Duration, tat uint64, n, ahead int, ok bool) {
	at := l.meter.At(now)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = l.capacity
	var gone uint64 // when the last in line has left
	if ahead > 0 {
		// Those in line here leave one by one; others only fill the bucket.
		if own := min(ahead, l.queue.Ahead()); own > 0 {
			gone = l.meter.Behind(tat, at, own-min(own, l.queue.Last()))
		}
		tat = l.meter.Behind(tat, at, ahead)
	} else {
		d.Remaining = l.meter.Remaining(tat, at)
	}
	d.ResetAfter = l.meter.Until(now, tat)
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= l.capacity {
			room := gcra.Conforms(tat, l.meter.Cost(n), l.meter.Size())
			d.RetryAfter = max(l.meter.Until(now, max(room, gone)), 1)
		}
	}
}
