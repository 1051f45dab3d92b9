// Package tokenbucket limits a rate and lets bursts through: Limit tokens flow
// into a bucket in every Window, at most Burst are kept, and an event takes one.
//
// # Promise
//
// In any interval of length t at most Burst + Limit·t/Window events are
// admitted, to within one nanosecond of the clock, and in the long run all that
// the rate allows. With a Burst of 1 each event waits for the next whole
// nanosecond, which loses up to a thousandth of the rate at a million events a
// second; with a larger one nothing is lost. The worst case right after a
// pause is the whole Burst at one instant and the rate from there on: with the
// default Burst that is nearly 2·Limit in one Window.
//
// # Cost
//
// The state is one word. A decision reads the clock once and makes one
// compare-and-swap; a refusal writes nothing. Nothing but a wait that blocks
// or fails allocates.
//
// The algorithm is GCRA, the generic cell rate algorithm of ITU-T I.371, annex
// A, in its virtual scheduling form. Package internal/gcra has the arithmetic
// and the picture of the word.
package tokenbucket

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
	// Limit is how many tokens flow in per Window: at least 1, and at most one
	// per nanosecond.
	Limit int

	// Window is the time in which Limit tokens flow in: 1 ns to ten years.
	Window time.Duration

	// Burst is the most tokens that are kept, and so the most events that are
	// ever admitted at once. 0 means Limit. The largest fills in 18 to 36
	// years, by the rate; New's error names it.
	Burst int

	// Clock is what time is read from. nil means a system clock of the
	// limiter's own.
	Clock clock.Clock
}

// Limiter is a token bucket. It implements [ratelimit.Limiter],
// [ratelimit.Refunder] and [ratelimit.Resetter]. All methods are safe for
// concurrent use. It is made by New, and must not be copied.
type Limiter struct {
	tat   atomic.Uint64 // theoretical arrival time, in units of the meter
	queue fifo.Queue

	// Set by New.
	clock clock.Clock
	rule  rule
}

// New returns a limiter whose bucket is full. Its error names the field, the
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
func (l *Limiter) Allow() bool { return l.allow(l.rule.meter.Cost(1)) }

// AllowN takes n tokens if there are that many, or none.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.rule.burst {
		return n == 0
	}
	return l.allow(l.rule.meter.Cost(n))
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.burst {
		l.answer(&d, n, ahead)
		return d
	}
	l.take(n, &d)
	return d
}

// Peek answers what Take would, and takes nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.rule.burst {
		l.answer(&d, n, ahead)
		return d
	}
	now := l.clock.Now()
	tat, ok := l.rule.Take(l.tat.Load(), now, n)
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		tat, ok = l.rule.Take(tat, now, n)
	}
	l.rule.answer(&d, tat, now, n, 0, ok)
	return d
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until there are n tokens, and takes them. Waiters are served in
// order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.rule.burst {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("tokenbucket: %w: n is %d, Burst %d", ratelimit.ErrExceedsLimit, n, l.rule.burst)
	}
	if l.allow(l.rule.meter.Cost(n)) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund gives back what d took: at least d.N tokens less those that have
// flowed in since, and never more than there would be if d had not been asked.
//
// It counts what has flowed in by the clock. On a clock that runs backwards it
// may read less than the admissions since did, and then gives back what has
// flowed in already; on any other it cannot.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.rule.burst {
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

// Reset fills the bucket.
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

// allow takes what costs cost, if that much is there and nobody waits for it.
func (l *Limiter) allow(cost uint64) bool {
	if !l.queue.Empty() {
		return false
	}
	at := l.rule.meter.At(l.clock.Now())
	for fresh := false; ; {
		tat := l.tat.Load()
		if at < gcra.Conforms(tat, cost, l.rule.meter.Size()) {
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
func (l *Limiter) take(n int, d *ratelimit.Decision) {
	now, cost := l.clock.Now(), l.rule.meter.Cost(n)
	coarse, late := l.clock.(*clock.Coarse)
	for {
		tat, at := l.tat.Load(), l.rule.meter.At(now)
		if at >= gcra.Conforms(tat, cost, l.rule.meter.Size()) {
			next := gcra.Admit(tat, at, cost)
			if !l.tat.CompareAndSwap(tat, next) {
				continue
			}
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = l.rule.burst
			d.Remaining = l.rule.meter.Remaining(next, at)
			d.ResetAfter = l.rule.meter.Until(now, next)
			return
		}
		if !late {
			l.rule.answer(d, tat, now, n, 0, false)
			return
		}
		now, late = coarse.Refresh(), false
	}
}

// serve takes n tokens for the first in line.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	var d ratelimit.Decision
	l.take(n, &d)
	return d.RetryAfter, d.Allowed
}

// delay is the wait for n tokens behind others in line.
func (l *Limiter) delay(ahead, n int) time.Duration {
	now := clock.Refreshed(l.clock)
	return l.rule.Delay(l.tat.Load(), now, ahead, n)
}

// answer answers for n events that are not admitted, or are none, with some
// ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, n, ahead int) {
	now := clock.Refreshed(l.clock)
	l.rule.answer(d, l.tat.Load(), now, n, ahead, n == 0)
}
