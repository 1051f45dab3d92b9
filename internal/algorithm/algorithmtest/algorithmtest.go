// Package algorithmtest tests the algorithms that a table owns the states of.
package algorithmtest

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/internal/span"
)

// Limiter is a limiter that consists of nothing but a state of the algorithm and
// a clock, for one goroutine. It does not wait.
func Limiter(a algorithm.Algorithm, c clock.Clock) limitertest.Refundable {
	if r, ok := a.(algorithm.Record); ok {
		return &records{rule: r, clock: c, record: make([]uint64, r.Words())}
	}
	return &words{rule: a.(algorithm.Word), clock: c}
}

type words struct {
	noWaits
	rule  algorithm.Word
	clock clock.Clock
	word  uint64
}

func (l *words) Take(n int) ratelimit.Decision { return l.decide(n, &l.word) }
func (l *words) Peek(n int) ratelimit.Decision {
	word := l.word
	return l.decide(n, &word)
}

func (l *words) decide(n int, word *uint64) ratelimit.Decision {
	now := l.clock.Now()
	if n < 1 || n > l.rule.Limit() {
		return l.rule.Answer(*word, now, n, algorithm.Line{}, n == 0)
	}
	next, ok := l.rule.Take(*word, now, n)
	if next >= algorithm.Reserved {
		panic("a state is a reserved word")
	}
	if ok {
		*word = next
	}
	return l.rule.Answer(*word, now, n, algorithm.Line{}, ok)
}

func (l *words) Allow() bool       { return l.Take(1).Allowed }
func (l *words) AllowN(n int) bool { return l.Take(n).Allowed }
func (l *words) Reset()            { l.word = 0 }
func (l *words) Refund(d ratelimit.Decision) {
	if d.Allowed && d.N > 0 && d.N <= l.rule.Limit() {
		l.word = l.rule.Refund(l.word, l.clock.Now(), d)
	}
}

type records struct {
	noWaits
	rule   algorithm.Record
	clock  clock.Clock
	heap   algorithm.Heap
	record []uint64
}

func (l *records) Take(n int) ratelimit.Decision {
	return l.rule.Decide(l.record, &l.heap, l.clock.Now(), n, 0, true)
}
func (l *records) Peek(n int) ratelimit.Decision {
	return l.rule.Decide(l.record, &l.heap, l.clock.Now(), n, 0, false)
}
func (l *records) Allow() bool       { return l.Take(1).Allowed }
func (l *records) AllowN(n int) bool { return l.Take(n).Allowed }
func (l *records) Reset()            { l.rule.Free(l.record, &l.heap) }
func (l *records) Refund(d ratelimit.Decision) {
	if d.Allowed && d.N > 0 && d.N <= l.rule.Limit() {
		l.rule.Refund(l.record, &l.heap, d)
	}
}

type noWaits struct{}

func (noWaits) Wait(context.Context) error       { panic("it does not wait") }
func (noWaits) WaitN(context.Context, int) error { panic("it does not wait") }

// Run checks what a table relies on, for an algorithm of some limits per window:
// that what is fresh is as good as new, that to begin at a reading counts what a
// late one admits as if at that, that Until refuses, that nothing counts for
// longer than Span, that a record is fresh from its End on and not before, and
// that no state is a reserved word.
func Run(t *testing.T, build func(limit int, window time.Duration, c clock.Clock) (algorithm.Algorithm, error)) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		window := []time.Duration{1, 10, 1000, time.Millisecond, time.Second, time.Hour, 366 * 24 * time.Hour, span.MaxWindow}[rng.IntN(8)]
		limit := 1 + int(rng.Int64N(min(int64(window), 1<<uint(1+rng.IntN(30)))))
		c := clock.NewFake()
		a, err := build(limit, window, c)
		if err != nil {
			continue // beyond what the algorithm can
		}
		l := Limiter(a, c)
		limit = a.Limit()
		start := []time.Duration{0, 1, time.Hour, 15 * 365 * 24 * time.Hour, span.MaxNow - window}[rng.IntN(5)]
		step := func(now time.Duration) time.Duration {
			return now + time.Duration(rng.Int64N(2*int64(window)+1)) - window/2
		}
		c.Set(start)
		if d := Limiter(a, c).Take(limit); d.ResetAfter > a.Span() && d.ResetAfter != ratelimit.Never {
			t.Fatalf("seed %d: %+v counts for longer than %v", seed, d, a.Span())
		}
		now := start
		var taken []ratelimit.Decision
		for range 60 {
			c.Set(now)
			d := l.Take(1 + rng.IntN(limit))
			if d.Allowed {
				taken = append(taken, d)
			}
			if len(taken) > 0 && rng.IntN(4) == 0 {
				i := rng.IntN(2) * (len(taken) - 1) // the oldest or the latest
				l.Refund(taken[i])
				taken = slices.Delete(taken, i, i+1)
			}
			checkFresh(t, seed, a, l, c)
			checkUntil(t, seed, l, c)
			checkEnd(t, seed, l)
			if wait := l.Peek(1).ResetAfter; wait != ratelimit.Never && rng.IntN(5) == 0 {
				now += wait
			} else if rng.IntN(2) == 0 {
				now = step(now)
			}
		}
		// At the ends of what a clock reads.
		for _, now := range []time.Duration{math.MinInt64, -1, 0, span.MaxNow - 1, span.MaxNow, span.MaxNow + 1, math.MaxInt64} {
			c.Set(now)
			l.Reset()
			for range 3 {
				l.Take(limit)
				l.Take(1)
				checkFresh(t, seed, a, l, c)
			}
		}
	}
}

// fresh is Fresh of the state of a limiter.
func fresh(l limitertest.Refundable, now time.Duration) bool {
	switch l := l.(type) {
	case *words:
		return l.rule.Fresh(l.word, now)
	case *records:
		return l.rule.Fresh(l.record, &l.heap, now)
	}
	panic("not one of ours")
}

// begun is a limiter of which nothing is known but that it was fresh at now.
func begun(a algorithm.Algorithm, now time.Duration, c clock.Clock) limitertest.Refundable {
	l := Limiter(a, c)
	switch l := l.(type) {
	case *words:
		l.word = l.rule.Start(now)
	case *records:
		l.rule.Start(l.record, now)
	}
	return l
}

func checkFresh(t *testing.T, seed uint64, a algorithm.Algorithm, l limitertest.Refundable, c *clock.Fake) {
	t.Helper()
	now := c.Now()
	defer c.Set(now)
	b := begun(a, now, c)
	if !fresh(b, now) {
		t.Fatalf("seed %d: what begins at %v is not fresh then", seed, now)
	}
	if d := b.Peek(a.Limit()); !d.Allowed {
		t.Fatalf("seed %d: what begins at %v refuses then: %+v", seed, now, d)
	}
	if !fresh(l, now) {
		if d := l.Peek(0); d.ResetAfter == 0 && d.Remaining == d.Limit && now >= 0 && now <= span.MaxNow {
			// Only a reading that is late may look as good as new and not be.
			if c.Set(span.MaxNow); !fresh(l, span.MaxNow) {
				t.Fatalf("seed %d: at %v never fresh again", seed, now)
			}
		}
		return
	}
	for _, later := range []time.Duration{0, 1, time.Second, time.Hour, 365 * 24 * time.Hour} {
		if c.Set(now + later); now+later < now {
			continue
		}
		if d := l.Peek(0); d.ResetAfter != 0 || d.Remaining != d.Limit {
			t.Fatalf("seed %d: fresh at %v, but %v later %+v", seed, now, later, d)
		}
		if got, want := b.Peek(1), l.Peek(1); got != want {
			t.Fatalf("seed %d: begun at %v, %v later %+v, and what was fresh says %+v", seed, now, later, got, want)
		}
	}
	// A reading that is late counts as the one it begins at.
	for _, earlier := range []time.Duration{1, 10, time.Millisecond, time.Second, time.Hour, 365 * 24 * time.Hour} {
		for _, n := range []int{1, (a.Limit() + 1) / 2, a.Limit()} {
			late, punctual := begun(a, now, c), begun(a, now, c)
			c.Set(now)
			punctual.Take(n)
			c.Set(now - earlier)
			if !late.Take(n).Allowed {
				continue // as buckets do
			}
			for _, later := range []time.Duration{0, 1, a.Span() / 2, a.Span() - 1, a.Span()} {
				if c.Set(now + later); now+later < now {
					continue
				}
				if got, want := late.Peek(0), punctual.Peek(0); got.Remaining > want.Remaining {
					t.Fatalf("seed %d: begun at %v, %d taken %v earlier, %v later %+v, and taken in time %+v", seed, now, n, earlier, later, got, want)
				}
			}
		}
	}
}

// checkEnd checks that a record is fresh from its End on, and not before.
func checkEnd(t *testing.T, seed uint64, l limitertest.Refundable) {
	t.Helper()
	r, ok := l.(*records)
	if !ok {
		return
	}
	end := r.rule.End(r.record, &r.heap)
	if end <= span.MaxNow && !fresh(l, end) {
		t.Fatalf("seed %d: not fresh at its end, %v", seed, end)
	}
	if end > 0 && end <= span.MaxNow && fresh(l, end-1) {
		t.Fatalf("seed %d: fresh before its end, %v", seed, end)
	}
}

func checkUntil(t *testing.T, seed uint64, l limitertest.Refundable, c *clock.Fake) {
	t.Helper()
	r, ok := l.(*records)
	if !ok {
		return
	}
	now := c.Now()
	defer c.Set(now)
	until := r.rule.Until(r.record, &r.heap, now)
	for _, at := range []time.Duration{now, until - 1, until - 2, now - 1, now - time.Hour, 0} {
		if c.Set(at); at < until && at >= 0 {
			if d := l.Peek(1); d.Allowed {
				t.Fatalf("seed %d: until %v, by what is known at %v, nothing is admitted, but %+v", seed, until, now, d)
			}
		}
	}
	if c.Set(now); until == 0 && now >= 0 && now < span.MaxNow {
		if d := l.Peek(1); !d.Allowed && d.RetryAfter < time.Hour {
			// It may not be known, but then a reading must be late.
			if c.Set(now + d.RetryAfter); !l.Peek(1).Allowed {
				t.Fatalf("seed %d: %+v", seed, d)
			}
		}
	}
}
