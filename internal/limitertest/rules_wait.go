package limitertest

import (
	"context"
	"errors"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

func freeWaitIsAdmitted(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 10 {
			if n := w.some(); w.delay(n) == 0 {
				if err := w.atOnce(tb, context.Background(), n); err != nil {
					tb.Fatalf("%v: WaitN(%d): %v", w.size, n, err)
				}
				w.two.Take(n)
				w.unchanged(tb, "after WaitN(%d), and without it after Take", n)
			}
			w.move()
		}
	})
}

func waitTakesAsLongAsItMust(tb TB, s Subject) {
	s.each(func(w *twins) {
		for range 4 {
			w.fill()
			line := w.queue(w.some())
			// Time may go back meanwhile, and on.
			now := w.clock.Now()
			line.moveTo(now - w.window)
			line.moveTo(now)
			line.serveAll(tb)
			w.unchanged(tb, "after a Wait, and without it after Take")
			w.move()
		}
	})
}

func waitWorksOnTheSystemClock(tb TB, s Subject) {
	for _, z := range sizes {
		c := clock.System()
		l := s.New(c, z.limit, z.window)
		l.AllowN(z.limit)
		d := l.Peek(z.limit)
		// An hour is not enough for what never returns, and too long for the rest.
		ctx, cancel := context.WithCancel(context.Background())
		defer time.AfterFunc(10*z.window+time.Hour, cancel).Stop()
		defer cancel()
		if err := l.WaitN(ctx, z.limit); err != nil {
			tb.Fatalf("%v: WaitN(%d): %v", z, z.limit, err)
		}
		want := d.RetryAfter
		if s.Paces {
			want = d.ResetAfter
		}
		if took := c.Now() - d.At; took != want {
			tb.Fatalf("%v: WaitN(%d) took %v, and should %v", z, z.limit, took, want)
		}
	}
}

// # Contexts

func doneContextFails(tb TB, s Subject) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	expired, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	justNow, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	caused, cancelCause := context.WithCancelCause(context.Background())
	cancelCause(errors.New("a reason"))
	s.each(func(w *twins) {
		for _, state := range []string{"in some state", "full"} {
			for _, ctx := range []context.Context{cancelled, expired, justNow, caused} {
				n := w.some()
				if err := w.atOnce(tb, ctx, n); !errors.Is(err, ctx.Err()) {
					tb.Fatalf("%v, %s: WaitN(%d) = %v, the context's error being %v", w.size, state, n, err, ctx.Err())
				}
				w.unchanged(tb, "after a WaitN(%d) with a context that is done: %v", n, ctx.Err())
			}
			w.fill()
		}
	})
}

func cancelledWaitChangesNothing(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		line := w.queue(w.some())
		line.giveUp(tb, 0)
		w.unchanged(tb, "after a wait that was cancelled")

		// The limiter's clock stands still while the deadline comes.
		n := w.some()
		ctx, cancel := context.WithTimeout(context.Background(), w.delay(n))
		defer cancel()
		waiter := w.wait(ctx, n)
		time.Sleep(2 * w.delay(n))
		if waiter.waits() || !errors.Is(waiter.err, context.DeadlineExceeded) {
			tb.Fatalf("%v: a wait that is at its deadline: %v", w.size, waiter)
		}
		w.unchanged(tb, "after a wait that expired")
	})
}

func deadlineIsFoundOutAtOnce(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		for _, short := range []time.Duration{1, w.delay(1) / 2, w.delay(1) - 1} {
			n := w.some()
			if short <= 0 || w.delay(n) <= short {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), w.delay(n)-short)
			defer cancel()
			err := w.atOnce(tb, ctx, n)
			if !errors.Is(err, ratelimit.ErrWouldExceedDeadline) || !errors.Is(err, context.DeadlineExceeded) {
				tb.Fatalf("%v: WaitN(%d) of %v with %v less to the deadline: %v", w.size, n, w.delay(n), short, err)
			}
			w.unchanged(tb, "after a wait that would exceed its deadline")
		}
	})
}

func deadlineIsMetExactly(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, spare := range []time.Duration{1, w.window} {
			w.fill()
			n := w.some()
			ctx, cancel := context.WithTimeout(context.Background(), w.delay(n)+spare)
			defer cancel()
			line := &line{w, []*waiter{w.wait(ctx, n)}}
			line.serveAll(tb)
		}
	})
}

func deadlineCountsThoseAhead(tb TB, s Subject) {
	s.each(func(w *twins) {
		line, n, longer := w.queueMany()
		if longer == 0 {
			return
		}
		// It would be in time if nobody were ahead.
		ctx, cancel := context.WithTimeout(context.Background(), w.delay(n)+longer)
		defer cancel()
		err := w.atOnce(tb, ctx, n)
		if !errors.Is(err, ratelimit.ErrWouldExceedDeadline) {
			tb.Fatalf("%v: %v, and WaitN(%d) that would be in time but for them: %v", w.size, line.waiters, n, err)
		}
		line.serveAll(tb)
		w.unchanged(tb, "after a wait in line that would exceed its deadline")
	})
}

// queueMany fills the limiter and has so many wait that it takes n more longer
// by at least so much, by any account.
func (w *twins) queueMany() (l *line, n int, longer time.Duration) {
	w.fill()
	switch {
	case w.subject.Joins:
		// It knows of those in line only what they wait for.
		return w.queue(w.limit), 1, max(0, w.delay(w.limit)-w.delay(1))
	case w.subject.Paces:
		if w.limit == 1 {
			return w.queue(), 1, 0 // there is no room for two
		}
		return w.queue(w.limit - 1), 1, 1
	}
	return w.queue(w.limit, w.limit), w.limit, 1
}

// # Those in line

func firstComeFirstServed(tb TB, s Subject) {
	s.each(func(w *twins) {
		line := w.queueSome(2 + w.random.IntN(5))
		line.serveAll(tb)
		w.unchanged(tb, "after a line, and without it after Takes")
	})
}

func onlyTheFirstSleeps(tb TB, s Subject) {
	done, cancel := context.WithCancel(context.Background())
	cancel() // so that BlockUntil does not wait
	s.each(func(w *twins) {
		line := w.queueSome(3)
		for ; len(line.waiters) > 0; line.giveUp(tb, 0) {
			if w.clock.BlockUntil(done, 1) != nil || w.clock.BlockUntil(done, 2) == nil {
				tb.Fatalf("%v: not just one of these sleeps: %v", w.size, line.waiters)
			}
		}
		if w.clock.BlockUntil(done, 1) == nil {
			tb.Fatalf("%v: when all have given up one sleeps", w.size)
		}
	})
}

// blocked has one wait for so many that there is room for fewer. It returns nil
// where that is not possible.
func (w *twins) blocked() *line {
	n := w.limit
	if w.subject.Paces {
		n-- // there is room in line for one more
	}
	w.clock.Advance(2 * w.window)
	if w.random.IntN(2) == 0 {
		// Some has become free again.
		w.fill()
		w.clock.Advance(w.two.Peek(1).RetryAfter)
	} else if w.limit > 1 {
		// Not all has been taken.
		k := 1 + w.random.IntN(w.limit-1)
		w.one.Take(k)
		w.two.Take(k)
	}
	if n < 1 || w.delay(n) == 0 || !w.two.Peek(1).Allowed {
		return nil
	}
	return w.queue(n)
}

func fewDoNotOvertakeMany(tb TB, s Subject) {
	s.each(func(w *twins) {
		line := w.blocked()
		if line == nil {
			return
		}
		line.waiters = append(line.waiters, w.wait(context.Background(), 1))
		line.serveAll(tb)
	})
}

func nobodyOvertakesTheLine(tb TB, s Subject) {
	s.each(func(w *twins) {
		line := w.blocked()
		if line == nil {
			return
		}
		for n := 1; n <= w.limit; n++ {
			if w.one.AllowN(n) {
				tb.Fatalf("%v: one waits for %d, but AllowN(%d) admits", w.size, line.waiters[0].n, n)
			}
			for _, d := range []ratelimit.Decision{w.one.Take(n), w.one.Peek(n)} {
				if d.Allowed || d.Remaining != 0 {
					tb.Fatalf("%v: one waits for %d: %+v", w.size, line.waiters[0].n, d)
				}
			}
		}
		line.serveAll(tb)
		w.unchanged(tb, "after asking while somebody waited")
	})
}

func retryAfterCountsTheLine(tb TB, s Subject) {
	s.each(func(w *twins) {
		line, many, longer := w.queueMany()
		for n := 1; n <= w.limit; n++ {
			least := max(1, w.delay(n))
			if n == many && !s.Paces {
				least += longer
			}
			isBehind(tb, line, n, least)
		}
		w.disperse()

		line = w.blocked()
		if line == nil {
			line = w.queueSome(1 + w.random.IntN(5))
		}
		n := w.some()
		d := isBehind(tb, line, n, max(1, w.two.Peek(n).RetryAfter))
		line.serve(tb, d.At+d.RetryAfter-1)
		if early := w.one.Peek(d.N); early.Allowed {
			tb.Fatalf("%v: behind others %+v,\n\tbut 1ns before it is up %+v", w.size, d, early)
		}
		line.serveAll(tb)
	})
}

// isBehind fails unless n are refused with a RetryAfter of at least so much.
func isBehind(tb TB, line *line, n int, least time.Duration) ratelimit.Decision {
	tb.Helper()
	d := line.one.Take(n)
	peek := line.one.Peek(n)
	if d.Allowed || d.RetryAfter < least || d.RetryAfter == ratelimit.Never || d != peek {
		tb.Fatalf("%v: %v, and\n\t%+v, where RetryAfter must be at least %v, and Peek says\n\t%+v", line.size, line.waiters, d, least, peek)
	}
	return d
}

func givingUpLeavesNoDebt(tb TB, s Subject) {
	s.each(func(w *twins) {
		for _, order := range []string{"first to last", "last to first", "random", "together"} {
			line := w.queueSome(5)
			all := line.waiters
			for len(line.waiters) > 0 && order != "together" {
				i := 0
				switch order {
				case "last to first":
					i = len(line.waiters) - 1
				case "random":
					i = w.random.IntN(len(line.waiters))
				}
				line.giveUp(tb, i)
			}
			w.disperse()
			for _, waiter := range all {
				if waiter.waits() || waiter.err != context.Canceled {
					tb.Fatalf("%v: a wait that is cancelled: %v", w.size, waiter)
				}
			}
			w.unchanged(tb, "after %d gave up, %s", len(all), order)
		}
	})
}

func givingUpLeavesNoGap(tb TB, s Subject) {
	s.each(func(w *twins) {
		line := w.queueSome(4)
		for len(line.waiters) > 1 {
			line.giveUp(tb, w.random.IntN(len(line.waiters)))
			// It may be the turn of the next, and some time passes.
			line.serve(tb, w.clock.Now()+time.Duration(w.random.IntN(2))*w.delay(1)/2)
		}
		line.serveAll(tb)
		w.unchanged(tb, "after some gave up and one was admitted, and without it after Take")
	})
}

// wakes fails unless free, which makes everything free again, has the first in
// line admitted at once.
func (w *twins) wakes(tb TB, free func()) {
	tb.Helper()
	line := w.queue(w.some())
	free()
	line.moveTo(w.clock.Now())
	if first := line.waiters[0]; first.waits() || first.err != nil {
		tb.Fatalf("%v: the first in line: %v", w.size, first)
	}
}

func refundWakesTheFirst(tb TB, s Subject) {
	for _, z := range sizes {
		for seed := range 20 {
			w := s.twins(z, seed)
			defer w.disperse()
			d := w.one.Take(w.limit)
			w.wakes(tb, func() { w.one.(ratelimit.Refunder).Refund(d) })
		}
	}
}

func resetWakesTheFirst(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		w.wakes(tb, func() { w.one.(ratelimit.Resetter).Reset() })
	})
}

func lineHasRoomForTheLimit(tb TB, s Subject) {
	s.each(func(w *twins) {
		w.fill()
		line := w.queue()
		for room := w.limit; room > 0; room-- {
			if n := room + 1; n <= w.limit {
				if err := w.atOnce(tb, context.Background(), n); !errors.Is(err, ratelimit.ErrQueueFull) {
					tb.Fatalf("%v: there is room for %d, and WaitN(%d): %v", w.size, room, n, err)
				}
			}
			line.waiters = append(line.waiters, w.wait(context.Background(), 1))
			if last := line.waiters[len(line.waiters)-1]; !last.waits() {
				tb.Fatalf("%v: there is room for %d, and WaitN(1): %v", w.size, room, last.err)
			}
		}
		if err := w.atOnce(tb, context.Background(), 1); !errors.Is(err, ratelimit.ErrQueueFull) {
			tb.Fatalf("%v: there is no room, and WaitN(1): %v", w.size, err)
		}
		line.serveAll(tb)
	})
}
