package tokenbucket

import (
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/gcra"
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

// rule is the algorithm: functions of a theoretical arrival time, a clock
// reading and a number of events. It implements [algorithm.Word].
type rule struct {
	meter gcra.Meter
	burst int
}

func newRule(c Config) (rule, error) {
	if c.Burst == 0 {
		c.Burst = c.Limit
	}
	meter, err := gcra.New(c.Limit, c.Window, c.Burst, "Burst")
	if err != nil {
		return rule{}, fmt.Errorf("tokenbucket: %w", err)
	}
	return rule{meter: meter, burst: c.Burst}, nil
}

func (r *rule) Limit() int { return r.burst }

func (r *rule) Room() int { return 0 }

// Span is the time in which a whole burst flows in.
func (r *rule) Span() time.Duration { return r.meter.Until(0, r.meter.Size()) }

func (r *rule) Start(now time.Duration) uint64 { return r.meter.At(now) }

func (r *rule) Fresh(tat uint64, now time.Duration) bool { return tat <= r.meter.At(now) }

// Take takes n tokens if there are that many.
func (r *rule) Take(tat uint64, now time.Duration, n int) (next uint64, ok bool) {
	at, cost := r.meter.At(now), r.meter.Cost(n)
	if at < gcra.Conforms(tat, cost, r.meter.Size()) {
		return tat, false
	}
	return gcra.Admit(tat, at, cost), true
}

func (r *rule) Serve(tat uint64, now time.Duration, n int) (next uint64, ok bool) {
	return r.Take(tat, now, n)
}

// Delay is the wait for n tokens behind others in line.
func (r *rule) Delay(tat uint64, now time.Duration, ahead, n int) time.Duration {
	var d ratelimit.Decision
	r.answer(&d, tat, now, n, ahead, false)
	return d.RetryAfter
}

// Refund is the theoretical arrival time without what d took, less what has
// flowed in since.
func (r *rule) Refund(tat uint64, now time.Duration, d ratelimit.Decision) (next uint64) {
	at := r.meter.Latest(tat, r.meter.At(now))
	return gcra.Refund(tat, at, r.meter.At(d.At), r.meter.Cost(d.N))
}

func (r *rule) Answer(tat uint64, now time.Duration, n int, ahead algorithm.Line, ok bool) (d ratelimit.Decision) {
	r.answer(&d, tat, now, n, ahead.Events, ok)
	return d
}

// answer puts a decision into words: of n tokens at now, which left the state
// tat, with some events ahead in line.
func (r *rule) answer(d *ratelimit.Decision, tat uint64, now time.Duration, n, ahead int, ok bool) {
	at := r.meter.At(now)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = r.burst
	if ahead > 0 {
		tat = r.meter.Behind(tat, at, ahead)
	} else {
		d.Remaining = r.meter.Remaining(tat, at)
	}
	d.ResetAfter = r.meter.Until(now, tat)
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= r.burst {
			d.RetryAfter = max(r.meter.Until(now, gcra.Conforms(tat, r.meter.Cost(n), r.meter.Size())), 1)
		}
	}
}
