package fixedwindow

import (
	"fmt"
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
	return &r, c.Clock, err
}

// rule is the algorithm: functions of a state, a clock reading and a number of
// events. It implements [algorithm.Word].
type rule struct {
	grid   window.Grid
	limit  int
	layout layout
}

// newRule requires that c has a clock.
func newRule(c Config) (rule, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return rule{}, fmt.Errorf("fixedwindow: %w", err)
	}
	return rule{
		grid:   window.NewGrid(c.Window, c.Offset, c.Clock.Epoch()),
		limit:  c.Limit,
		layout: layoutFor(c.Limit),
	}, nil
}

func (r *rule) Limit() int { return r.limit }

func (r *rule) Room() int { return 0 }

func (r *rule) Span() time.Duration { return time.Duration(r.grid.Width()) }

// Start is an unused window.
func (r *rule) Start(now time.Duration) uint64 {
	return uint64(r.layout.pack(r.grid.Index(r.grid.Time(now)), 0))
}

// Fresh is true of a window that has ended, and of an unused one.
func (r *rule) Fresh(word uint64, now time.Duration) bool { return word <= r.Start(now) }

// Take counts n events if the window has that many left.
func (r *rule) Take(word uint64, now time.Duration, n int) (next uint64, ok bool) {
	s, ok := r.next(state(word), now, n)
	return uint64(s), ok
}

func (r *rule) Serve(word uint64, now time.Duration, n int) (next uint64, ok bool) {
	return r.Take(word, now, n)
}

// Delay is the wait for n events behind others in line.
func (r *rule) Delay(word uint64, now time.Duration, ahead, n int) time.Duration {
	var d ratelimit.Decision
	r.answer(&d, word, now, n, ahead, false)
	return d.RetryAfter
}

// Refund uncounts what d counted if that was in the window of the state.
func (r *rule) Refund(word uint64, _ time.Duration, d ratelimit.Decision) (next uint64) {
	s, charged := state(word), r.grid.Charged(d.At, d.ResetAfter)
	if r.layout.index(s) != charged {
		return word
	}
	used := r.layout.used(s)
	return uint64(r.layout.pack(charged, used-min(used, uint64(d.N))))
}

func (r *rule) Answer(word uint64, now time.Duration, n int, ahead algorithm.Line, ok bool) (d ratelimit.Decision) {
	r.answer(&d, word, now, n, ahead.Events, ok)
	return d
}

// answer puts a decision into words: of n events at now, which left the state,
// with some events ahead in line.
func (r *rule) answer(d *ratelimit.Decision, word uint64, now time.Duration, n, ahead int, ok bool) {
	s := r.turn(state(word), r.grid.Time(now))
	index, used := r.layout.index(s), r.layout.used(s)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = r.limit
	turns := uint64(1) // until n events fit, which is in the next window
	if ahead == 0 {
		d.Remaining = r.limit - int(used)
		if used > 0 {
			d.ResetAfter = r.grid.Until(now, index, 1, 0)
		}
	} else {
		// Those in line fill up one window after the other.
		filled := used + uint64(ahead)
		turns = (filled + uint64(max(n, 1)) - 1) / uint64(r.limit)
		d.ResetAfter = r.grid.Until(now, index, (filled-1)/uint64(r.limit)+1, 0)
	}
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= r.limit {
			d.RetryAfter = max(r.grid.Until(now, index, turns, 0), 1)
		}
	}
}

// next is the decision: whether the window of now has room for n events, and
// the state after it.
func (r *rule) next(s state, now time.Duration, n int) (next state, ok bool) {
	next = r.turn(s, r.grid.Time(now))
	if uint64(n) > uint64(r.limit)-r.layout.used(next) {
		return s, false
	}
	return next + state(n), true
}

// turn is the state at a time: a new window has used nothing. A time before the
// window of s counts as in that window, so readings may arrive in any order.
func (r *rule) turn(s state, t uint64) state {
	if r.grid.Ended(r.layout.index(s), t) {
		return r.layout.pack(r.grid.Index(t), 0)
	}
	return s
}
