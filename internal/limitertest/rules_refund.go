package limitertest

import (
	"math"
	"slices"
	"time"

	"github.com/ratekeep/ratelimit"
)

func (w *twins) refund(d ratelimit.Decision) { w.one.(ratelimit.Refunder).Refund(d) }

func refundOfAllIsFresh(tb TB, s Subject) {
	for _, z := range sizes {
		for seed := range 36 {
			w := s.twins(z, seed)
			var taken []ratelimit.Decision
			for range 2 * z.limit {
				if d := w.one.Take(w.some()); d.Allowed {
					taken = append(taken, d)
				}
			}
			switch seed % 3 {
			case 1:
				slices.Reverse(taken)
			case 2:
				w.random.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
			}
			for _, d := range taken {
				w.refund(d)
			}
			w.fresh(tb, "after a refund of all of %+v", taken)
		}
	}
}

func refundOfNothingIsNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		for _, n := range append(w.impossible(), 0, w.some(), w.limit) {
			d := w.one.Take(n)
			if d.Allowed && n != 0 {
				continue
			}
			w.refund(d)
			w.unchanged(tb, "after a refund of %+v", d)
		}
		w.refund(ratelimit.Decision{})
		w.unchanged(tb, "after a refund of the zero Decision")
	})
}

func refundOfThePastIsNothing(tb TB, s Subject) {
	for _, z := range sizes {
		for seed := range 24 {
			w := s.twins(z, seed)
			n := w.some()
			d := w.one.Take(n)
			w.two.Take(n)
			// Since then the limiter has become as good as new, and has been used.
			w.clock.Advance(max(d.ResetAfter, 2*w.window) + time.Duration(seed%2))
			w.fill()
			w.refund(d)
			w.unchanged(tb, "after a refund of %+v", d)
		}
	}
}

func refundKeepsTheBound(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.clock.Advance(3 * w.window) // what has been admitted so far passes
		var taken []ratelimit.Decision
		admitted := log{}
		for range 80 {
			if i := w.random.IntN(3 * (len(taken) + 1)); i < len(taken) {
				w.refund(taken[i])
				taken = slices.Delete(taken, i, i+1)
				admitted = slices.Delete(admitted, i, i+1) // as if it had not been
				continue
			}
			n := w.some()
			if d := w.one.Take(n); d.Allowed {
				taken = append(taken, d)
				admitted = append(admitted, admission{d.At, n})
				continue
			}
			w.move()
		}
		admitted.within(tb, s, w.limit, w.window)
	})
}

func refundNeverGoesBeyondFresh(tb TB, s Subject) {
	times := []time.Duration{0, 1, -1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1, lastNow, 15 * year}
	s.each(func(w *twins) {
		now := w.clock.Now()
		admitted := log{}
		for range 2 {
			for _, n := range []int{1, w.limit, w.limit + 1, math.MaxInt, -1, math.MinInt} {
				for _, at := range append(times, now, now-w.window, now+w.window) {
					for _, resetAfter := range []time.Duration{w.window, times[w.random.IntN(len(times))]} {
						before := w.one.Peek(0)
						d := ratelimit.Decision{Allowed: true, N: n, At: at, ResetAfter: resetAfter}
						w.refund(d)
						if after := w.one.Peek(0); after.Remaining < before.Remaining || after.Remaining > w.limit {
							tb.Fatalf("%v: a refund of %+v\n\tmakes %+v\n\tof %+v", w.size, d, after, before)
						}
					}
				}
			}
			n := drain(w.one, w.limit)
			admitted = append(admitted, admission{w.clock.Now(), n})
			if n > w.limit {
				tb.Fatalf("%v: after many a refund %d are admitted", w.size, n)
			}
			w.clock.Advance(3 * w.window)
		}
		admitted.within(tb, s, w.limit, w.window)
	})
}

func resetIsFresh(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, state := range []string{"in some state", "full"} {
			w.one.(ratelimit.Resetter).Reset()
			w.fresh(tb, "after Reset, %s", state)
			w.fill()
		}
	})
}
