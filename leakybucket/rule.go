package leakybucket

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
	meter    gcra.Meter
	capacity int
}

func newRule(c Config) (rule, error) {
	if c.Capacity == 0 {
		c.Capacity = c.Limit
	}
	meter, err := gcra.New(c.Limit, c.Window, c.Capacity, "Capacity")
	if err != nil {
		return rule{}, fmt.Errorf("leakybucket: %w", err)
	}
	return rule{meter: meter, capacity: c.Capacity}, nil
}

func (r *rule) Limit() int { return r.capacity }

func (r *rule) Room() int { return r.capacity }

// Span is the time in which a full bucket leaks out.
func (r *rule) Span() time.Duration { return r.meter.Until(0, r.meter.Size()) }

func (r *rule) Start(now time.Duration) uint64 { return r.meter.At(now) }

func (r *rule) Fresh(tat uint64, now time.Duration) bool { return tat <= r.meter.At(now) }

// Take puts n events in if the bucket has room for all of them.
func (r *rule) Take(tat uint64, now time.Duration, n int) (next uint64, ok bool) {
	return r.put(tat, now, n, r.meter.Size())
}

// Serve puts n events in once all that went in before has leaked out.
func (r *rule) Serve(tat uint64, now time.Duration, n int) (next uint64, ok bool) {
	return r.put(tat, now, n, r.meter.Cost(n))
}

// put puts n events in if no more than depth is in the bucket then.
func (r *rule) put(tat uint64, now time.Duration, n int, depth uint64) (next uint64, ok bool) {
	at, cost := r.meter.At(now), r.meter.Cost(n)
	if at < gcra.Conforms(tat, cost, depth) {
		return tat, false
	}
	return gcra.Admit(tat, at, cost), true
}

// Delay is the wait until all that is in the bucket, and all that is ahead in
// line, has leaked out.
func (r *rule) Delay(tat uint64, now time.Duration, ahead, _ int) time.Duration {
	if ahead > 0 {
		tat = r.meter.Behind(tat, r.meter.At(now), ahead)
	}
	return r.meter.Until(now, tat)
}

// Refund is the theoretical arrival time without what d put in, less what has
// leaked out since.
func (r *rule) Refund(tat uint64, now time.Duration, d ratelimit.Decision) (next uint64) {
	at := r.meter.Latest(tat, r.meter.At(now))
	return gcra.Refund(tat, at, r.meter.At(d.At), r.meter.Cost(d.N))
}

func (r *rule) Answer(tat uint64, now time.Duration, n int, ahead algorithm.Line, ok bool) (d ratelimit.Decision) {
	r.answer(&d, tat, now, n, ahead, ok)
	return d
}

// answer puts a decision into words: of n events at now, which left the state
// tat, with others ahead. Those in line here leave one by one, the others only
// fill the bucket.
func (r *rule) answer(d *ratelimit.Decision, tat uint64, now time.Duration, n int, ahead algorithm.Line, ok bool) {
	at := r.meter.At(now)
	d.Allowed = ok
	d.N = n
	d.At = now
	d.Limit = r.capacity
	var gone uint64 // when the last in line has left
	if ahead.Events > 0 {
		if ahead.Here > 0 {
			gone = r.meter.Behind(tat, at, ahead.Here-min(ahead.Here, ahead.Last))
		}
		tat = r.meter.Behind(tat, at, ahead.Events)
	} else {
		d.Remaining = r.meter.Remaining(tat, at)
	}
	d.ResetAfter = r.meter.Until(now, tat)
	if !ok {
		d.RetryAfter = ratelimit.Never
		if n > 0 && n <= r.capacity {
			room := gcra.Conforms(tat, r.meter.Cost(n), r.meter.Size())
			d.RetryAfter = max(r.meter.Until(now, max(room, gone)), 1)
		}
	}
}
