package verify

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

var soak = flag.Duration("soak", 2*time.Second, "how long TestSoak, and TestSoakFrozen, keep the limiters busy in all")

// fullLimiter is what all five algorithms implement.
type fullLimiter interface {
	ratelimit.Limiter
	ratelimit.Refunder
	ratelimit.Resetter
}

// algorithm is a limiter of limit events per window, and what it promises.
type algorithm struct {
	name  string
	build func(limit int, window time.Duration, c clock.Clock) fullLimiter

	// atMost is the most that it admits from its start until t.
	atMost func(limit int, window, t time.Duration) int

	// admits is what it admits from its start until t, if there are always
	// events in line.
	admits func(limit int, window, t time.Duration, epoch time.Time) int
}

var algorithms = []algorithm{
	{
		name: "tokenbucket",
		build: func(limit int, window time.Duration, c clock.Clock) fullLimiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c})
		},
		atMost: func(limit int, window, t time.Duration) int { return limit + flow(limit, window, t+1) },
		admits: func(limit int, window, t time.Duration, _ time.Time) int { return limit + flow(limit, window, t) },
	},
	{
		name: "leakybucket",
		build: func(limit int, window time.Duration, c clock.Clock) fullLimiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
		},
		atMost: func(limit int, window, t time.Duration) int { return limit + flow(limit, window, t+1) },
		// Its waiters are paced.
		admits: func(limit int, window, t time.Duration, _ time.Time) int { return 1 + flow(limit, window, t) },
	},
	{
		name: "fixedwindow",
		build: func(limit int, window time.Duration, c clock.Clock) fullLimiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		atMost: func(limit int, window, t time.Duration) int { return limit * (int(t/window) + 2) },
		admits: func(limit int, window, t time.Duration, epoch time.Time) int {
			return limit * int(epoch.Add(t).UnixNano()/int64(window)-epoch.UnixNano()/int64(window)+1)
		},
	},
	{
		name: "slidingwindow",
		build: func(limit int, window time.Duration, c clock.Clock) fullLimiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		atMost: func(limit int, window, t time.Duration) int { return limit * (int(t/window) + 2) },
		admits: func(limit int, window, t time.Duration, epoch time.Time) int {
			return greedy(limitertest.NewSlidingWindow(limit, window, epoch), t)
		},
	},
	{
		name: "slidinglog",
		build: func(limit int, window time.Duration, c clock.Clock) fullLimiter {
			return slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
		},
		atMost: func(limit int, window, t time.Duration) int { return limit * (int(t/window) + 1) },
		admits: func(limit int, window, t time.Duration, _ time.Time) int { return limit * (int(t/window) + 1) },
	},
}

// flow is how many events flow in, or leak out, in t.
func flow(limit int, window, t time.Duration) int {
	return int(t/window)*limit + int(t%window)*limit/int(window)
}

// greedy is how many events a model admits until t to one who takes each as soon
// as possible.
func greedy(m limitertest.Model, t time.Duration) (admitted int) {
	for now := time.Duration(0); now <= t; {
		d := m.Take(now, 1)
		if d.Allowed {
			admitted++
		}
		now += d.RetryAfter
	}
	return admitted
}

// TestSoak keeps all verbs, waits and cancellations going on all processors and
// on a real clock. What was admitted in the end is within the bound, every wait
// has returned, and the limiter is as good as new once it is left alone.
func TestSoak(t *testing.T) {
	configs := []struct {
		name   string
		limit  int
		window time.Duration
	}{
		{"", 500, 5 * time.Millisecond},
		{"/wide", 40_000, 67 * time.Millisecond}, // the sliding window's counts do not fit one word
	}
	for _, a := range algorithms {
		for _, c := range configs {
			t.Run(a.name+c.name, func(t *testing.T) {
				goroutines := runtime.NumGoroutine()
				clk := clock.System()
				l := a.build(c.limit, c.window, clk)

				var total tally
				var done sync.WaitGroup
				until := *soak / time.Duration(len(algorithms)*len(configs))
				for id := range 4 * runtime.GOMAXPROCS(0) {
					done.Go(func() { keepBusy(t, l, c.limit, clk, until, id == 0, &total) })
				}
				done.Wait()

				elapsed := clk.Now()
				most := a.atMost(c.limit, c.window, elapsed) + int(total.resets.Load())*c.limit
				net := int(total.admitted.Load() - total.refunded.Load())
				if net > most {
					t.Errorf("%d were admitted in %v and not refunded, and at most %d may be", net, elapsed, most)
				}
				t.Logf("in %v %d of %d events were admitted, %d of them by WaitN, and %d refunded: %d%% of the bound; %d waits were given up",
					elapsed, total.admitted.Load(), total.asked.Load(), total.waited.Load(), total.refunded.Load(), percent(net, most), total.givenUp.Load())

				// Left alone, it is as good as new: all of the limit can be
				// had at once, and then nothing more.
				if err := l.WaitN(context.Background(), c.limit); err != nil {
					t.Errorf("after the soak: %v", err)
				}
				l.Reset()
				d := l.Peek(0)
				if want := (ratelimit.Decision{Allowed: true, At: d.At, Limit: c.limit, Remaining: c.limit}); d != want {
					t.Errorf("after a reset: %+v, want %+v", d, want)
				}
				for range 1_000_000 {
					if runtime.NumGoroutine() <= goroutines {
						return
					}
					runtime.Gosched()
				}
				t.Errorf("%d goroutines, and %d before", runtime.NumGoroutine(), goroutines)
			})
		}
	}
}

// tally counts events, waits that were given up, and resets.
type tally struct {
	asked, admitted, waited, refunded atomic.Int64
	givenUp, resets                   atomic.Int64
}

// keepBusy calls a limiter until the time is up. Every reset allows another
// limit, so there are only a few, by one who resets.
func keepBusy(t *testing.T, l fullLimiter, limit int, clk clock.Clock, until time.Duration, resets bool, sum *tally) {
	var granted []ratelimit.Decision
	admit := func(n int, ok bool) {
		sum.asked.Add(int64(n))
		if ok {
			sum.admitted.Add(int64(n))
		}
	}
	for clk.Now() < until {
		part := int64(16 * clk.Now() / until)
		if resets && part/5 > sum.resets.Load() {
			sum.resets.Add(1)
			l.Reset()
		}
		// Where somebody waits nobody else is admitted: let there be times
		// when nobody does.
		waits := part%4 == 0
		runtime.Gosched() // they need a processor to go on
		for range 64 {
			n := 1 + rand.IntN(3)
			switch p := rand.IntN(128); {
			case p == 0 && waits:
				err := wait(l, n)
				admit(n, err == nil)
				switch {
				case err == nil:
					sum.waited.Add(int64(n))
				case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, ratelimit.ErrQueueFull):
					sum.givenUp.Add(1)
				default:
					t.Errorf("WaitN: %v", err)
				}
			case p < 16:
				if d := l.Peek(n); d.N != n || d.Limit != limit || d.Remaining < 0 || d.Remaining > limit || d.Allowed != (d.RetryAfter == 0) {
					t.Errorf("Peek(%d): %+v", n, d)
				}
			case p < 32 && len(granted) > 0:
				last := len(granted) - 1
				l.Refund(granted[last])
				sum.refunded.Add(int64(granted[last].N))
				granted = granted[:last]
			case p < 64:
				d := l.Take(n)
				if admit(n, d.Allowed); d.Allowed && len(granted) < 64 {
					granted = append(granted, d)
				}
			default:
				admit(n, l.AllowN(n))
			}
		}
	}
}

// wait waits for n events, in one of the ways there are to give up.
func wait(l ratelimit.Limiter, n int) error {
	ctx := context.Background()
	soon := time.Duration(rand.IntN(int(time.Millisecond)))
	switch rand.IntN(4) {
	case 0:
	case 1:
		timeout, cancel := context.WithTimeout(ctx, soon)
		defer cancel()
		ctx = timeout
	default:
		cancelled, cancel := context.WithCancel(ctx)
		timer := time.AfterFunc(soon, cancel)
		defer timer.Stop()
		defer cancel()
		ctx = cancelled
	}
	return l.WaitN(ctx, n)
}

// TestSoakFrozen keeps all verbs going on all processors in rounds of one
// reading of the clock each. At one reading nothing flows in and nothing ends, so
// what was admitted and not refunded is missing, to the event.
func TestSoakFrozen(t *testing.T) {
	const limit = 1000
	windows := []struct {
		name   string
		window time.Duration
	}{
		{"", time.Second},
		{"/wide", 20 * time.Microsecond}, // as in TestSoak
	}
	for _, a := range algorithms {
		for _, w := range windows {
			t.Run(a.name+w.name, func(t *testing.T) {
				clk := clock.NewFake()
				l := a.build(limit, w.window, clk)
				real, rounds := clock.System(), 0
				for ; real.Now() < *soak/time.Duration(len(algorithms)*len(windows)); rounds++ {
					ctx, cancel := context.WithCancel(t.Context())
					var net atomic.Int64
					var busy, waiting sync.WaitGroup
					for range 4 * runtime.GOMAXPROCS(0) {
						busy.Go(func() { net.Add(takeAndRefund(l)) })
					}
					for range rounds % 3 {
						waiting.Go(func() {
							for n := 1 + rand.IntN(3); l.WaitN(ctx, n) == nil; {
								net.Add(int64(n))
							}
						})
					}
					busy.Wait()
					cancel()
					waiting.Wait()

					d := l.Peek(0)
					if d.Remaining+int(net.Load()) != limit {
						t.Fatalf("round %d: %d of %d were admitted and not refunded, and %d remain", rounds, net.Load(), limit, d.Remaining)
					}
					clk.Advance(d.ResetAfter)
					if d = l.Peek(limit); !d.Allowed {
						t.Fatalf("round %d: not as good as new after ResetAfter: %+v", rounds, d)
					}
				}
				t.Logf("%d rounds", rounds)
			})
		}
	}
}

// takeAndRefund makes some calls of all kinds, and returns how many events were
// admitted and not refunded.
func takeAndRefund(l fullLimiter) (net int64) {
	var granted []ratelimit.Decision
	for range 300 {
		n := 1 + rand.IntN(3)
		switch p := rand.IntN(8); {
		case p == 0:
			l.Peek(n)
		case p == 1:
			if l.AllowN(n) {
				net += int64(n)
			}
		case p < 5 && len(granted) > 0:
			last := len(granted) - 1
			l.Refund(granted[last])
			net -= int64(granted[last].N)
			granted = granted[:last]
		default:
			if d := l.Take(n); d.Allowed {
				net += int64(n)
				granted = append(granted, d)
			}
		}
	}
	return net
}

// TestSaturation keeps a line in front of each limiter for an hour of a
// synctest bubble's time, while some give up and others try to overtake: what is
// admitted is what the algorithm allows, to the event.
func TestSaturation(t *testing.T) {
	const (
		limit  = 7
		window = time.Second
		end    = time.Hour + 70*time.Millisecond // not at the edge of an event
	)
	for _, a := range algorithms {
		t.Run(a.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clk := clock.System()
				l := a.build(limit, window, clk)
				ctx, cancel := context.WithCancel(t.Context())

				var admitted, givenUp, overtaken atomic.Int64
				for range 3 { // always in line
					go func() {
						for l.Wait(ctx) == nil {
							admitted.Add(1)
						}
					}()
				}
				for range 2 { // give up now and then
					go func() {
						for ctx.Err() == nil {
							brief, cancel := context.WithCancel(ctx)
							stop := time.AfterFunc(rand.N(window), cancel)
							if l.Wait(brief) == nil {
								admitted.Add(1)
							} else {
								givenUp.Add(1)
							}
							stop.Stop()
							cancel()
						}
					}()
				}
				go func() { // would rather not wait
					for clk.Sleep(ctx, rand.N(window)) == nil {
						if l.Allow() || l.Take(1).Allowed {
							overtaken.Add(1)
						}
					}
				}()
				if err := clk.Sleep(ctx, end); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got, want := int(admitted.Load()), a.admits(limit, window, clk.Now(), clk.Epoch()); got != want {
					t.Errorf("admitted %d in %v, want %d", got, clk.Now(), want)
				}
				if n := overtaken.Load(); n != 0 {
					t.Errorf("%d overtook those in line", n)
				}
				t.Logf("admitted %d in %v; %d waits were given up", admitted.Load(), clk.Now(), givenUp.Load())
				cancel()
				synctest.Wait()
				if err := l.WaitN(context.Background(), limit); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}
