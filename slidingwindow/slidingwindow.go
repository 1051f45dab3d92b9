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
// used up early. If they were spread evenly indeed, the bound is Limit. On real
// traffic it is close to that; slidinglog is exact.
//
// In the long run less than Limit per Window may be admitted to a caller who
// takes all there is: each window's use weighs on the next.
//
// # Cost
//
// The state is one word where index and counts fit, as they do up to a Limit of
// 100,000 per second or a million per minute. A decision reads the clock once
// and makes one compare-and-swap. Beyond that it is four words, and an admission
// costs about four atomic writes. A refusal writes nothing. Nothing but a wait
// that blocks allocates.
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
// concurrent use. It must not be copied.
type Limiter struct {
	cell  cell
	queue fifo.Queue

	// Set by New.
	clock clock.Clock
	grid  window.Grid
	limit int
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
		limit: c.Limit,
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
func (l *Limiter) Allow() bool { return l.AllowN(1) }

// AllowN counts n events if there is room for all of them.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.limit || !l.queue.Empty() {
		return n == 0
	}
	_, _, ok := l.take(n)
	return ok
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) ratelimit.Decision {
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.limit {
		s, _ := l.cell.load()
		return l.answer(l.clock.Now(), s, n, ahead, n == 0)
	}
	now, s, ok := l.take(n)
	return l.answer(now, s, n, 0, ok)
}

// Peek answers what Take would, and counts nothing.
func (l *Limiter) Peek(n int) ratelimit.Decision {
	now := l.clock.Now()
	s, _ := l.cell.load()
	if ahead := l.queue.Ahead(); ahead > 0 || n < 1 || n > l.limit {
		return l.answer(now, s, n, ahead, n == 0)
	}
	next, ok := l.next(s, now, uint64(n))
	if coarse, late := l.clock.(*clock.Coarse); late && !ok {
		now = coarse.Refresh()
		next, ok = l.next(s, now, uint64(n))
	}
	if !ok {
		next = s
	}
	return l.answer(now, next, n, 0, ok)
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until there is room for n events, and counts them. Waiters are
// served in order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.limit {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("slidingwindow: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.limit)
	}
	if l.queue.Empty() {
		if _, _, ok := l.take(n); ok {
			return nil
		}
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund uncounts what d counted, if that was in the window that is counted
// now, or in the one before: then it comes off that window's count.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.limit {
		return
	}
	// An admission weighs until the end of the window after its own.
	charged := l.grid.Charged(d.At, d.ResetAfter-time.Duration(l.grid.Width()))
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

// take counts n events if there is room for them. It returns the clock reading
// that it decided at, and the state that it left or found.
func (l *Limiter) take(n int) (now time.Duration, s counts, ok bool) {
	now = l.clock.Now()
	coarse, late := l.clock.(*clock.Coarse)
	for {
		s, word := l.cell.load()
		next, ok := l.next(s, now, uint64(n))
		switch {
		case ok && l.cell.store(word, next):
			return now, next, true
		case !ok && !late:
			return now, s, false
		case !ok: // a late reading may grant, but not refuse
			now, late = coarse.Refresh(), false
		}
	}
}

// serve counts the n events of the first in line.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	now, s, ok := l.take(n)
	return l.wait(now, s, 0, n), ok
}

// delay is the wait for n events behind others in line.
func (l *Limiter) delay(ahead, n int) time.Duration {
	s, _ := l.cell.load()
	return l.wait(l.clock.Now(), s, ahead, n)
}

// next is the decision: whether there is room for n events at now, and the
// state with them counted. A now before the window of s counts as its beginning,
// so readings may arrive in any order.
func (l *Limiter) next(s counts, now time.Duration, n uint64) (next counts, ok bool) {
	s, elapsed := l.slide(s, now)
	ok = s.curr+n <= uint64(l.limit) && l.fits(s.prev, uint64(l.limit)-s.curr-n, elapsed)
	s.curr += n
	return s, ok
}

// slide moves the counts to the window of now, and returns how far that has
// got.
func (l *Limiter) slide(s counts, now time.Duration) (counts, uint64) {
	index, elapsed := l.grid.Locate(now, s.index)
	if index != s.index {
		if index == s.index+1 {
			s.prev = s.curr
		} else {
			s.prev = 0
		}
		s.index, s.curr = index, 0
	}
	return s, elapsed
}

// fits reports whether prev events of the window before weigh no more than room
// when so much of this one has elapsed: prev·(width−elapsed) ≤ room·width.
func (l *Limiter) fits(prev, room, elapsed uint64) bool {
	width := l.grid.Width()
	hi, lo := bits.Mul64(prev, width-elapsed)
	roomHi, roomLo := bits.Mul64(room, width)
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

// weight is what prev events of the window before weigh when so much of this
// one has elapsed, rounded up.
func (l *Limiter) weight(prev, elapsed uint64) uint64 {
	if prev == 0 {
		return 0
	}
	width := l.grid.Width()
	hi, lo := bits.Mul64(prev, width-elapsed)
	weight, rest := bits.Div64(hi, lo, width)
	if rest > 0 {
		weight++
	}
	return weight
}

// wait is the time until n events fit that have others ahead of them; a lower
// bound if there are any, and the time itself otherwise.
func (l *Limiter) wait(now time.Duration, s counts, ahead, n int) time.Duration {
	limit, width := uint64(l.limit), l.grid.Width()
	s, elapsed := l.slide(s, now)

	// In this window?
	left := uint64(ahead) + uint64(n)
	if s.curr+left <= limit {
		if at := max(elapsed, l.fitting(s.prev, limit-s.curr-left)); at < width {
			return l.grid.Until(now, s.index, 0, at)
		}
	}
	// In the next one, or at its end? Then this one takes what it can of those
	// ahead, and weighs the more.
	used := s.curr + l.weight(s.prev, width-1)
	here := min(uint64(ahead), limit-min(limit, used))
	left -= here
	if left <= limit {
		return l.grid.Until(now, s.index, 1, l.fitting(s.curr+here, limit-left))
	}
	// No window takes more than the limit.
	return l.grid.Until(now, s.index, 1+(left-1)/limit, 0)
}

// answer puts a decision into words: of n events at now, which left the state
// s, with some events ahead in line.
func (l *Limiter) answer(now time.Duration, s counts, n, ahead int, ok bool) ratelimit.Decision {
	d := ratelimit.Decision{Allowed: ok, N: n, At: now, Limit: l.limit}
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= l.limit {
			d.RetryAfter = max(l.wait(now, s, ahead, n), 1)
		}
	}
	s, elapsed := l.slide(s, now)
	switch {
	case ahead > 0:
		windows := 2 + (s.curr+uint64(ahead)-1)/uint64(l.limit)
		d.ResetAfter = l.grid.Until(now, s.index, windows, 0)
	case s.curr > 0:
		d.ResetAfter = l.grid.Until(now, s.index, 2, 0)
	case s.prev > 0:
		d.ResetAfter = l.grid.Until(now, s.index, 1, 0)
	}
	if ahead == 0 {
		used := s.curr + l.weight(s.prev, elapsed)
		d.Remaining = l.limit - int(min(used, uint64(l.limit)))
	}
	return d
}
