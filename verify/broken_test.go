package verify

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/verify/step/atomic"
	"github.com/ratekeep/ratelimit/verify/step/sync"
)

// A fault is what is wrong with a limiter below.
type fault string

const (
	none           fault = "none"
	lostUpdate     fault = "lost update"     // the new state is stored, not compared and swapped
	staleWrite     fault = "stale write"     // what was decided on an old state is written over a new one
	staleDecision  fault = "stale decision"  // the new state is charged for what was decided on an old one
	refusalCharges fault = "refusal charges" // a refusal takes what is asked for
	secondReading  fault = "second reading"  // the decision is put into words at another clock reading
	peekCharges    fault = "peek charges"    // a peek takes what it is asked about
	refundLost     fault = "refund lost"     // a refund gives up when others come in between
	refundUncapped fault = "refund uncapped" // a refund gives back what has flowed in since, too
	refundStale    fault = "refund stale"    // a refund writes over what others did meanwhile
	resetLost      fault = "reset lost"      // a reset gives up when others come in between
	tornState      fault = "torn state"      // two words are changed one after the other
	staleRefusal   fault = "stale refusal"   // a refund does not withdraw what refusals go by
)

// What the limiters below admit.
const (
	event = 16 * time.Nanosecond // the time in which a token flows in
	burst = 5
	phase = 13 * time.Nanosecond // of the window in which the clock read 0
)

// bucket is a token bucket with a fault.
type bucket struct {
	fault fault
	clock clock.Clock
	tat   atomic.Int64
}

func (b *bucket) AllowN(n int) bool { return b.Take(n).Allowed }

func (b *bucket) Take(n int) ratelimit.Decision {
	now := int64(b.clock.Now())
	for {
		tat := b.tat.Load()
		next := max(tat, now) + int64(n)*int64(event)
		if next-now > burst*int64(event) {
			if b.fault == refusalCharges {
				b.tat.CompareAndSwap(tat, next)
			}
			return b.answer(now, tat, n, false)
		}
		switch {
		case b.fault == lostUpdate:
			b.tat.Store(next)
		case b.fault == staleWrite:
			for !b.tat.CompareAndSwap(tat, next) {
				tat = b.tat.Load()
			}
		case b.fault == staleDecision:
			for !b.tat.CompareAndSwap(tat, next) {
				tat = b.tat.Load()
				next = max(tat, now) + int64(n)*int64(event)
			}
		case !b.tat.CompareAndSwap(tat, next):
			continue
		}
		if b.fault == secondReading {
			now = int64(b.clock.Now())
		}
		return b.answer(now, next, n, true)
	}
}

func (b *bucket) Peek(n int) ratelimit.Decision {
	now := int64(b.clock.Now())
	tat := b.tat.Load()
	if next := max(tat, now) + int64(n)*int64(event); next-now <= burst*int64(event) {
		if b.fault == peekCharges {
			b.tat.CompareAndSwap(tat, next)
		}
		return b.answer(now, next, n, true)
	}
	return b.answer(now, tat, n, false)
}

func (b *bucket) Refund(d ratelimit.Decision) {
	if !d.Allowed {
		return
	}
	for {
		tat := b.tat.Load()
		now := max(b.clock.Now(), time.Duration(tat)-burst*event)
		given := time.Duration(d.N) * event
		if since := now - d.At; since > 0 && b.fault != refundUncapped {
			given -= min(given, since)
		}
		next := max(0, tat-int64(given))
		if b.fault == refundStale {
			b.tat.Store(next)
			return
		}
		if b.tat.CompareAndSwap(tat, next) || b.fault == refundLost {
			return
		}
	}
}

func (b *bucket) Reset() {
	if b.fault == resetLost {
		b.tat.CompareAndSwap(b.tat.Load(), 0)
		return
	}
	b.tat.Store(0)
}

func (b *bucket) answer(now, tat int64, n int, ok bool) ratelimit.Decision {
	level := max(0, tat-now)
	d := ratelimit.Decision{Allowed: ok, N: n, At: time.Duration(now), Limit: burst}
	d.Remaining = max(0, burst-int((level+int64(event)-1)/int64(event)))
	d.ResetAfter = time.Duration(level)
	if !ok {
		d.RetryAfter = time.Duration(level) + time.Duration(n-burst)*event
	}
	return d
}

// counter is a fixed window of two words, with a fault.
type counter struct {
	fault       fault
	clock       clock.Clock
	mu          sync.Mutex
	index, used atomic.Int64
}

func (c *counter) AllowN(n int) bool { return c.Take(n).Allowed }

func (c *counter) Take(n int) ratelimit.Decision { return c.decide(n, true) }

func (c *counter) Peek(n int) ratelimit.Decision { return c.decide(n, false) }

func (c *counter) decide(n int, take bool) ratelimit.Decision {
	now := c.clock.Now()
	if c.fault != tornState {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	index, used := c.index.Load(), c.used.Load()
	if latest := c.window(now); latest > index {
		index, used = latest, 0
	}
	d := ratelimit.Decision{N: n, At: now, Limit: burst}
	if d.Allowed = used+int64(n) <= burst; d.Allowed {
		used += int64(n)
		if take {
			c.index.Store(index)
			c.used.Store(used)
		}
	} else if c.fault == refusalCharges {
		c.index.Store(index)
		c.used.Store(burst)
	}
	end := time.Duration(index+1)*window - phase
	d.Remaining = burst - int(used)
	if used > 0 {
		d.ResetAfter = end - now
	}
	if !d.Allowed {
		d.RetryAfter = end - now
	}
	return d
}

func (c *counter) Refund(d ratelimit.Decision) {
	if c.fault != tornState {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	if d.Allowed && c.index.Load() == c.window(d.At+d.ResetAfter-1) {
		c.used.Store(max(0, c.used.Load()-int64(d.N)))
	}
}

func (c *counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.Store(0)
	c.used.Store(0)
}

// window is the index of the window in which now lies.
func (c *counter) window(now time.Duration) int64 { return int64((now + phase) / window) }

// remembering is a limiter that remembers until when it refuses.
type remembering struct {
	limiter
	fault     fault
	clock     clock.Clock
	fullUntil atomic.Int64
}

func (r *remembering) AllowN(n int) bool {
	if int64(r.clock.Now()) < r.fullUntil.Load() {
		return false
	}
	return r.Take(n).Allowed
}

func (r *remembering) Take(n int) ratelimit.Decision {
	d := r.limiter.Take(n)
	if r.fault == staleRefusal && n == 1 && !d.Allowed {
		r.fullUntil.Store(int64(d.At + d.RetryAfter))
	}
	return d
}

// build returns a broken limiter.
func (f fault) build(name string, c clock.Clock) limiter {
	switch name {
	case "bucket":
		return &bucket{fault: f, clock: c}
	case "counter":
		return &counter{fault: f, clock: c}
	}
	log := slidinglog.MustNew(slidinglog.Config{Limit: burst, Window: window, Clock: c})
	return &remembering{limiter: log, fault: f, clock: c}
}

// brokenSubjects are the limiters above with each of the faults that they may
// have. The first one has none.
var brokenSubjects = []struct {
	name   string
	model  limitertest.Model
	faults []fault
}{
	{
		name:  "bucket",
		model: limitertest.NewTokenBucket(4, window, burst),
		faults: []fault{
			none, lostUpdate, staleWrite, staleDecision, refusalCharges, secondReading,
			peekCharges, refundLost, refundStale, refundUncapped, resetLost,
		},
	},
	{
		name:   "counter",
		model:  limitertest.NewFixedWindow(burst, window, 0, epoch),
		faults: []fault{none, tornState, refusalCharges},
	},
	{
		name:   "remembering",
		model:  limitertest.NewSlidingLog(burst, window),
		faults: []fault{none, staleRefusal},
	},
}

// TestFaultIsFound shows that both checks find what they are there to find: each
// fault after a while, and nothing where there is none.
func TestFaultIsFound(t *testing.T) {
	for _, b := range brokenSubjects {
		for _, f := range b.faults {
			s := &subject{scale: 1, model: b.model, build: func(c clock.Clock) limiter { return f.build(b.name, c) }}
			for _, check := range []struct {
				name string
				find func(s *subject, most int) (history []porcupine.Operation, checked int)
			}{
				{"histories", findInHistories},
				{"interleavings", findInInterleavings},
			} {
				t.Run(b.name+"/"+string(f)+"/"+check.name, func(t *testing.T) {
					if f == none {
						if history, checked := check.find(s, 1000); history != nil {
							t.Errorf("without a fault, number %d of the %s is not linearizable:%s", checked, check.name, describe(history))
						}
						return
					}
					history, checked := check.find(s, 20000)
					if history == nil {
						t.Fatalf("not found in %d %s", checked, check.name)
					}
					t.Logf("found in number %d of the %s", checked, check.name)
				})
			}
		}
	}
}

// findInHistories returns the first history that is not linearizable, if there
// is one among so many, and how many were checked.
func findInHistories(s *subject, most int) (history []porcupine.Operation, checked int) {
	spec, first := specification(s.model), rand.Uint64()
	for i := range most {
		history := s.record(first+uint64(i), movements[i%len(movements)].read)
		if !porcupine.CheckOperations(spec, history) {
			return history, i + 1
		}
	}
	return nil, most
}

// findInInterleavings is findInHistories for interleavings.
func findInInterleavings(s *subject, most int) (history []porcupine.Operation, checked int) {
	e := newExplorer(s)
	for seed := uint64(0); e.interleavings < most && history == nil; seed++ {
		history = e.program(seed)
	}
	return history, e.interleavings
}
