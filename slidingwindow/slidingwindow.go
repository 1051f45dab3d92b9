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
	"math/bits"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/fifo"
	"github.com/ratekeep/ratelimit/internal/span"
	"github.com/ratekeep/ratelimit/internal/window"
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
	grid  window.Grid
	limit uint64
}

// New returns a limiter that has admitted nothing. Its error names the field,
// the value and the range.
func New(c Config) (*Limiter, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return nil, fmt.Errorf("slidingwindow: %w", err)
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	l := &Limiter{
		clock: c.Clock,
		grid:  window.NewGrid(c.Window, 0, c.Clock.Epoch()),
		limit: uint64(c.Limit),
	}
	l.cell.init(uint64(c.Limit), l.grid.Windows())
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
	if n < 1 || n > int(l.limit) {
		return n == 0
	}
	return l.allow(n)
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > int(l.limit) {
		s, _ := l.cell.load()
		l.answer(&d, clock.Refreshed(l.clock), s, n, ahead, n == 0)
		return d
	}
	l.take(n, &d)
	return d
}

// Peek answers what Take would, and counts nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	s, _ := l.cell.load()
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > int(l.limit) {
		l.answer(&d, clock.Refreshed(l.clock), s, n, ahead, n == 0)
		return d
	}
	now := l.clock.Now()
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

// WaitN blocks until there is room for n events, and counts them. Waiters are
// served in order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > int(l.limit) {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("slidingwindow: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.limit)
	}
	if l.allow(n) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund uncounts what d counted, if that was in the window that is counted
// now, or in the one before: then it comes off that window's count.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > int(l.limit) {
		return
	}
	// An admission weighs until the end of the window after its own.
	untilEnd := d.ResetAfter
	if untilEnd != ratelimit.Never {
		untilEnd -= time.Duration(l.grid.Width())
	}
	charged := l.grid.Charged(d.At, untilEnd)
	for {
		s, word := l.cell.load()
		switch charged {
		case s.index:
			s.curr -= min(s.curr, uint64(d.N))
		case s.index - 1:
			s.prev -= min(s.prev, uint64(d.N))
		default:
			return
		}
		if l.cell.store(word, s) {
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
	s, _ := l.cell.load()
	l.answer(&d, clock.Refreshed(l.clock), s, n, ahead, n == 0)
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
	t := l.grid.Time(l.clock.Now())
	for fresh := false; ; {
		word := l.cell.word.Load()
		s, next := l.cell.unpack(word), word
		if l.grid.Ended(s.index, t) {
			s = l.slide(s, t)
			next = l.cell.pack(s)
		}
		if !l.fits(s, t, s.curr+uint64(n)) {
			// A late reading may grant, but not refuse.
			coarse, late := l.clock.(*clock.Coarse)
			if !late || fresh {
				return false
			}
			t, fresh = l.grid.Time(coarse.Refresh()), true
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
		next, ok := l.next(s, now, n)
		switch {
		case ok && l.cell.store(word, next):
			d.Allowed = true
			d.N = n
			d.At = now
			d.Limit = int(l.limit)
			d.Remaining = l.remaining(next, l.grid.Time(now))
			d.ResetAfter = l.grid.Until(now, next.index, 2, 0)
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
	s, _ := l.cell.load()
	l.answer(&d, clock.Refreshed(l.clock), s, n, ahead, false)
	return d.RetryAfter
}

// next is the decision: whether there is room for n events at now, and the
// state after it.
func (l *Limiter) next(s counts, now time.Duration, n int) (next counts, ok bool) {
	t := l.grid.Time(now)
	next = l.slide(s, t)
	if !l.fits(next, t, next.curr+uint64(n)) {
		return s, false
	}
	next.curr += uint64(n)
	return next, true
}

// slide is the counts at a time: a new window has used nothing. A time before
// the window of s counts as its beginning, so readings may arrive in any order.
func (l *Limiter) slide(s counts, t uint64) counts {
	if l.grid.Ended(s.index, t) {
		index := l.grid.Index(t)
		if index != s.index+1 {
			s.curr = 0
		}
		return counts{index: index, prev: s.curr}
	}
	return s
}

// fits reports whether so much may be used of the window of s at a time.
func (l *Limiter) fits(s counts, t, used uint64) bool {
	return s.prev+used <= l.limit || used <= l.limit && l.fitsWeighted(s, t, used)
}

// fitsWeighted is fits where the window before would be too much, were it not
// weighted by how much of this one is left: prev·left ≤ (limit−used)·width.
// Kept out of fits, so that fits is inlined.
//
//go:noinline
func (l *Limiter) fitsWeighted(s counts, t, used uint64) bool {
	hi, lo := bits.Mul64(s.prev, l.grid.Left(s.index, t))
	roomHi, roomLo := bits.Mul64(l.limit-used, l.grid.Width())
	return hi < roomHi || hi == roomHi && lo <= roomLo
}

// fitting is how much of a window must have elapsed for prev events of the
// window before to weigh no more than room; the width if it must all have.
func (l *Limiter) fitting(prev, room uint64) (elapsed uint64) {
	if prev <= room {
		return 0
	}
	width := l.grid.Width()
	hi, lo := bits.Mul64(room, width)
	left, _ := bits.Div64(hi, lo, prev)
	return width - left
}

// remaining is how many events fit into the window of s at a time.
func (l *Limiter) remaining(s counts, t uint64) int {
	used := s.curr + l.weight(s.prev, l.grid.Left(s.index, t))
	return int(l.limit - min(used, l.limit))
}

// weight is what prev events of the window before weigh when so much of this
// one is left, rounded up.
func (l *Limiter) weight(prev, left uint64) uint64 {
	if prev == 0 {
		return 0
	}
	hi, lo := bits.Mul64(prev, left)
	weight, rest := bits.Div64(hi, lo, l.grid.Width())
	if rest > 0 {
		weight++
	}
	return weight
}

// wait is the time until n events fit that have others ahead of them; a lower
// bound if there are any, and the time itself otherwise.
func (l *Limiter) wait(now time.Duration, s counts, ahead, n int) time.Duration {
	width := l.grid.Width()
	elapsed := width - l.grid.Left(s.index, l.grid.Time(now))
	const most = 16 // windows looked into; a refusal must not take long
	for after := uint64(0); after < most; after++ {
		// In this window?
		if used := s.curr + uint64(ahead) + uint64(n); used <= l.limit {
			if at := max(elapsed, l.fitting(s.prev, l.limit-used)); at < width {
				return l.grid.Until(now, s.index, after, at)
			}
		}
		// Then it takes what it can of those ahead, and weighs the more.
		used := s.curr + l.weight(s.prev, 1)
		here := min(uint64(ahead), l.limit-min(l.limit, used))
		s.prev, s.curr, elapsed = s.curr+here, 0, 0
		ahead -= int(here)
	}
	// No window takes more than the limit.
	return l.grid.Until(now, s.index, most+(uint64(ahead)+uint64(n)-1)/l.limit, 0)
}

// answer puts a decision into words: of n events at now, which left the state
// s, with some events ahead in line.
func (l *Limiter) answer(d *ratelimit.Decision, now time.Duration, s counts, n, ahead int, ok bool) {
	t := l.grid.Time(now)
	s = l.slide(s, t)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = int(l.limit)
	switch {
	case ahead > 0:
		windows := 2 + (s.curr+uint64(ahead)-1)/l.limit
		d.ResetAfter = l.grid.Until(now, s.index, windows, 0)
	case s.curr > 0:
		d.ResetAfter = l.grid.Until(now, s.index, 2, 0)
	case s.prev > 0:
		d.ResetAfter = l.grid.Until(now, s.index, 1, 0)
	}
	if ahead == 0 {
		d.Remaining = l.remaining(s, t)
	}
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= int(l.limit) {
			d.RetryAfter = max(l.wait(now, s, ahead, n), 1)
		}
	}
}
