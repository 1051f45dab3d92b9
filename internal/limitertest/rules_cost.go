package limitertest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

func nothingAllocates(tb TB, s Subject) {
	const limit, window = 1000, time.Second
	ctx := context.Background()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()

	fake := clock.NewFake()
	l := s.New(fake, limit, window)
	none := func(verb string, f func()) {
		if allocs := testing.AllocsPerRun(100, f); allocs > 0 {
			tb.Fatalf("%s allocates %v times", verb, allocs)
		}
	}
	// Time goes on, so that each is admitted and they are not at one reading.
	next := func() { fake.Advance(window / 10) }
	if s.Grows {
		for range 3 * limit {
			fake.Advance(window / limit)
			l.Allow()
		}
		fake.Advance(window)
	}
	none("Allow that admits", func() { next(); l.Allow() })
	none("AllowN that admits", func() { next(); l.AllowN(2) })
	none("Take that admits", func() { next(); l.Take(2) })
	none("Peek that would admit", func() { next(); l.Peek(2) })
	none("Wait that admits", func() { next(); l.Wait(ctx) })
	none("WaitN that admits", func() { next(); l.WaitN(ctx, 2) })
	none("Wait with a context that is done", func() { next(); l.Wait(cancelled) })
	if r, ok := l.(ratelimit.Refunder); ok {
		none("Refund", func() { next(); r.Refund(l.Take(2)) })
	}
	fake.Advance(3 * window)
	l.AllowN(limit)
	none("Allow that refuses", func() { l.Allow() })
	none("AllowN that refuses", func() { l.AllowN(2) })
	none("Take(1) that refuses", func() { l.Take(1) })
	none("Take that refuses", func() { l.Take(2) })
	none("Peek that would refuse", func() { l.Peek(2) })
	for _, n := range []int{0, -1, limit + 1} {
		none("Allow of what is none, or impossible", func() { l.AllowN(n) })
		none("Take of what is none, or impossible", func() { l.Take(n) })
		none("Peek of what is none, or impossible", func() { l.Peek(n) })
	}
	none("WaitN(0)", func() { l.WaitN(ctx, 0) })
	if r, ok := l.(ratelimit.Resetter); ok {
		none("Reset", func() { r.Reset() })
	}
}

func noGoroutine(tb TB, s Subject) {
	before := goroutines()
	for _, z := range sizes {
		w := s.twins(z, 0)
		w.stir()
		w.atOnce(tb, context.Background(), 0)
		w.clock.Advance(3 * w.window)
		w.atOnce(tb, context.Background(), w.limit)
		w.queueSome(3)
		w.disperse()
	}
	// One that is about to end may still have a stack.
	after := goroutines()
	for range 1000 {
		if after <= before {
			return
		}
		runtime.Gosched()
		after = goroutines()
	}
	tb.Fatalf("%d goroutines are left", after-before)
}

// goroutines counts those in the bubble. Outside of it there may be any.
func goroutines() int {
	synctest.Wait()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	// The first is our own: goroutine 1 [running, synctest bubble 2]:
	first, _, _ := bytes.Cut(stacks, []byte("]:"))
	_, bubble, ok := bytes.Cut(first, []byte("synctest"))
	if !ok {
		panic("not in a bubble, or this Go writes stacks otherwise")
	}
	return bytes.Count(stacks, fmt.Appendf(nil, "synctest%s]:", bubble))
}

// # Concurrent use

// together runs f in some goroutines at once, and returns when all have
// returned.
func together(goroutines int, f func(i int)) {
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			<-gate
			f(i)
		})
	}
	synctest.Wait() // until all are at the gate
	close(gate)
	all.Wait()
}

func manyTakeTheLimit(tb TB, s Subject) {
	const limit = 200_000
	fake := clock.NewFake()
	fake.Set(time.Hour)
	l := s.New(fake, limit, 24*time.Hour)
	var admitted atomic.Int64
	together(8, func(i int) {
		n := 0
		for i%2 == 0 && n < 2*limit && l.AllowN(3) {
			n += 3
		}
		for n < 2*limit && l.Take(1).Allowed {
			n++
		}
		admitted.Add(int64(n))
	})
	if n := admitted.Load(); n != limit {
		tb.Fatalf("%d are admitted, where the limit is %d", n, limit)
	}
}

func manyTakeAndRefund(tb TB, s Subject) {
	z := size{12, time.Second}
	w := s.twins(z, 0)
	together(8, func(i int) {
		for range 2000 {
			if d := w.one.Take(1 + i%3); d.Allowed {
				w.refund(d)
			}
			w.one.Peek(1 + i%3)
		}
	})
	w.fresh(tb, "after many a Take that was refunded")
}

func manyWait(tb TB, s Subject) {
	z := size{5, time.Second}
	c := clock.System()
	l := s.New(c, z.limit, z.window)
	var mu sync.Mutex
	var admitted log
	var unexpected error
	together(40, func(i int) {
		random := rand.New(rand.NewPCG(uint64(i), 0))
		for range 10 {
			time.Sleep(time.Duration(random.Int64N(int64(z.window))))
			ctx, cancel := context.WithCancel(context.Background())
			switch random.IntN(3) {
			case 0:
				ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(8*z.window))))
			case 1:
				time.AfterFunc(time.Duration(random.Int64N(int64(8*z.window))), cancel)
			}
			n := 1 + random.IntN(3)
			err := l.WaitN(ctx, n)
			cancel()
			mu.Lock()
			switch {
			case err == nil:
				admitted = append(admitted, admission{c.Now(), n})
			case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ratelimit.ErrQueueFull):
				unexpected = err
			}
			mu.Unlock()
		}
	})
	if unexpected != nil {
		tb.Fatalf("%v: a wait fails: %v", z, unexpected)
	}
	if len(admitted) < 20 {
		tb.Fatalf("%v: only %d waits are admitted", z, len(admitted))
	}
	slices.SortStableFunc(admitted, func(a, b admission) int { return cmp.Compare(a.at, b.at) })
	admitted.within(tb, s, z.limit, z.window)
	// Nothing is left of them in line.
	time.Sleep(3 * z.window)
	if !l.AllowN(z.limit) {
		tb.Fatalf("%v: afterwards %+v", z, l.Peek(z.limit))
	}
}
