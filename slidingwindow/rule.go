package slidingwindow

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/span"
	"github.com/ratekeep/ratelimit/internal/window"
)

// Algorithm is for package keyed, which keeps a state for each key. The clock is
// the given one if c has none.
func (c Config) Algorithm(own clock.Clock) (algorithm.Algorithm, clock.Clock, error) {
	if c.Clock == nil {
		c.Clock = own
	}
	r, err := newRule(c)
	if err != nil {
		return nil, nil, err
	}
	// A word less than 2^63 is never reserved.
	if y := layoutFor(r.limit); y.size(r.grid.Windows()) < 64 {
		return &wordRule{rule: r, layout: y}, c.Clock, nil
	}
	return &recordRule{rule: r}, c.Clock, nil
}

// rule is the algorithm: functions of counts, a clock reading and a number of
// events.
type rule struct {
	grid  window.Grid
	limit uint64
}

// newRule requires that c has a clock.
func newRule(c Config) (rule, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return rule{}, fmt.Errorf("slidingwindow: %w", err)
	}
	return rule{
		grid:  window.NewGrid(c.Window, 0, c.Clock.Epoch()),
		limit: uint64(c.Limit),
	}, nil
}

func (r *rule) Limit() int { return int(r.limit) }

func (r *rule) Room() int { return 0 }

// Span is of an admission at the beginning of a window.
func (r *rule) Span() time.Duration { return 2 * time.Duration(r.grid.Width()) }

// next is the decision: whether there is room for n events at now, and the
// state after it.
func (r *rule) next(s counts, now time.Duration, n int) (next counts, ok bool) {
	t := r.grid.Time(now)
	next = r.slide(s, t)
	if !r.fits(next, t, next.curr+uint64(n)) {
		return s, false
	}
	next.curr += uint64(n)
	return next, true
}

// refund is the counts without what d counted, if that was in their window or in
// the one before.
func (r *rule) refund(s counts, d ratelimit.Decision) counts {
	// An admission weighs until the end of the window after its own.
	untilEnd := d.ResetAfter
	if untilEnd != ratelimit.Never {
		untilEnd -= time.Duration(r.grid.Width())
	}
	switch r.grid.Charged(d.At, untilEnd) {
	case s.index:
		s.curr -= min(s.curr, uint64(d.N))
	case s.index - 1:
		s.prev -= min(s.prev, uint64(d.N))
	}
	return s
}

// fresh reports whether nothing that was counted weighs at a reading.
func (r *rule) fresh(s counts, now time.Duration) bool {
	index := r.grid.Index(r.grid.Time(now))
	switch {
	case s.index < index:
		return s.curr == 0 || s.index+1 < index
	case s.index == index:
		return s.prev+s.curr == 0
	}
	return false
}

// delay is the wait for n events behind others in line.
func (r *rule) delay(s counts, now time.Duration, ahead, n int) time.Duration {
	var d ratelimit.Decision
	r.answer(&d, s, now, n, ahead, false)
	return d.RetryAfter
}

// slide is the counts at a time: a new window has used nothing. A time before
// the window of s counts as its beginning, so readings may arrive in any order.
func (r *rule) slide(s counts, t uint64) counts {
	if r.grid.Ended(s.index, t) {
		index := r.grid.Index(t)
		if index != s.index+1 {
			s.curr = 0
		}
		return counts{index: index, prev: s.curr}
	}
	return s
}

// fits reports whether so much may be used of the window of s at a time.
func (r *rule) fits(s counts, t, used uint64) bool {
	return s.prev+used <= r.limit || used <= r.limit && r.fitsWeighted(s, t, used)
}

// fitsWeighted is fits where the window before would be too much, were it not
// weighted by how much of this one is left: prev·left ≤ (limit−used)·width.
// Kept out of fits, so that fits is inlined.
//
//go:noinline
func (r *rule) fitsWeighted(s counts, t, used uint64) bool {
	hi, lo := bits.Mul64(s.prev, r.grid.Left(s.index, t))
	roomHi, roomLo := bits.Mul64(r.limit-used, r.grid.Width())
	return hi < roomHi || hi == roomHi && lo <= roomLo
}

// fitting is how much of a window must have elapsed for prev events of the
// window before to weigh no more than room; the width if it must all have.
func (r *rule) fitting(prev, room uint64) (elapsed uint64) {
	if prev <= room {
		return 0
	}
	width := r.grid.Width()
	hi, lo := bits.Mul64(room, width)
	left, _ := bits.Div64(hi, lo, prev)
	return width - left
}

// remaining is how many events fit into the window of s at a time.
func (r *rule) remaining(s counts, t uint64) int {
	used := s.curr + r.weight(s.prev, r.grid.Left(s.index, t))
	return int(r.limit - min(used, r.limit))
}

// weight is what prev events of the window before weigh when so much of this
// one is left, rounded up.
func (r *rule) weight(prev, left uint64) uint64 {
	if prev == 0 {
		return 0
	}
	hi, lo := bits.Mul64(prev, left)
	weight, rest := bits.Div64(hi, lo, r.grid.Width())
	if rest > 0 {
		weight++
	}
	return weight
}

// wait is the time until n events fit that have others ahead of them; a lower
// bound if there are any, and the time itself otherwise.
func (r *rule) wait(now time.Duration, s counts, ahead, n int) time.Duration {
	width := r.grid.Width()
	elapsed := width - r.grid.Left(s.index, r.grid.Time(now))
	const most = 16 // windows looked into; a refusal must not take long
	for after := uint64(0); after < most; after++ {
		// In this window?
		if used := s.curr + uint64(ahead) + uint64(n); used <= r.limit {
			if at := max(elapsed, r.fitting(s.prev, r.limit-used)); at < width {
				return r.grid.Until(now, s.index, after, at)
			}
		}
		// Then it takes what it can of those ahead, and weighs the more.
		used := s.curr + r.weight(s.prev, 1)
		here := min(uint64(ahead), r.limit-min(r.limit, used))
		s.prev, s.curr, elapsed = s.curr+here, 0, 0
		ahead -= int(here)
	}
	// No window takes more than the limit.
	return r.grid.Until(now, s.index, most+(uint64(ahead)+uint64(n)-1)/r.limit, 0)
}

// answer puts a decision into words: of n events at now, which left the state
// s, with some events ahead in line.
func (r *rule) answer(d *ratelimit.Decision, s counts, now time.Duration, n, ahead int, ok bool) {
	t := r.grid.Time(now)
	s = r.slide(s, t)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = int(r.limit)
	switch {
	case ahead > 0:
		windows := 2 + (s.curr+uint64(ahead)-1)/r.limit
		d.ResetAfter = r.grid.Until(now, s.index, windows, 0)
	case s.curr > 0:
		d.ResetAfter = r.grid.Until(now, s.index, 2, 0)
	case s.prev > 0:
		d.ResetAfter = r.grid.Until(now, s.index, 1, 0)
	}
	if ahead == 0 {
		d.Remaining = r.remaining(s, t)
	}
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= int(r.limit) {
			d.RetryAfter = max(r.wait(now, s, ahead, n), 1)
		}
	}
}
