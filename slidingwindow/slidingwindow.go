// Package slidingwindow limits a count per trailing window approximately, from
// two counters: the events of this aligned window, and those of the one before
// weighted by how much of it the trailing window still covers. With e the
// elapsed part of this window, n more events are admitted while
//
//	prev·(1−e) + curr + n ≤ Limit
//
// in exact integer arithmetic. Windows are aligned to the Unix epoch.
//
// # Promise
//
// At most Limit events in each aligned window, and at most 2·Limit in any
// Window at the very worst: if all of the previous window's events came at its
// end, where the weighting took them to be spread evenly, this window can be
// used up early. Bursts of random traffic reach about 1.5·Limit. If events are
// spread evenly indeed, the bound is Limit. slidinglog is exact.
//
// In the long run less than Limit per Window may be admitted, since each window's
// use weighs on the next: to a steady caller who takes all there is, one event
// less in each; to one who asks for the whole Limit at once at the beginning of
// each window, half, every other time.
//
// # Cost
//
// The state is one word where index and counts fit, as they do up to a Limit of
// 100,000 per second or a million per minute. A decision reads the clock once
// and makes one compare-and-swap. Beyond that it is four words, and an admission
// costs three atomic writes. A refusal writes nothing. Nothing but a wait that
// blocks or fails allocates.
//
// The algorithm is the sliding window counter as described by Cloudflare, "How
// we built rate limiting capable of scaling to millions of domains", 2017.
package slidingwindow

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/fifo"
)

// Config says what to limit to.
type Config struct {
	// Limit is how many events are admitted in a window: at least 1, and at
	// most one per nanosecond.
	Limit int

	// Window is the length of a window: 1 ns to ten years.
	Window time.Duration

	// Clock is what time is read from. nil means a system clock of the
	// limiter's own.
	Clock clock.Clock
}

// Limiter is a sliding window counter. It implements [ratelimit.Limiter],
// [ratelimit.Refunder] and [ratelimit.Resetter]. All methods are safe for
// concurrent use. It is made by New, and must not be copied.
type Limiter struct {
	cell  cell
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
	l := &Limiter{clock: c.Clock, rule: r}
	l.cell.init(r.limit, r.grid.Windows())
	return l, nil
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

// AllowN counts n events if there is room for all of them.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > int(l.rule.limit) {
		return n == 0
	}
	return l.allow(n)
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > int(l.rule.limit) {
		l.answer(&d, n, ahead)
		return d
	}
	l.take(n, &d)
	return d
}

// Peek answers what Take would, and counts nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > int(l.rule.limit) {
		l.answer(&d, n, ahead)
		return d
	}
	now := l.clock.Now()
	s, _ := l.cell.load()
	s, ok := l.rule.next(s, now, n)
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		s, ok = l.rule.next(s, now, n)
	}
	l.rule.answer(&d, s, now, n, 0, ok)
	return d
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until there is room for n events, and counts them. Waiters are
// served in order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > int(l.rule.limit) {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("slidingwindow: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.rule.limit)
	}
	if l.allow(n) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund uncounts what d counted, if that was in the window that is counted
// now, or in the one before: then it comes off that window's count.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > int(l.rule.limit) {
		return
	}
	for {
		s, word := l.cell.load()
		next := l.rule.refund(s, d)
		if next == s {
			return
		}
		if l.cell.store(word, next) {
			l.queue.Wake()
			return
		}
	}
}

// Reset uncounts everything.
func (l *Limiter) Reset() {
	for {
		if _, word := l.cell.load(); l.cell.store(word, counts{}) {
			l.queue.Wake()
			return
		}
	}
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
	if l.cell.wide != nil {
		var d ratelimit.Decision
		l.take(n, &d)
		return d.Allowed
	}
	t := l.rule.grid.Time(l.clock.Now())
	for fresh := false; ; {
		word := l.cell.word.Load()
		s, next := l.cell.unpack(word), word
		if l.rule.grid.Ended(s.index, t) {
			s = l.rule.slide(s, t)
			next = l.cell.pack(s)
		}
		if !l.rule.fits(s, t, s.curr+uint64(n)) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			t, fresh = l.rule.grid.Time(coarse.Refresh()), true
			continue
		}
		if l.cell.word.CompareAndSwap(word, next+uint64(n)) {
			return true
		}
	}
}

// take is allow for the first in line, with the reasons.
func (l *Limiter) take(n int, d *ratelimit.Decision) {
	now := l.clock.Now()
	coarse, late := l.clock.(*clock.Coarse)
	for {
		s, word := l.cell.load()
		next, ok := l.rule.next(s, now, n)
		switch {
		case ok && l.cell.store(word, next):
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = int(l.rule.limit)
			d.Remaining = l.rule.remaining(next, l.rule.grid.Time(now))
			d.ResetAfter = l.rule.grid.Until(now, next.index, 2, 0)
			return
		case !ok && late:
			now, late = coarse.Refresh(), false
		case !ok:
			l.rule.answer(d, s, now, n, 0, false)
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
	s, _ := l.cell.load()
	return l.rule.delay(s, now, ahead, n)
}

// answer answers for n events that are not admitted, or are none, with some
// ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, n, ahead int) {
	now := clock.Refreshed(l.clock)
	s, _ := l.cell.load()
	l.rule.answer(d, s, now, n, ahead, n == 0)
}
