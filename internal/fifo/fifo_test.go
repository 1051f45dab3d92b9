package fifo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a limiter for the tests: it lets through as many events as it has
// been opened for.
type gate struct {
	queue Queue
	room  int

	mu     sync.Mutex
	open   int
	served []int         // the events of each that was let through
	sleeps int           // how often somebody fell asleep
	wait   time.Duration // what Serve and Delay say

	// Called at the points where a waiter can be overtaken.
	onServe func(events int) // before Serve returns that it is not admitted
	onSleep func()           // before the sleep
}

func (g *gate) request(events int) Request {
	return Request{
		Events: events,
		Room:   g.room,
		Serve: func(events int) (time.Duration, bool) {
			g.mu.Lock()
			ok := events <= g.open
			if ok {
				g.open -= events
				g.served = append(g.served, events)
			}
			g.mu.Unlock()
			if !ok && g.onServe != nil {
				g.onServe(events)
			}
			return g.wait, ok
		},
		Delay: func(_, _ int) time.Duration { return g.wait },
		Sleep: func(ctx context.Context, d time.Duration) error {
			g.mu.Lock()
			g.sleeps++
			g.mu.Unlock()
			if g.onSleep != nil {
				g.onSleep()
			}
			// Only a wake, or the context, ends it.
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

// let opens the gate for more events, and tells the queue.
func (g *gate) let(events int) {
	g.mu.Lock()
	g.open += events
	g.mu.Unlock()
	g.queue.Wake()
}

// join starts a waiter and returns once it is in line, or has come back. The
// result is nil as long as it waits.
func (g *gate) join(ctx context.Context, events int) (result *error) {
	result = new(error)
	*result = errWaiting
	go func() { *result = g.queue.Wait(ctx, g.request(events)) }()
	synctest.Wait()
	return result
}

var errWaiting = errors.New("still waiting")

// empty checks that the queue is as good as new.
func (g *gate) empty(t *testing.T) {
	t.Helper()
	q := &g.queue
	if n, events := q.length.Load(), q.events.Load(); n != 0 || events != 0 || q.first != nil || q.last != nil {
		t.Errorf("the queue has %d waiters for %d events, first %p, last %p; want none", n, events, q.first, q.last)
	}
	if !q.Empty() || q.Ahead() != 0 || q.Last() != 0 {
		t.Errorf("Empty() = %v, Ahead() = %d, Last() = %d; want true, 0, 0", q.Empty(), q.Ahead(), q.Last())
	}
}

func TestServedInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		var want []int
		total := 0
		for i := 1; i <= 20; i++ {
			g.join(t.Context(), i)
			want = append(want, i)
			total += i
			if got := g.queue.Ahead(); got != total {
				t.Errorf("with %d in line, Ahead() = %d, want %d", i, got, total)
			}
			if got := g.queue.Last(); got != i {
				t.Errorf("Last() = %d, want %d", got, i)
			}
		}
		if g.sleeps != 1 {
			t.Errorf("%d of 20 sleep on the clock, want the first alone", g.sleeps)
		}
		// One event at a time: the big ones are not overtaken by the small.
		for range total {
			g.let(1)
			synctest.Wait()
		}
		if !slices.Equal(g.served, want) {
			t.Errorf("served in the order %v, want %v", g.served, want)
		}
		g.empty(t)
	})
}

func TestAdmittedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: 3}
		if err := g.queue.Wait(t.Context(), g.request(3)); err != nil {
			t.Errorf("Wait = %v", err)
		}
		if g.sleeps != 0 {
			t.Error("it slept")
		}
		g.empty(t)
	})
}

// TestCancelledWaiterLeavesNoGap cancels some of five in line, in all orders
// that matter, and lets the others through.
func TestCancelledWaiterLeavesNoGap(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cancel []int // in this order
		want   []int
	}{
		{"none", nil, []int{1, 2, 3, 4, 5}},
		{"first", []int{1}, []int{2, 3, 4, 5}},
		{"middle", []int{3}, []int{1, 2, 4, 5}},
		{"last", []int{5}, []int{1, 2, 3, 4}},
		{"first two", []int{1, 2}, []int{3, 4, 5}},
		{"second, then first", []int{2, 1}, []int{3, 4, 5}},
		{"last two", []int{5, 4}, []int{1, 2, 3}},
		{"neighbours", []int{2, 3, 4}, []int{1, 5}},
		{"ends", []int{1, 5}, []int{2, 3, 4}},
		{"all, first in first out", []int{1, 2, 3, 4, 5}, nil},
		{"all, last in first out", []int{5, 4, 3, 2, 1}, nil},
		{"all, mixed", []int{3, 1, 5, 2, 4}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(gate)
				var cancels []context.CancelFunc
				var results []*error
				left := 0
				for i := 1; i <= 5; i++ {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					cancels = append(cancels, cancel)
					results = append(results, g.join(ctx, i))
					left += i
				}
				for _, i := range tt.cancel {
					cancels[i-1]()
					synctest.Wait()
					if err := *results[i-1]; !errors.Is(err, context.Canceled) {
						t.Errorf("the cancelled waiter %d got %v, want %v", i, err, context.Canceled)
					}
					left -= i
					if got := g.queue.Ahead(); got != left {
						t.Errorf("after %d was cancelled Ahead() = %d, want %d", i, got, left)
					}
				}
				for range 15 {
					g.let(1)
					synctest.Wait()
				}
				if !slices.Equal(g.served, tt.want) {
					t.Errorf("served in the order %v, want %v", g.served, tt.want)
				}
				if want := 15 - left; g.open != want {
					t.Errorf("%d events are left at the gate, want %d: one that gives up takes nothing", g.open, want)
				}
				for _, i := range tt.want {
					if err := *results[i-1]; err != nil {
						t.Errorf("waiter %d got %v", i, err)
					}
				}
				g.empty(t)
			})
		})
	}
}

// TestWakeIsNotLost changes the state at every point at which the first in line
// may have looked already, and not be asleep yet. Nothing else ends the sleep.
func TestWakeIsNotLost(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, g *gate)
	}{
		{"before it joins", func(t *testing.T, g *gate) {
			g.let(1)
			g.join(t.Context(), 1)
		}},
		{"after it has looked", func(t *testing.T, g *gate) {
			g.onServe = func(int) { g.onServe = nil; g.let(1) }
			g.join(t.Context(), 1)
		}},
		{"before it falls asleep", func(t *testing.T, g *gate) {
			g.onSleep = func() { g.onSleep = nil; g.let(1) }
			g.join(t.Context(), 1)
		}},
		{"while it sleeps", func(t *testing.T, g *gate) {
			g.join(t.Context(), 1)
			g.let(1)
		}},
		{"twice while it sleeps", func(t *testing.T, g *gate) {
			g.join(t.Context(), 1)
			g.queue.Wake()
			g.let(1)
		}},
		{"after it was woken for nothing", func(t *testing.T, g *gate) {
			g.join(t.Context(), 1)
			g.queue.Wake()
			synctest.Wait()
			g.let(1)
		}},
		{"after it has looked again", func(t *testing.T, g *gate) {
			g.join(t.Context(), 1)
			g.onServe = func(int) { g.onServe = nil; g.let(1) }
			g.queue.Wake()
		}},
		{"before it falls asleep again", func(t *testing.T, g *gate) {
			g.join(t.Context(), 1)
			g.onSleep = func() { g.onSleep = nil; g.let(1) }
			g.queue.Wake()
		}},
		{"before it is first", func(t *testing.T, g *gate) {
			ctx, cancel := context.WithCancel(t.Context())
			g.join(ctx, 2)
			g.join(t.Context(), 1)
			g.let(1)
			synctest.Wait()
			cancel()
		}},
		{"as the one before it leaves", func(t *testing.T, g *gate) {
			ctx, cancel := context.WithCancel(t.Context())
			g.join(ctx, 2)
			g.join(t.Context(), 1)
			cancel()
			g.let(1)
		}},
		{"as the one before it is served", func(t *testing.T, g *gate) {
			g.join(t.Context(), 2)
			g.join(t.Context(), 1)
			g.let(2)
			g.let(1)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := new(gate)
				tt.run(t, g)
				synctest.Wait()
				if n := len(g.served); n == 0 || g.served[n-1] != 1 {
					t.Errorf("served %v; the waiter for 1 event sleeps on", g.served)
				}
				g.empty(t)
			})
		})
	}
}

// TestWakeIsForTheFirst checks that the others are not disturbed.
func TestWakeIsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		var asked []int
		g.onServe = func(events int) { asked = append(asked, events) }
		for i := 1; i <= 3; i++ {
			g.join(t.Context(), i)
		}
		for range 3 {
			g.queue.Wake()
			synctest.Wait()
		}
		if want := []int{1, 1, 1, 1}; !slices.Equal(asked, want) {
			t.Errorf("those who asked: %v, want %v", asked, want)
		}
		g.let(6)
		synctest.Wait()
	})
}

// TestDeadline compares the time that is left with the wait, for the first in
// line and for one who has others ahead. The deadline at the very end of the
// wait comes too early: at that time the context has expired.
func TestDeadline(t *testing.T) {
	const wait = time.Minute
	for _, tt := range []struct {
		name   string
		left   time.Duration
		refuse bool
	}{
		{"long before", time.Nanosecond, true},
		{"a nanosecond before", wait - 1, true},
		{"exactly", wait, true},
		{"a nanosecond after", wait + 1, false},
		{"long after", time.Hour, false},
	} {
		for _, ahead := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s/ahead=%d", tt.name, ahead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := &gate{wait: wait}
					if ahead > 0 {
						g.join(t.Context(), ahead)
					}
					sleeps := g.sleeps
					ctx, cancel := context.WithTimeout(t.Context(), tt.left)
					defer cancel()
					start := time.Now()
					result := g.join(ctx, 1)
					if tt.refuse {
						err := *result
						if !errors.Is(err, ErrWouldExceedDeadline) || !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("Wait = %v, want %v", err, ErrWouldExceedDeadline)
						}
						if g.sleeps != sleeps {
							t.Error("it slept")
						}
						if passed := time.Since(start); passed != 0 {
							t.Errorf("found out after %v, want at once", passed)
						}
						if got := g.queue.Ahead(); got != ahead {
							t.Errorf("afterwards Ahead() = %d, want %d", got, ahead)
						}
					} else if *result != errWaiting {
						t.Errorf("Wait = %v, want it to wait", *result)
					}
					g.let(ahead + 1)
					synctest.Wait()
					if err := *result; !tt.refuse && err != nil {
						t.Errorf("Wait = %v", err)
					}
					g.empty(t)
				})
			})
		}
	}
}

// TestDeadlinePasses has the wait turn out longer than was said.
func TestDeadlinePasses(t *testing.T) {
	for _, ahead := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			g := new(gate)
			if ahead > 0 {
				g.join(t.Context(), ahead)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			result := g.join(ctx, 1)
			time.Sleep(time.Second)
			synctest.Wait()
			if err := *result; err != context.DeadlineExceeded {
				t.Errorf("with %d ahead, Wait = %v, want %v", ahead, err, context.DeadlineExceeded)
			}
			g.let(ahead)
			synctest.Wait()
			g.empty(t)
		})
	}
}

// TestDelayOfThoseWhoHaveLeft has the line ahead served between joining it and
// estimating the wait behind it. The estimate then counts them twice, and must
// not be what the waiter is refused for.
func TestDelayOfThoseWhoHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		g.join(t.Context(), 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := g.request(1)
		r.Delay = func(ahead, _ int) time.Duration {
			g.let(11)
			synctest.Wait()
			return time.Duration(ahead) * time.Hour
		}
		// The waiter has to stand still in Delay while another goroutine runs,
		// so it is this one.
		if err := g.queue.Wait(ctx, r); err != nil {
			t.Errorf("Wait = %v; it was first in line by then, and its turn", err)
		}
		g.empty(t)
	})
}

// TestExpiredContextTakesNothing has the gate open wide.
func TestExpiredContextTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for ctx, want := range map[context.Context]error{cancelled: context.Canceled, expired: context.DeadlineExceeded} {
			g := &gate{open: 10}
			if err := g.queue.Wait(ctx, g.request(1)); !errors.Is(err, want) {
				t.Errorf("Wait = %v, want %v", err, want)
			}
			if g.open != 10 {
				t.Errorf("it took %d events", 10-g.open)
			}
			g.empty(t)
		}
	})
}

// TestCancelledOnesTurn cancels a waiter whose turn it is at the same time.
func TestCancelledOnesTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		ctx, cancel := context.WithCancel(t.Context())
		g.join(t.Context(), 1)
		second := g.join(ctx, 2)
		third := g.join(t.Context(), 3)
		g.let(6)
		cancel()
		synctest.Wait()
		// Whether the second was served before is the scheduler's choice; that
		// an error means nothing was taken is not.
		switch err := *second; {
		case err == nil && slices.Equal(g.served, []int{1, 2, 3}) && g.open == 0:
		case errors.Is(err, context.Canceled) && slices.Equal(g.served, []int{1, 3}) && g.open == 2:
		default:
			t.Errorf("served %v, %d left, and the cancelled one got %v", g.served, g.open, err)
		}
		if *third != nil {
			t.Errorf("the third got %v", *third)
		}
		g.empty(t)
	})
}

func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		name    string
		room    int
		waiting []int
		events  int
		full    bool
		message string
	}{
		{"an empty line takes anybody", 3, nil, 3, false, ""},
		{"even more than there is room for", 3, nil, 4, false, ""},
		{"the last place", 3, []int{1, 1}, 1, false, ""},
		{"all the places left", 3, []int{1}, 2, false, ""},
		{"one too many", 3, []int{1}, 3, true, "1 events wait, n is 3, there is room for 3"},
		{"full", 3, []int{1, 2}, 1, true, "3 events wait, n is 1, there is room for 3"},
		{"full from the first", 1, []int{1}, 1, true, "1 events wait, n is 1, there is room for 1"},
		{"more than full", 3, []int{5}, 1, true, "5 events wait, n is 1, there is room for 3"},
		{"no end of room", 0, []int{math.MaxInt, math.MaxInt}, math.MaxInt, false, ""},
		{"the largest room", math.MaxInt, []int{math.MaxInt - 1}, 1, false, ""},
		{"over the largest room", math.MaxInt, []int{math.MaxInt}, 1, true, "there is room for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				g := &gate{room: tt.room}
				for _, n := range tt.waiting {
					g.join(ctx, n)
				}
				result := g.join(ctx, tt.events)
				if err := *result; tt.full {
					if !errors.Is(err, ErrQueueFull) || !strings.Contains(err.Error(), tt.message) {
						t.Errorf("Wait = %v, want %v: …%s", err, ErrQueueFull, tt.message)
					}
				} else if err != errWaiting {
					t.Errorf("Wait = %v, want it to wait", err)
				}
				cancel()
				synctest.Wait()
				g.empty(t)
			})
		})
	}
}

func TestRoomIsFreedByLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{room: 2}
		ctx, cancel := context.WithCancel(t.Context())
		g.join(t.Context(), 1)
		g.join(ctx, 1)
		if err := *g.join(t.Context(), 1); !errors.Is(err, ErrQueueFull) {
			t.Errorf("Wait = %v, want %v", err, ErrQueueFull)
		}
		cancel()
		synctest.Wait()
		if err := *g.join(t.Context(), 1); err != errWaiting {
			t.Errorf("after one has left Wait = %v, want it to wait", err)
		}
		g.let(1)
		synctest.Wait()
		if err := *g.join(t.Context(), 1); err != errWaiting {
			t.Errorf("after one was served Wait = %v, want it to wait", err)
		}
		g.let(2)
		synctest.Wait()
		g.empty(t)
	})
}

// TestEventsSaturate waits for more events than an int holds.
func TestEventsSaturate(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}} {
		synctest.Test(t, func(t *testing.T) {
			g := new(gate)
			var cancels []context.CancelFunc
			for i, n := range []int{math.MaxInt, 5, math.MaxInt, math.MaxInt, 7} {
				ctx, cancel := context.WithCancel(t.Context())
				cancels = append(cancels, cancel)
				if result := g.join(ctx, n); *result != errWaiting {
					t.Errorf("waiter %d got %v", i, *result)
				}
				if got := g.queue.Ahead(); got != math.MaxInt {
					t.Errorf("Ahead() = %d, want %d", got, math.MaxInt)
				}
			}
			for k, i := range order {
				cancels[i]()
				synctest.Wait()
				if got := g.queue.Ahead(); k < 4 && got < 1 {
					t.Errorf("with %d in line, Ahead() = %d, want at least 1", 4-k, got)
				}
			}
			g.empty(t)
		})
	}
}

// TestSleepFails returns an error from the clock that is not the context's.
func TestSleepFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		broken := errors.New("the clock is broken")
		r := g.request(1)
		tick := make(chan error)
		r.Sleep = func(context.Context, time.Duration) error { return <-tick }
		first := errWaiting
		go func() { first = g.queue.Wait(t.Context(), r) }()
		synctest.Wait()
		second := g.join(t.Context(), 2)

		tick <- nil // not long enough, so it sleeps again
		synctest.Wait()
		if first != errWaiting {
			t.Fatalf("Wait = %v, want it to sleep again", first)
		}
		tick <- broken
		synctest.Wait()
		if first != broken {
			t.Errorf("Wait = %v, want %v", first, broken)
		}
		g.let(2)
		synctest.Wait()
		if *second != nil {
			t.Errorf("the second in line got %v", *second)
		}
		g.empty(t)
	})
}

// TestServePanics checks that a limiter's panic does not leave others behind a
// waiter that is gone.
func TestServePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(gate)
		r := g.request(1)
		r.Serve = func(int) (time.Duration, bool) { panic("broken limiter") }
		func() {
			defer func() { recover() }()
			g.queue.Wait(t.Context(), r)
		}()
		g.empty(t)
	})
}

// TestConservation has many come and go at random: each event that the gate
// was opened for is taken by one who was told so, and all leave.
func TestConservation(t *testing.T) {
	const workers, rounds = 16, 200
	g := new(gate)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken, asked := 0, 0
	for i := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for range rounds {
				ctx, cancel := context.WithCancel(context.Background())
				n := 1 + rng.IntN(3)
				go func() {
					if n == 3 {
						cancel()
					}
				}()
				mu.Lock()
				asked += n
				mu.Unlock()
				if err := g.queue.Wait(ctx, g.request(n)); err == nil {
					mu.Lock()
					taken += n
					mu.Unlock()
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	opened := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			mu.Lock()
			more := opened < asked
			mu.Unlock()
			if more {
				g.let(1)
				opened++
			}
		}
	}
	sum := 0
	for _, n := range g.served {
		sum += n
	}
	if sum != taken || taken+g.open != opened {
		t.Errorf("opened for %d events: %d served, %d taken, %d left", opened, sum, taken, g.open)
	}
	g.empty(t)
}

// passed is a context whose deadline has passed.
type passed struct{ context.Context }

func (passed) Deadline() (time.Time, bool) { return time.Now().Add(-time.Hour), true }

func TestNoLessThanNoTimeIsLeft(t *testing.T) {
	if err := inTime(passed{context.Background()}, time.Second); !errors.Is(err, ErrWouldExceedDeadline) || !strings.HasSuffix(err.Error(), "1s to wait, 0s left") {
		t.Errorf("an hour after the deadline: %v", err)
	}
}
