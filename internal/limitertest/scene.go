package limitertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// size is a limit and a window.
type size struct {
	limit  int
	window time.Duration
}

func (z size) String() string { return fmt.Sprintf("%d per %v", z.limit, z.window) }

// sizes are what the rules are tried with.
var sizes = []size{
	{1, time.Second},
	{2, 3 * time.Millisecond},
	{3, time.Second},
	{4, 10 * time.Nanosecond},
	{6, time.Minute},
	{5, 7 * 24 * time.Hour},
}

// starts are when a limiter may be used first.
func (z size) starts() []time.Duration {
	return []time.Duration{0, 1, z.window - 1, z.window, 7*z.window/2 + 1, 15 * year}
}

// twins are two fresh limiters of one kind on one clock. What is done to the
// first alone must leave no trace: the second tells.
type twins struct {
	size
	clock    *clock.Fake
	one, two ratelimit.Limiter
	random   *rand.Rand
	waiting  []*waiter // and those who have waited

	subject Subject
}

// twins returns fresh twins, and some reading of the clock to begin at. The
// same seed gives the same.
func (s Subject) twins(z size, seed int) *twins {
	w := &twins{size: z, clock: clock.NewFake(), random: rand.New(rand.NewPCG(uint64(seed), 0)), subject: s}
	w.clock.Set(z.starts()[seed%len(z.starts())])
	w.one, w.two = s.New(w.clock, z.limit, z.window), s.New(w.clock, z.limit, z.window)
	return w
}

// each runs a check on some twins of each size, in some state.
func (s Subject) each(check func(w *twins)) {
	for _, z := range sizes {
		for seed := range 24 {
			w := s.twins(z, seed)
			w.stir()
			func() {
				defer w.disperse()
				check(w)
			}()
		}
	}
}

// some is a random number of events that is possible.
func (w *twins) some() int { return 1 + w.random.IntN(w.limit) }

// stir brings both twins into some state that is the same for both.
func (w *twins) stir() {
	for range w.random.IntN(8) {
		n := w.some()
		w.one.Take(n)
		w.two.Take(n)
		w.move()
	}
}

// fill has both twins admit all that they do.
func (w *twins) fill() {
	for range w.limit {
		w.one.Allow()
		w.two.Allow()
	}
}

// move moves the clock forward, often by a little, and often to an instant at
// which something is admitted.
func (w *twins) move() {
	switch w.random.IntN(4) {
	case 0:
		w.clock.Advance(time.Duration(w.random.Int64N(int64(w.window)/int64(w.limit) + 1)))
	case 1:
		w.clock.Advance(time.Duration(w.random.Int64N(2 * int64(w.window))))
	case 2:
		w.clock.Advance(w.two.Peek(w.some()).RetryAfter)
	}
}

// unchanged fails unless the first of the twins answers as the second does, at
// all times.
func (w *twins) unchanged(tb TB, format string, args ...any) {
	tb.Helper()
	now := w.clock.Now()
	each := w.window / time.Duration(w.limit)
	w.same(tb, w.two, []time.Duration{
		now, now + 1, now + each, now + w.window/2, now + w.window - 1, now + w.window, now + 2*w.window,
		now - 1, now - each, now - w.window, 0,
	}, format, args...)
}

// fresh fails unless the first of the twins answers as a new limiter does, from
// now on.
func (w *twins) fresh(tb TB, format string, args ...any) {
	tb.Helper()
	now := w.clock.Now()
	each := w.window / time.Duration(w.limit)
	w.same(tb, w.subject.New(w.clock, w.limit, w.window), []time.Duration{
		now, now + 1, now + each, now + w.window - 1, now + w.window, now + 2*w.window,
	}, format, args...)
}

func (w *twins) same(tb TB, other ratelimit.Limiter, readings []time.Duration, format string, args ...any) {
	tb.Helper()
	defer w.clock.Set(w.clock.Now())
	for _, now := range readings {
		w.clock.Set(now)
		for n := -1; n <= w.limit+1; n++ {
			if got, want := w.one.Peek(n), other.Peek(n); got != want {
				tb.Fatalf("%v: %s:\n\tPeek(%d) = %+v\n\tand without that %+v", w.size, fmt.Sprintf(format, args...), n, got, want)
			}
		}
	}
}

// line is those who wait for the first of the twins. The second is given what
// they are admitted for when they should be, so it tells when that is.
type line struct {
	*twins
	waiters []*waiter // that have not been admitted, nor given up
}

type waiter struct {
	n      int
	cancel context.CancelFunc
	done   chan struct{} // closed when WaitN has returned
	err    error         // what it has returned
	at     time.Duration // and when
}

func (w *waiter) waits() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

func (w *waiter) String() string {
	if w.waits() {
		return fmt.Sprintf("%d waiting", w.n)
	}
	return fmt.Sprintf("%d at %v, error %v", w.n, w.at, w.err)
}

// wait has somebody wait for n events with ctx. When it returns that one is in
// line, or has returned.
func (w *twins) wait(ctx context.Context, n int) *waiter {
	ctx, cancel := context.WithCancel(ctx)
	waiter := &waiter{n: n, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(waiter.done)
		waiter.err = w.one.WaitN(ctx, n)
		waiter.at = w.clock.Now()
	}()
	synctest.Wait()
	w.waiting = append(w.waiting, waiter)
	return waiter
}

// disperse ends every wait.
func (w *twins) disperse() {
	for _, waiter := range w.waiting {
		waiter.cancel()
	}
	synctest.Wait()
	w.waiting = nil
}

// atOnce is the result of WaitN, which must not block.
func (w *twins) atOnce(tb TB, ctx context.Context, n int) error {
	tb.Helper()
	waiter := w.wait(ctx, n)
	blocks := waiter.waits()
	waiter.cancel()
	synctest.Wait()
	if blocks {
		tb.Fatalf("%v: WaitN(%d) blocks", w.size, n)
	}
	return waiter.err
}

// queue has some wait in line, in this order.
func (w *twins) queue(events ...int) *line {
	l := &line{twins: w}
	for _, n := range events {
		l.waiters = append(l.waiters, w.wait(context.Background(), n))
	}
	return l
}

// queueSome fills the limiter and has some wait in line, but no more than there
// is room for.
func (w *twins) queueSome(waiters int) *line {
	w.fill()
	var events []int
	room := w.limit
	for range waiters {
		n := w.some()
		if w.subject.Paces {
			n = min(n, room)
		}
		if n > 0 {
			events = append(events, n)
			room -= n
		}
	}
	return w.queue(events...)
}

// delay is how long n events will wait if they are first in line.
func (w *twins) delay(n int) time.Duration {
	if w.subject.Paces {
		return w.two.Peek(0).ResetAfter
	}
	return w.two.Peek(n).RetryAfter
}

// serve moves the clock up to the reading until, and fails unless those in line
// are admitted on the way, each exactly when it should be.
func (l *line) serve(tb TB, until time.Duration) {
	tb.Helper()
	for len(l.waiters) > 0 {
		first := l.waiters[0]
		due := l.clock.Now() + l.delay(first.n)
		if due > until {
			break
		}
		if l.clock.Now() < due {
			l.moveTo(due - 1)
			for _, w := range l.waiters {
				if !w.waits() {
					tb.Fatalf("%v: at %v, the first in line being due at %v: %v", l.size, l.clock.Now(), due, l.waiters)
				}
			}
			l.moveTo(due)
		}
		if first.waits() || first.err != nil || first.at != due {
			tb.Fatalf("%v: at %v, the first in line being due: %v", l.size, due, l.waiters)
		}
		l.two.Take(first.n)
		l.waiters = l.waiters[1:]
	}
	l.moveTo(until)
	for _, w := range l.waiters {
		if !w.waits() {
			tb.Fatalf("%v: at %v, before the first in line is due: %v", l.size, until, l.waiters)
		}
	}
}

// serveAll is serve for as long as it takes.
func (l *line) serveAll(tb TB) {
	tb.Helper()
	for len(l.waiters) > 0 {
		l.serve(tb, l.clock.Now()+max(1, l.delay(l.waiters[0].n)))
	}
}

// moveTo sets the clock and lets everybody do what they do then.
func (l *line) moveTo(now time.Duration) {
	l.clock.Set(now)
	synctest.Wait()
}

// giveUp has one in line give up.
func (l *line) giveUp(tb TB, i int) {
	tb.Helper()
	w := l.waiters[i]
	w.cancel()
	synctest.Wait()
	l.waiters = append(l.waiters[:i:i], l.waiters[i+1:]...)
	if w.waits() || w.err != context.Canceled {
		tb.Fatalf("%v: a wait that is cancelled: %v", l.size, w)
	}
}
