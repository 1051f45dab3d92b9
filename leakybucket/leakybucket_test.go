package leakybucket

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
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/span"
)

var (
	_ ratelimit.Limiter  = (*Limiter)(nil)
	_ ratelimit.Refunder = (*Limiter)(nil)
	_ ratelimit.Resetter = (*Limiter)(nil)
)

const (
	ms                    = time.Millisecond
	day                   = 24 * time.Hour
	year                  = 365 * day
	never                 = ratelimit.Never
	maxNow  time.Duration = span.MaxNow
	maxTime time.Duration = math.MaxInt64
	minTime time.Duration = math.MinInt64
)

// hand is a clock whose hand the test moves, and on which nobody can sleep.
type hand struct {
	*clock.Fake
	now time.Duration
}

func newHand() *hand { return &hand{Fake: clock.NewFake()} }

func (h *hand) Now() time.Duration { return h.now }

var errSlept = errors.New("slept")

func (h *hand) Sleep(context.Context, time.Duration) error { return errSlept }

// row is a step of a script: n events at t, and the decision. With wait, the n
// events go by WaitN before that, and must not have to wait.
type row struct {
	t         time.Duration
	wait      bool
	n         int
	allowed   bool
	remaining int
	retry     time.Duration
	reset     time.Duration
}

// TestTake uses the bucket as a meter.
func TestTake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Config
		script []row
	}{
		{"ten per second", Config{Limit: 10, Window: time.Second}, []row{
			{t: 0, n: 4, allowed: true, remaining: 6, reset: 400 * ms},
			{t: 0, n: 6, allowed: true, remaining: 0, reset: 1000 * ms},
			{t: 0, n: 1, remaining: 0, retry: 100 * ms, reset: 1000 * ms},
			{t: 100*ms - 1, n: 1, remaining: 0, retry: 1, reset: 900*ms + 1},
			{t: 100 * ms, n: 1, allowed: true, remaining: 0, reset: 1000 * ms},
			{t: 1100 * ms, n: 10, allowed: true, remaining: 0, reset: 1000 * ms},
			{t: time.Hour, n: 1, allowed: true, remaining: 9, reset: 100 * ms},
		}},
		{"room for more than the limit", Config{Limit: 1, Window: time.Second, Capacity: 3}, []row{
			{t: 0, n: 3, allowed: true, remaining: 0, reset: 3 * time.Second},
			{t: 0, n: 3, remaining: 0, retry: 3 * time.Second, reset: 3 * time.Second},
			{t: 1500 * ms, n: 2, remaining: 1, retry: 500 * ms, reset: 1500 * ms},
			{t: 1500 * ms, n: 1, allowed: true, remaining: 0, reset: 2500 * ms},
		}},
		{"waits that need not wait", Config{Limit: 10, Window: time.Second}, []row{
			{t: 0, wait: true, n: 1, allowed: true, remaining: 8, reset: 200 * ms},
			{t: 200 * ms, wait: true, n: 5, allowed: true, remaining: 0, reset: 1000 * ms},
			{t: 1200 * ms, wait: true, n: 1, allowed: true, remaining: 8, reset: 200 * ms},
		}},
		{"none, negative and too many", Config{Limit: 2, Window: time.Second}, []row{
			{t: 0, n: 0, allowed: true, remaining: 2},
			{t: 0, n: -1, remaining: 2, retry: never},
			{t: 0, n: math.MinInt, remaining: 2, retry: never},
			{t: 0, n: 3, remaining: 2, retry: never},
			{t: 0, n: math.MaxInt, remaining: 2, retry: never},
			{t: 0, n: 2, allowed: true, remaining: 0, reset: 1000 * ms},
			{t: 0, n: 3, remaining: 0, retry: never, reset: 1000 * ms},
		}},
		{"a late reading", Config{Limit: 10, Window: time.Second}, []row{
			{t: 10 * time.Second, n: 10, allowed: true, remaining: 0, reset: time.Second},
			{t: 5 * time.Second, n: 1, remaining: 0, retry: 5100 * ms, reset: 6 * time.Second},
			{t: 10*time.Second + 100*ms, n: 1, allowed: true, remaining: 0, reset: time.Second},
		}},
		{"one a nanosecond", Config{Limit: 1, Window: 1}, []row{
			{t: 0, n: 1, allowed: true, remaining: 0, reset: 1},
			{t: 0, n: 1, remaining: 0, retry: 1, reset: 1},
			{t: 1, n: 1, allowed: true, remaining: 0, reset: 1},
		}},
		{"one a year", Config{Limit: 1, Window: 366 * day}, []row{
			{t: day, n: 1, allowed: true, remaining: 0, reset: 366 * day},
			{t: 367*day - 1, n: 1, remaining: 0, retry: 1, reset: 1},
			{t: 367 * day, n: 1, allowed: true, remaining: 0, reset: 366 * day},
		}},
		{"the end of the clock's range", Config{Limit: 2, Window: time.Second}, []row{
			{t: maxNow - time.Second, n: 2, allowed: true, remaining: 0, reset: time.Second},
			{t: maxNow, n: 2, allowed: true, remaining: 0, reset: never},
			{t: maxTime, n: 1, remaining: 0, retry: never, reset: never},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand()
			tt.c.Clock = h
			l := MustNew(tt.c)
			limit := tt.c.Capacity
			if limit == 0 {
				limit = tt.c.Limit
			}
			for i, r := range tt.script {
				h.now = r.t
				if r.wait {
					if err := l.WaitN(t.Context(), r.n); err != nil {
						t.Errorf("step %d: WaitN(%d) at %v = %v", i, r.n, r.t, err)
					}
				}
				want := ratelimit.Decision{Allowed: r.allowed, N: r.n, At: r.t, Limit: limit, Remaining: r.remaining, RetryAfter: r.retry, ResetAfter: r.reset}
				before := l.tat.Load()
				if diff := cmp.Diff(want, l.Peek(r.n)); diff != "" {
					t.Errorf("step %d: Peek(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
				}
				if after := l.tat.Load(); after != before {
					t.Errorf("step %d: Peek(%d) at %v changes the state from %d to %d", i, r.n, r.t, before, after)
				}
				if diff := cmp.Diff(want, l.Take(r.n)); diff != "" {
					t.Errorf("step %d: Take(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
				}
				if after := l.tat.Load(); after != before && (!r.allowed || r.n == 0) {
					t.Errorf("step %d: Take(%d) at %v admits nothing, but changes the state from %d to %d", i, r.n, r.t, before, after)
				}
			}
		})
	}
}

// departures starts waiters of so many events each, in order, and moves the
// clock from event to event. It returns when each left.
func departures(t *testing.T, fake *clock.Fake, l *Limiter, events ...int) []time.Duration {
	t.Helper()
	var left []time.Duration
	for _, n := range events {
		go func() {
			if err := l.WaitN(t.Context(), n); err != nil {
				t.Errorf("WaitN(%d) = %v", n, err)
			}
			left = append(left, fake.Now())
		}()
		synctest.Wait()
	}
	for len(left) < len(events) {
		before := len(left)
		wait := l.rule.meter.Until(fake.Now(), l.tat.Load())
		fake.Advance(wait - 1)
		if synctest.Wait(); len(left) > before {
			t.Errorf("waiter %d left at %v, a nanosecond too early", before, fake.Now())
		}
		fake.Advance(1)
		if synctest.Wait(); len(left) != before+1 {
			t.Fatalf("at %v %d have left, want %d", fake.Now(), len(left), before+1)
		}
	}
	return left
}

// TestWaitPaces writes down when those in line leave: at exact distances.
func TestWaitPaces(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Config
		full   int // events in the bucket at first
		events []int
		want   []time.Duration
	}{
		{"one by one", Config{Limit: 10, Window: time.Second}, 0,
			[]int{1, 1, 1, 1}, []time.Duration{0, 100 * ms, 200 * ms, 300 * ms}},
		{"behind a full bucket", Config{Limit: 10, Window: time.Second}, 10,
			[]int{1, 1, 1}, []time.Duration{1000 * ms, 1100 * ms, 1200 * ms}},
		{"several at once", Config{Limit: 10, Window: time.Second}, 1,
			[]int{3, 1, 2, 1}, []time.Duration{100 * ms, 400 * ms, 500 * ms, 700 * ms}},
		{"slow", Config{Limit: 1, Window: day, Capacity: 5}, 1,
			[]int{1, 1, 1}, []time.Duration{day, 2 * day, 3 * day}},
		{"rounded up to the nanosecond", Config{Limit: 3, Window: time.Second}, 1,
			[]int{1, 1, 1}, []time.Duration{333_333_334, 666_666_668, 1_000_000_002}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := clock.NewFake()
				tt.c.Clock = fake
				l := MustNew(tt.c)
				l.AllowN(tt.full)
				if diff := cmp.Diff(tt.want, departures(t, fake, l, tt.events...)); diff != "" {
					t.Errorf("departures: (-want +got)\n%s", diff)
				}
			})
		})
	}
}

// TestQueueBound counts single events that went through Wait in every interval:
// at most 1 + Limit·t/Window.
func TestQueueBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		l := MustNew(Config{Limit: 7, Window: time.Second, Capacity: 50, Clock: fake})
		rng := rand.New(rand.NewPCG(2, 3))
		var mu sync.Mutex
		var left []time.Duration
		for len(left) < 300 {
			for range rng.IntN(4) {
				go func() {
					err := l.Wait(t.Context())
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						left = append(left, fake.Now())
					} else if !errors.Is(err, ratelimit.ErrQueueFull) {
						t.Error(err)
					}
				}()
			}
			synctest.Wait()
			fake.Advance(time.Duration(rng.Int64N(int64(300 * ms))))
			synctest.Wait()
		}
		fake.Advance(time.Hour)
		for synctest.Wait(); !l.queue.Empty(); synctest.Wait() {
			fake.Advance(time.Second)
		}
		for i := range left {
			for j := i + 1; j < len(left); j++ {
				passed := left[j] - left[i]
				// To within a nanosecond.
				if events, bound := j-i+1, 1+7*int64(passed+1)/int64(time.Second); int64(events) > bound {
					t.Fatalf("%d left within %v from %v, want at most %d", events, passed, left[i], bound)
				}
			}
		}
	})
}

// TestCapacityInLine fills the line. The one that need not wait is not in it.
func TestCapacityInLine(t *testing.T) {
	for _, tt := range []struct {
		name     string
		capacity int
		full     int // events in the bucket at first
		events   []int
		want     []bool // admitted or waiting, rather than refused
	}{
		{"one in the bucket, three in line", 3, 0, []int{1, 1, 1, 1, 1}, []bool{true, true, true, true, false}},
		{"a full bucket, three in line", 3, 3, []int{1, 1, 1, 1}, []bool{true, true, true, false}},
		{"the first takes all the room there is", 3, 0, []int{3, 3, 1}, []bool{true, true, false}},
		{"a large one finds no room, a small one does", 3, 1, []int{2, 2, 1, 1}, []bool{true, false, true, false}},
		{"room for one", 1, 0, []int{1, 1, 1}, []bool{true, true, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				l := MustNew(Config{Limit: 1, Window: time.Hour, Capacity: tt.capacity, Clock: clock.NewFake()})
				l.AllowN(tt.full)
				got := make([]bool, len(tt.events))
				for i, n := range tt.events {
					got[i] = true
					go func() {
						err := l.WaitN(ctx, n)
						if errors.Is(err, ratelimit.ErrQueueFull) {
							got[i] = false
						} else if err != nil && !errors.Is(err, context.Canceled) {
							t.Errorf("WaitN(%d) = %v", n, err)
						}
					}()
					synctest.Wait()
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("%d in the bucket, then %v: found room %v, want %v", tt.full, tt.events, got, tt.want)
				}
				cancel()
				synctest.Wait()
				if !l.queue.Empty() {
					t.Error("the line is not empty")
				}
			})
		})
	}
}

// TestMeterBehindTheLine asks a meter what it would say to those who find others
// waiting.
func TestMeterBehindTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		l := MustNew(Config{Limit: 10, Window: time.Second, Capacity: 5, Clock: fake})
		l.AllowN(5)
		go l.WaitN(t.Context(), 2) // leaves after 500ms, and leaks out by 700ms
		synctest.Wait()
		go l.WaitN(t.Context(), 1) // leaves after 700ms, and leaks out by 800ms
		synctest.Wait()
		for _, tt := range []struct {
			n     int
			retry time.Duration
		}{
			{1, 700 * ms}, // there is room sooner, but not before the last in line has left
			{4, 700 * ms}, // 8 and 4 more are 12, of which 7 have leaked out by then
			{5, 800 * ms}, // the bucket must be empty
			{6, never},
		} {
			want := ratelimit.Decision{N: tt.n, Limit: 5, RetryAfter: tt.retry, ResetAfter: 800 * ms}
			if diff := cmp.Diff(want, l.Take(tt.n)); diff != "" {
				t.Errorf("Take(%d): (-want +got)\n%s", tt.n, diff)
			}
		}
		if d := l.Take(0); !d.Allowed {
			t.Errorf("Take(0) = %+v", d)
		}
		fake.Advance(500 * ms)
		synctest.Wait()
		fake.Advance(200*ms - 1)
		if synctest.Wait(); l.Allow() {
			t.Error("Allow overtakes the last in line")
		}
		fake.Advance(1)
		if synctest.Wait(); !l.AllowN(4) {
			t.Error("AllowN(4) is refused when it was said that it would be admitted")
		}
		if l.Allow() {
			t.Error("the bucket holds more than its capacity")
		}
	})
}

// TestExactCadence waits whenever an event is due. No wait has to wait.
func TestExactCadence(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		window time.Duration
		steps  int
	}{
		{1, time.Second, 100_000},
		{10, time.Second, 100_000},
		{8, time.Second, 100_000},
		{12, time.Minute, 100_000},
		{1_000_000, time.Second, 100_000},
		{100, 3 * time.Hour, 100_000},
		{1, day, 15 * 365},
		{1_000_000_000, time.Second, 100_000},
	} {
		h := newHand()
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Clock: h})
		waits, early := 0, 0
		for i := range tt.steps {
			if err := l.Wait(t.Context()); err != nil {
				waits++
			}
			if i%16 == 0 && l.Wait(t.Context()) == nil {
				early++
			}
			h.now += tt.window / time.Duration(tt.limit)
		}
		if waits > 0 || early > 0 {
			t.Errorf("%d per %v: of %d, %d had to wait, and %d more did not", tt.limit, tt.window, tt.steps, waits, early)
		}
	}
}

// TestStaleReadingsMintNothing uses the bucket up with readings that go back and
// forth.
func TestStaleReadingsMintNothing(t *testing.T) {
	const limit, delta = 10, 500 * ms
	h := newHand()
	l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
	metered, paced := 0, 0
	for i := range 10_000 {
		h.now = time.Hour + time.Duration(i%2)*delta
		if l.Allow() {
			metered++
		}
	}
	// One at the first reading, which has leaked out by the second.
	if want := 1 + limit; metered != want {
		t.Errorf("Allow admitted %d, want %d", metered, want)
	}
	l.Reset()
	for i := range 10_000 {
		h.now = time.Hour + time.Duration(i%2)*delta
		if l.Wait(t.Context()) == nil {
			paced++
		}
	}
	if want := 2; paced != want {
		t.Errorf("Wait admitted %d at two readings, want %d", paced, want)
	}
}

// TestClockStepsAnHour has the clock go an hour back and forth.
func TestClockStepsAnHour(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	for _, step := range []struct {
		now  time.Duration
		want int
	}{
		{2 * time.Hour, 10},
		{time.Hour, 0},
		{2*time.Hour + 500*ms, 5},
		{time.Hour + 500*ms, 0},
		{2*time.Hour + 1500*ms, 10},
	} {
		h.now = step.now
		got := 0
		for range 100 {
			if l.Allow() {
				got++
			}
		}
		if got != step.want {
			t.Errorf("at %v %d were admitted, want %d", step.now, got, step.want)
		}
	}
}

// wallless is a clock that nobody may ask for the wall time.
type wallless struct {
	*clock.Fake
	t *testing.T
}

func (w *wallless) Epoch() time.Time {
	w.t.Error("the bucket asks for the wall time")
	return time.Time{}
}

func TestWallClockIsNotRead(t *testing.T) {
	l := MustNew(Config{Limit: 1, Window: time.Second, Clock: &wallless{clock.NewFake(), t}})
	l.Allow()
	l.Peek(1)
	l.Refund(l.Take(1))
	l.Reset()
}

// TestClockStartsAnywhere finds exactly the capacity at any first reading.
func TestClockStartsAnywhere(t *testing.T) {
	for _, start := range []time.Duration{0, -1, -5 * year, minTime, 15 * year, maxNow - time.Second, maxTime - time.Second, maxTime} {
		h := newHand()
		h.now = start
		l := MustNew(Config{Limit: 5, Window: time.Second, Clock: h})
		admitted := 0
		for range 20 {
			if l.Allow() {
				admitted++
			}
		}
		if admitted != 5 {
			t.Errorf("from %v %d were admitted at once, want 5", start, admitted)
		}
	}
}

func TestSystemClockInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := MustNew(Config{Limit: 5, Window: time.Second})
		start := time.Now()
		for i := range 51 {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(start), time.Duration(i)*200*ms; got != want {
				t.Errorf("wait %d is over after %v, want %v", i, got, want)
			}
		}
	})
}

// TestIdleEmptiesTheBucketOnce leaves it alone for longer and longer.
func TestIdleEmptiesTheBucketOnce(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 3, Window: time.Second, Capacity: 7, Clock: h})
	for _, idle := range []time.Duration{0, time.Minute, 15 * year, 18 * year} {
		h.now = idle
		if !l.AllowN(7) || l.Allow() {
			t.Errorf("after %v there is not room for exactly 7", idle)
		}
	}
	h.now = maxTime
	if got := l.Peek(0).Remaining; got > 7 {
		t.Errorf("at the end of time there is room for %d", got)
	}
}

func TestHugeN(t *testing.T) {
	l := MustNew(Config{Limit: 10, Window: time.Second, Capacity: 20, Clock: newHand()})
	l.AllowN(5)
	before := l.tat.Load()
	for _, n := range []int{math.MinInt, math.MinInt32, -1, 21, math.MaxInt32, math.MaxInt - 1, math.MaxInt} {
		if l.AllowN(n) {
			t.Errorf("AllowN(%d) = true", n)
		}
		for name, d := range map[string]ratelimit.Decision{"Take": l.Take(n), "Peek": l.Peek(n)} {
			want := ratelimit.Decision{N: n, Limit: 20, Remaining: 15, RetryAfter: never, ResetAfter: 500 * ms}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Errorf("%s(%d): (-want +got)\n%s", name, n, diff)
			}
			d.Allowed = true // it never was
			l.Refund(d)
		}
		err := l.WaitN(context.Background(), n)
		if !errors.Is(err, ratelimit.ErrExceedsLimit) || !strings.Contains(err.Error(), fmt.Sprintf("n is %d, Capacity 20", n)) {
			t.Errorf("WaitN(%d) = %v", n, err)
		}
		if got := l.tat.Load(); got != before {
			t.Fatalf("n = %d changes the state from %d to %d", n, before, got)
		}
	}
}

func TestRefund(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later time.Duration // after the decision
		want  int           // room for 10, when 4 went in and then 3 were refunded
	}{
		{"at once", 0, 9},
		{"one has leaked out since", 100 * ms, 9},
		{"all have leaked out since", time.Second, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand()
			h.now = time.Hour
			l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
			l.Allow()
			d := l.Take(3)
			h.now += tt.later
			l.Refund(d)
			if got := l.Peek(0).Remaining; got != tt.want {
				t.Errorf("after the refund there is room for %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRefundIsCapped(t *testing.T) {
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: newHand()})
	d := l.Take(10)
	for range 100 { // more often than once, which is not allowed
		l.Refund(d)
	}
	l.Refund(ratelimit.Decision{Allowed: true, N: 10, At: maxTime}) // made up
	if !l.AllowN(10) || l.Allow() {
		t.Error("after refunds of more than went in there is not room for exactly 10")
	}
	before := l.tat.Load()
	l.Refund(l.Take(1))
	l.Refund(l.Take(0))
	if got := l.tat.Load(); got != before {
		t.Errorf("refunds of nothing change the state from %d to %d", before, got)
	}
}

// TestCancelledWaitsLeaveNoDebt cancels waiters in different orders.
func TestCancelledWaitsLeaveNoDebt(t *testing.T) {
	const waiters = 100
	for name, next := range map[string]func(i int) int{
		"first in first out": func(i int) int { return i },
		"last in first out":  func(i int) int { return waiters - 1 - i },
		"mixed":              func(i int) int { return i * 37 % waiters },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := clock.NewFake()
				l := MustNew(Config{Limit: 10, Window: time.Second, Capacity: waiters, Clock: fake})
				l.Allow()
				before := l.tat.Load()
				var cancels []context.CancelFunc
				for i := range waiters {
					ctx, cancel := context.WithCancel(t.Context())
					cancels = append(cancels, cancel)
					go func() {
						if err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
							t.Errorf("waiter %d got %v", i, err)
						}
					}()
					synctest.Wait()
				}
				for i := range waiters {
					cancels[next(i)]()
					synctest.Wait()
				}
				if got := l.tat.Load(); got != before {
					t.Errorf("the state goes from %d to %d", before, got)
				}
				if got := departures(t, fake, l, 1, 1); !slices.Equal(got, []time.Duration{100 * ms, 200 * ms}) {
					t.Errorf("those who come afterwards leave at %v", got)
				}
			})
		})
	}
}

// TestRefundWakesTheWaiter empties the bucket under one who waits for that.
func TestRefundWakesTheWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := MustNew(Config{Limit: 10, Window: time.Second, Clock: clock.NewFake()})
		d := l.Take(10)
		err := errors.New("waiting")
		go func() { err = l.WaitN(t.Context(), 10) }()
		synctest.Wait()
		l.Refund(d)
		if synctest.Wait(); err != nil {
			t.Errorf("WaitN = %v", err)
		}
		if got := l.Peek(0).Remaining; got != 0 {
			t.Errorf("there is room for %d after the waiter was served, want 0", got)
		}
	})
}

func TestExpiredContextTakesNothing(t *testing.T) {
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: newHand()})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range []int{0, 1, 10, 11, -1} {
		if err := l.WaitN(ctx, n); err != context.Canceled {
			t.Errorf("WaitN(%d) of a cancelled context = %v", n, err)
		}
	}
	if got := l.tat.Load(); got != 0 {
		t.Errorf("the state is %d, want 0", got)
	}
}

// TestCoarseReadingsOnlyGrant has a coarse clock that only those refresh who
// would refuse.
func TestCoarseReadingsOnlyGrant(t *testing.T) {
	for name, verb := range map[string]func(l *Limiter) bool{
		"Allow": (*Limiter).Allow,
		"Take":  func(l *Limiter) bool { return l.Take(1).Allowed },
		"Peek":  func(l *Limiter) bool { return l.Peek(1).Allowed },
		"Wait": func(l *Limiter) bool {
			ctx, cancel := context.WithTimeout(context.Background(), 1)
			defer cancel()
			return l.Wait(ctx) == nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				coarse := clock.NewCoarse(day)
				defer coarse.Close()
				l := MustNew(Config{Limit: 10, Window: time.Second, Capacity: 1, Clock: coarse})
				if !verb(l) {
					t.Errorf("%s refuses what there is room for", name)
				}
				l.Allow() // Peek put nothing in
				time.Sleep(100*ms - 1)
				if verb(l) {
					t.Errorf("%s admits too early", name)
				}
				time.Sleep(time.Nanosecond)
				if coarse.Now() >= 100*ms {
					t.Fatal("the coarse clock is not late")
				}
				if !verb(l) {
					t.Errorf("%s refuses for a late reading", name)
				}
			})
		})
	}
}

// TestNew checks every error: it names the field, the value and the range.
func TestNew(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string // "" if it is good
	}{
		{Config{Limit: 1, Window: 1}, ""},
		{Config{Limit: 1, Window: 3660 * day}, ""},
		{Config{Limit: 1e9, Window: time.Second, Capacity: math.MaxInt32}, ""},
		{Config{}, "leakybucket: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Window: time.Second}, "leakybucket: Limit 0 is out of range [1, 1000000000]"},
		{Config{Limit: -1, Window: time.Second}, "leakybucket: Limit -1 is out of range [1, 1000000000]"},
		{Config{Limit: math.MinInt, Window: time.Second}, fmt.Sprintf("leakybucket: Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{Config{Limit: math.MaxInt, Window: time.Second}, fmt.Sprintf("leakybucket: Limit %d is out of range [1, 1000000000]", math.MaxInt)},
		{Config{Limit: 2, Window: 1}, "leakybucket: Limit 2 is out of range [1, 1]"},
		{Config{Limit: 1, Window: -1}, "leakybucket: Window -1ns is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: minTime}, "leakybucket: Window -2562047h47m16.854775808s is out of range"},
		{Config{Limit: 1, Window: maxTime}, "leakybucket: Window 2562047h47m16.854775807s is out of range"},
		{Config{Limit: 1, Window: day, Capacity: -1}, "leakybucket: Capacity -1 is out of range [1, "},
		{Config{Limit: 1, Window: day, Capacity: math.MinInt}, fmt.Sprintf("leakybucket: Capacity %d is out of range [1, ", math.MinInt)},
		{Config{Limit: 1, Window: day, Capacity: math.MaxInt}, fmt.Sprintf("leakybucket: Capacity %d is out of range [1, ", math.MaxInt)},
	} {
		l, err := New(tt.c)
		if tt.want == "" {
			if err != nil {
				t.Errorf("New(%+v) = %v", tt.c, err)
			}
			continue
		}
		if l != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v) = %v, %v; want %s", tt.c, l, err, tt.want)
		}
		func() {
			defer func() {
				if got, ok := recover().(error); !ok || got.Error() != err.Error() {
					t.Errorf("MustNew(%+v) panics with %v, want %v", tt.c, got, err)
				}
			}()
			MustNew(tt.c)
		}()
	}
}

func TestCapacityDefaultsToLimit(t *testing.T) {
	l := MustNew(Config{Limit: 7, Window: time.Second})
	if got := l.Peek(1).Limit; got != 7 {
		t.Errorf("the limit is %d, want 7", got)
	}
	if l.Clock() == nil {
		t.Error("there is no clock")
	}
}

func TestLimiterSize(t *testing.T) {
	if got := unsafe.Sizeof(Limiter{}); got > 128 {
		t.Errorf("a limiter is %d bytes, want at most 128", got)
	}
}

func TestAllocs(t *testing.T) {
	ctx := context.Background()
	for _, clk := range []clock.Clock{clock.NewFake(), clock.System()} {
		granting := MustNew(Config{Limit: 1e9, Window: time.Second, Clock: clk})
		refusing := MustNew(Config{Limit: 1, Window: 366 * day, Clock: clk})
		refusing.Allow()
		d := granting.Take(1)
		for name, verb := range map[string]func(){
			"Allow granted":  func() { granting.Allow() },
			"Allow refused":  func() { refusing.Allow() },
			"AllowN granted": func() { granting.AllowN(2) },
			"AllowN refused": func() { refusing.AllowN(2) },
			"Take granted":   func() { granting.Take(1) },
			"Take refused":   func() { refusing.Take(1) },
			"Take never":     func() { refusing.Take(-1) },
			"Peek granted":   func() { granting.Peek(1) },
			"Peek refused":   func() { refusing.Peek(1) },
			"Wait granted":   func() { granting.Reset(); granting.Wait(ctx) },
			"WaitN of 0":     func() { refusing.WaitN(ctx, 0) },
			"Refund":         func() { granting.Refund(d) },
			"Reset":          func() { granting.Reset() },
		} {
			if got := testing.AllocsPerRun(100, verb); got != 0 {
				t.Errorf("%s on a %T: %v allocations, want 0", name, clk, got)
			}
		}
	}
}
