package limitertest

import (
	"context"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

func freshAdmitsTheLimit(tb TB, s Subject) {
	for _, z := range sizes {
		for _, start := range z.starts() {
			// The clock may have been moved before the limiter was made, or since.
			c := clock.NewFake()
			early := s.New(c, z.limit, z.window)
			c.Set(start)
			late := s.New(c, z.limit, z.window)
			if !early.AllowN(z.limit) {
				tb.Fatalf("%v, at %v: AllowN(%d) refuses", z, start, z.limit)
			}
			if early.Allow() {
				tb.Fatalf("%v, at %v: after the whole limit in one go, Allow admits", z, start)
			}
			if n := drain(late, z.limit); n != z.limit {
				tb.Fatalf("%v, at %v: Allow admits %d", z, start, n)
			}
		}
	}
}

// drain is how many events are admitted one by one; limit+1 if they are more
// than the limit.
func drain(l ratelimit.Limiter, limit int) (n int) {
	for n <= limit && l.Allow() {
		n++
	}
	return n
}

// # Numbers of events

func zeroIsAdmitted(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, state := range []string{"in some state", "full"} {
			admitsZero(tb, w, state)
			w.unchanged(tb, "after verbs with 0, %s", state)
			w.fill()
		}
	})
}

func admitsZero(tb TB, w *twins, state string) {
	tb.Helper()
	if !w.one.AllowN(0) {
		tb.Fatalf("%v, %s: AllowN(0) refuses", w.size, state)
	}
	for _, d := range []ratelimit.Decision{w.one.Take(0), w.one.Peek(0)} {
		if !d.Allowed || d.N != 0 || d.RetryAfter != 0 {
			tb.Fatalf("%v, %s: 0 events: %+v", w.size, state, d)
		}
	}
	if err := w.atOnce(tb, context.Background(), 0); err != nil {
		tb.Fatalf("%v, %s: WaitN(0): %v", w.size, state, err)
	}
}

func zeroIsAdmittedWhileSomebodyWaits(tb TB, s Subject) {
	s.each(func(w *twins) {
		line := w.queueSome(2)
		admitsZero(tb, w, "somebody waiting")
		line.serveAll(tb)
		w.unchanged(tb, "after verbs with 0 while somebody waited")
	})
}

// impossible are numbers of events that can never be admitted.
func (z size) impossible() []int {
	numbers := []int{-1, -2, -z.limit, math.MinInt, math.MinInt + 1, math.MinInt32, z.limit + 1, 2 * z.limit, math.MaxInt32, math.MaxInt - 1, math.MaxInt}
	if strconv.IntSize == 64 {
		one := int64(1)
		numbers = append(numbers, int(one<<32+1), int(-one<<32+1))
	}
	// These, too, look like a 1 where they are cut to fewer bits.
	return append(numbers, 1<<8+1, 1<<16+1, -1<<8+1, -1<<16+1)
}

func impossibleIsNever(tb TB, s Subject) {
	s.each(func(w *twins) {
		refused := func(state string) {
			for _, n := range w.impossible() {
				if w.one.AllowN(n) {
					tb.Fatalf("%v, %s: AllowN(%d) admits", w.size, state, n)
				}
				for _, d := range []ratelimit.Decision{w.one.Take(n), w.one.Peek(n)} {
					if d.Allowed || d.RetryAfter != ratelimit.Never || d.N != n {
						tb.Fatalf("%v, %s: %d events: %+v", w.size, state, n, d)
					}
				}
			}
		}
		refused("in some state")
		w.queueSome(1)
		refused("somebody waiting")
	})
}

func impossibleChangesNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, n := range w.impossible() {
			w.one.AllowN(n)
			w.one.Take(n)
			w.one.Peek(n)
			w.atOnce(tb, context.Background(), n)
		}
		w.unchanged(tb, "after verbs with any of %d", w.impossible())
	})
}

func impossibleWaitFails(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, n := range w.impossible() {
			err := w.atOnce(tb, context.Background(), n)
			if !errors.Is(err, ratelimit.ErrExceedsLimit) {
				tb.Fatalf("%v: WaitN(%d): %v", w.size, n, err)
			}
			if !names(err, n) || !names(err, w.limit) {
				tb.Fatalf("%v: the error of WaitN(%d) does not name n and the limit: %v", w.size, n, err)
			}
		}
	})
}

// names reports whether the number is among the words of an error.
func names(err error, n int) bool {
	words := strings.FieldsFunc(err.Error(), func(r rune) bool { return r != '-' && (r < '0' || '9' < r) })
	for _, word := range words {
		if word == strconv.Itoa(n) {
			return true
		}
	}
	return false
}

// # Decisions

func decisionSaysWhatWasAsked(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 10 {
			for _, n := range append(w.impossible(), 0, w.some(), w.some()) {
				for _, d := range []ratelimit.Decision{w.one.Peek(n), w.one.Take(n)} {
					limit := d.Limit == w.limit || s.Joins && d.Limit > w.limit
					if d.N != n || d.At != w.clock.Now() || !limit {
						tb.Fatalf("%v, at %v: %d events: %+v", w.size, w.clock.Now(), n, d)
					}
				}
			}
			w.move()
		}
	})
}

func retryAfterIsZeroIfAllowed(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 10 {
			for _, n := range append(w.impossible(), 0, w.some(), w.limit) {
				for _, d := range []ratelimit.Decision{w.one.Peek(n), w.one.Take(n)} {
					if d.Allowed && d.RetryAfter != 0 || !d.Allowed && d.RetryAfter <= 0 {
						tb.Fatalf("%v: %+v", w.size, d)
					}
				}
			}
			w.move()
		}
	})
}

func retryAfterIsExact(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 10 {
			start := w.clock.Now()
			// An earlier reading has a longer wait.
			for _, now := range []time.Duration{start, start - 1, start - w.window, 0, start} {
				w.clock.Set(max(0, now))
				for n := 1; n <= w.limit; n++ {
					admittedWhenTold(tb, w, n)
				}
			}
			w.one.Take(w.some())
			w.move()
		}
		// Peek may tell and Take not keep it.
		w.clock.Advance(3 * w.window)
		for range 10 {
			n := w.some()
			d := w.one.Take(n)
			if d.Allowed {
				continue
			}
			w.clock.Advance(d.RetryAfter - 1)
			if w.one.AllowN(n) {
				tb.Fatalf("%v: %+v,\n\tbut 1ns before it is up AllowN admits", w.size, d)
			}
			w.clock.Advance(1)
			if !w.one.AllowN(n) {
				tb.Fatalf("%v: %+v,\n\tbut when it is up AllowN refuses", w.size, d)
			}
		}
	})
}

// admittedWhenTold fails unless n is admitted after the wait that Peek tells,
// and not before.
func admittedWhenTold(tb TB, w *twins, n int) {
	tb.Helper()
	d := w.one.Peek(n)
	if d.Allowed {
		return
	}
	defer w.clock.Set(d.At)
	w.clock.Set(d.At + d.RetryAfter - 1)
	if early := w.one.Peek(n); early.Allowed {
		tb.Fatalf("%v: %+v,\n\tbut 1ns before it is up %+v", w.size, d, early)
	}
	w.clock.Set(d.At + d.RetryAfter)
	if then := w.one.Peek(n); !then.Allowed {
		tb.Fatalf("%v: %+v,\n\tbut when it is up %+v", w.size, d, then)
	}
}

func remainingIsExact(tb TB, s Subject) {
	s.each(func(w *twins) {
		n := w.some()
		peek := w.one.Peek(n)
		d := w.one.Take(n)
		w.two.Take(n)
		for _, d := range []ratelimit.Decision{d, peek} {
			if next := w.one.Peek(d.Remaining); !next.Allowed {
				tb.Fatalf("%v: %+v,\n\tbut then %+v", w.size, d, next)
			}
			if next := w.one.Peek(d.Remaining + 1); next.Allowed {
				tb.Fatalf("%v: %+v,\n\tbut then %+v", w.size, d, next)
			}
		}
		if more := drain(w.two, w.limit); more != d.Remaining {
			tb.Fatalf("%v: %+v,\n\tbut %d more are admitted one by one", w.size, d, more)
		}
	})
}

func resetAfterIsExact(tb TB, s Subject) {
	s.each(func(w *twins) {
		d := w.one.Take(w.some())
		if d.ResetAfter > 0 {
			w.clock.Advance(d.ResetAfter - 1)
			if early := w.one.Peek(w.limit); early.Allowed {
				tb.Fatalf("%v: %+v,\n\tbut 1ns before it is as good as new it is already: %+v", w.size, d, early)
			}
			w.clock.Advance(1)
		}
		w.fresh(tb, "%+v, and at its end", d)
	})
}

// # What changes nothing

func refusalChangesNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, state := range []string{"in some state", "full"} {
			for n := 1; n <= w.limit; n++ {
				if d := w.one.Peek(n); !d.Allowed {
					w.one.AllowN(n)
					w.one.Take(n)
				}
			}
			w.unchanged(tb, "after refusals, %s", state)
			w.fill()
		}
	})
}

func peekChangesNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		for n := -1; n <= w.limit+1; n++ {
			w.one.Peek(n)
		}
		// The twins are compared by Peek itself, so ask the other verbs.
		for range 20 {
			w.one.Peek(w.some())
			n := w.some()
			if got, want := w.one.Take(n), w.two.Take(n); got != want {
				tb.Fatalf("%v: after Peek, Take(%d) = %+v\n\tand without %+v", w.size, n, got, want)
			}
			w.move()
		}
	})
}

func peekIsTheNextTake(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 10 {
			for _, n := range []int{w.some(), 0, -1, w.limit, w.limit + 1} {
				if peek, take := w.one.Peek(n), w.one.Take(n); peek != take {
					tb.Fatalf("%v: Peek(%d) = %+v\n\tTake(%[2]d) = %+[4]v", w.size, n, peek, take)
				}
			}
			w.move()
		}
	})
}

// # The bound

func boundHolds(tb TB, s Subject) {
	s.each(func(w *twins) {
		admitted := log{}
		for range 60 {
			n := w.some()
			d := w.one.Take(n)
			if d.Allowed {
				admitted = append(admitted, admission{d.At, n})
				continue
			}
			// Come back as soon as told, or a little before.
			w.clock.Advance(d.RetryAfter - time.Duration(w.random.IntN(2)))
		}
		admitted.within(tb, s, w.limit, w.window)
	})
}

// askAt asks the first of the twins at one reading after the other.
func askAt(tb TB, w *twins, readings []time.Duration) {
	tb.Helper()
	admitted := log{}
	for _, now := range readings {
		w.clock.Set(now)
		// By turns one, which often succeeds, and some.
		for _, n := range []int{1, w.some()} {
			if w.one.AllowN(n) {
				admitted = append(admitted, admission{now, n})
			}
		}
	}
	admitted.within(tb, w.subject, w.limit, w.window)
}

func boundHoldsInAnyOrder(tb TB, s Subject) {
	for _, z := range sizes {
		each := z.window / time.Duration(z.limit)
		for i, start := range z.starts() {
			for _, step := range []time.Duration{1, each, z.window, 3 * z.window} {
				var alternating, replayed []time.Duration
				for k := range time.Duration(50) {
					alternating = append(alternating, start+k%2*step)
					replayed = append(replayed, start+k/5*step, start+k/7*step) // as by one that is late
				}
				askAt(tb, s.twins(z, i), alternating)
				askAt(tb, s.twins(z, i), replayed)
			}
			walk, far := []time.Duration{start}, []time.Duration{start}
			w := s.twins(z, i)
			for k := range 100 {
				walk = append(walk, max(0, walk[k]+time.Duration(w.random.Int64N(int64(z.window)))-z.window/2))
				far = append(far, start+time.Duration(w.random.Int64N(int64(2*year))))
			}
			askAt(tb, s.twins(z, i), walk)
			askAt(tb, s.twins(z, i), far)
		}
	}
}

func boundHoldsAnywhere(tb TB, s Subject) {
	ends := []time.Duration{
		0, 1, time.Hour, 15 * year, lastNow - 1, lastNow, lastNow + 1, 200 * year,
		math.MaxInt64 - time.Second, math.MaxInt64 - 1, math.MaxInt64,
		-1, -time.Hour, -5 * year, math.MinInt64 + 1, math.MinInt64,
	}
	for _, z := range sizes {
		for i := range ends {
			w := s.twins(z, i)
			var readings []time.Duration
			for _, k := range w.random.Perm(len(ends)) {
				readings = append(readings, ends[k])
			}
			for range 100 {
				readings = append(readings, ends[w.random.IntN(len(ends))])
			}
			askAt(tb, w, readings)
		}
	}
}

func staleReadingAdmitsNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		now := w.clock.Now()
		for _, earlier := range []time.Duration{1, 2, w.window / 2, w.window - 1, w.window, w.window + 1, 10 * w.window, time.Hour, year, now} {
			if earlier > now {
				continue
			}
			w.clock.Set(now - earlier)
			if w.one.Allow() {
				tb.Fatalf("%v: nothing is left at %v, but %v earlier Allow admits", w.size, now, earlier)
			}
			w.clock.Set(now)
			if w.one.Allow() {
				tb.Fatalf("%v: nothing is left at %v, but after a reading %v earlier Allow admits", w.size, now, earlier)
			}
		}
	})
}

func idleIsWorthOneLimit(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, end := range []time.Duration{16 * year, 18 * year} {
			w.clock.Set(end)
			if n := drain(w.one, w.limit); n != w.limit {
				tb.Fatalf("%v: after some years %d are admitted", w.size, n)
			}
		}
		w.clock.Set(200 * year)
		if n := drain(w.one, w.limit); n > w.limit {
			tb.Fatalf("%v: after 200 years more than the limit are admitted", w.size)
		}
	})
}
