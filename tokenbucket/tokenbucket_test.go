package tokenbucket

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
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

// hand is a clock whose hand the test moves. It is faster than a fake one, and
// nobody can sleep on it.
type hand struct {
	*clock.Fake
	now time.Duration
}

func newHand() *hand { return &hand{Fake: clock.NewFake()} }

func (h *hand) Now() time.Duration { return h.now }

var errSlept = errors.New("slept")

func (h *hand) Sleep(context.Context, time.Duration) error { return errSlept }

// row is a step of a script: n events at t, and the decision.
type row struct {
	t         time.Duration
	n         int
	allowed   bool
	remaining int
	retry     time.Duration
	reset     time.Duration
}

// play takes what a script says, and peeks before.
func play(t *testing.T, c Config, script []row) {
	t.Helper()
	h := newHand()
	c.Clock = h
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	limit := c.Burst
	if limit == 0 {
		limit = c.Limit
	}
	for i, r := range script {
		h.now = r.t
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
		if after := l.tat.Load(); after < before {
			t.Errorf("step %d: Take(%d) at %v moves the state back from %d to %d", i, r.n, r.t, before, after)
		}
	}
}

func TestTake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Config
		script []row
	}{
		{"ten per second", Config{Limit: 10, Window: time.Second}, []row{
			{0, 3, true, 7, 0, 300 * ms},
			{0, 7, true, 0, 0, 1000 * ms},
			{0, 1, false, 0, 100 * ms, 1000 * ms},
			{0, 10, false, 0, 1000 * ms, 1000 * ms},
			{100*ms - 1, 1, false, 0, 1, 900*ms + 1},
			{100 * ms, 1, true, 0, 0, 1000 * ms},
			{250 * ms, 2, false, 1, 50 * ms, 850 * ms},
			{250 * ms, 1, true, 0, 0, 950 * ms},
			{time.Hour, 1, true, 9, 0, 100 * ms},
			{time.Hour + 50*ms, 10, false, 9, 50 * ms, 50 * ms},
			{time.Hour + 100*ms, 10, true, 0, 0, 1000 * ms},
		}},
		{"a burst above the limit", Config{Limit: 1, Window: time.Minute, Burst: 5}, []row{
			{0, 5, true, 0, 0, 5 * time.Minute},
			{0, 1, false, 0, time.Minute, 5 * time.Minute},
			{0, 5, false, 0, 5 * time.Minute, 5 * time.Minute},
			{2 * time.Minute, 3, false, 2, time.Minute, 3 * time.Minute},
			{2 * time.Minute, 2, true, 0, 0, 5 * time.Minute},
			{100 * time.Hour, 5, true, 0, 0, 5 * time.Minute},
		}},
		{"a burst below the limit", Config{Limit: 100, Window: time.Second, Burst: 2}, []row{
			{0, 2, true, 0, 0, 20 * ms},
			{0, 1, false, 0, 10 * ms, 20 * ms},
			{10 * ms, 1, true, 0, 0, 20 * ms},
			{time.Second, 3, false, 2, never, 0},
			{time.Second, 2, true, 0, 0, 20 * ms},
		}},
		{"rounded up to the nanosecond", Config{Limit: 3, Window: time.Second, Burst: 1}, []row{
			{0, 1, true, 0, 0, 333_333_334},
			{0, 1, false, 0, 333_333_334, 333_333_334},
			{333_333_333, 1, false, 0, 1, 1},
			{333_333_334, 1, true, 0, 0, 333_333_334},
		}},
		{"none, negative and too many", Config{Limit: 2, Window: time.Second}, []row{
			{0, 0, true, 2, 0, 0},
			{0, -1, false, 2, never, 0},
			{0, math.MinInt, false, 2, never, 0},
			{0, 3, false, 2, never, 0},
			{0, math.MaxInt, false, 2, never, 0},
			{0, 2, true, 0, 0, 1000 * ms},
			{0, 0, true, 0, 0, 1000 * ms},
			{0, -1, false, 0, never, 1000 * ms},
			{0, 3, false, 0, never, 1000 * ms},
		}},
		{"a late reading", Config{Limit: 10, Window: time.Second}, []row{
			{10 * time.Second, 10, true, 0, 0, time.Second},
			{5 * time.Second, 1, false, 0, 5100 * ms, 6 * time.Second},
			{10*time.Second + 200*ms, 1, true, 1, 0, 900 * ms},
			{10 * time.Second, 1, false, 0, 200 * ms, 1100 * ms},
		}},
		{"a reading before the clock began", Config{Limit: 10, Window: time.Second}, []row{
			{-time.Second, 10, true, 0, 0, 2 * time.Second},
			{minTime, 1, false, 0, never, never},
			{-1, 1, false, 0, 100*ms + 1, time.Second + 1},
			{100 * ms, 1, true, 0, 0, time.Second},
		}},
		{"one a nanosecond", Config{Limit: 1, Window: 1}, []row{
			{0, 1, true, 0, 0, 1},
			{0, 1, false, 0, 1, 1},
			{1, 1, true, 0, 0, 1},
			{year, 1, true, 0, 0, 1},
			{year, 1, false, 0, 1, 1},
		}},
		{"one a year", Config{Limit: 1, Window: 366 * day}, []row{
			{day, 1, true, 0, 0, 366 * day},
			{367*day - 1, 1, false, 0, 1, 1},
			{367 * day, 1, true, 0, 0, 366 * day},
			{10_000 * day, 2, false, 1, never, 0},
		}},
		{"the end of the clock's range", Config{Limit: 2, Window: time.Second}, []row{
			{maxNow - time.Second, 2, true, 0, 0, time.Second},
			{maxNow, 1, true, 1, 0, never},
			{maxNow, 1, true, 0, 0, never},
			{maxNow, 1, false, 0, never, never},
			{maxTime, 1, false, 0, never, never},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, tt.c, tt.script) })
	}
}

// TestTrillionPerDay has 86.4 ns between events.
func TestTrillionPerDay(t *testing.T) {
	limit := int64(1e12)
	if int64(int(limit)) != limit {
		t.Skip("an int has 32 bits")
	}
	play(t, Config{Limit: int(limit), Window: day, Burst: 1}, []row{
		{0, 1, true, 0, 0, 87},
		{86, 1, false, 0, 1, 1},
		{87, 1, true, 0, 0, 87},
	})
	play(t, Config{Limit: int(limit), Window: day}, []row{
		{0, int(limit), true, 0, 0, day},
		{0, int(limit), false, 0, day, day},
		{0, int(limit) + 1, false, 0, never, day},
		{864, 10, true, 0, 0, day},
		{864, 1, false, 0, 87, day},
		{100 * day, int(limit) - 1, true, 1, 0, day - 86},
	})
}

// TestThreePerSecondAdmitsThree fails where a third of a second is rounded to
// nanoseconds once and for all.
func TestThreePerSecondAdmitsThree(t *testing.T) {
	for _, perSecond := range []int{3, 7, 97, 999_983, 6e8, 7e8, 999_999_937} {
		h := newHand()
		l := MustNew(Config{Limit: perSecond, Window: time.Second, Clock: h})
		if !l.AllowN(perSecond) {
			t.Fatalf("%d per second: the fresh bucket is not full", perSecond)
		}
		for s := range 10 {
			h.now = time.Duration(s+1) * time.Second
			if !l.AllowN(perSecond) {
				t.Errorf("%d per second: only %d were admitted in the second after %ds", perSecond, l.Peek(1).Remaining, s)
			}
			if l.Allow() {
				t.Errorf("%d per second: one more was admitted in the second after %ds", perSecond, s)
			}
		}
	}
}

// TestStaleReadingsMintNothing uses the bucket up with readings that go back and
// forth. What flows in is what flows in between the outermost of them.
func TestStaleReadingsMintNothing(t *testing.T) {
	const limit, delta = 10, 500 * ms
	const bound = limit + limit/2
	t.Run("alternating", func(t *testing.T) {
		h := newHand()
		l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
		admitted := 0
		for i := range 10_000 {
			h.now = time.Hour + time.Duration(i%2)*delta
			if l.Allow() {
				admitted++
			}
		}
		// One at the first reading, and at the second the bucket is full again.
		if want := 1 + limit; admitted != want {
			t.Errorf("admitted %d, want %d", admitted, want)
		}
	})
	t.Run("at random", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for range 200 {
			h := newHand()
			l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
			admitted := 0
			for range 200 {
				h.now = time.Hour + time.Duration(rng.Int64N(int64(delta+1)))
				if n := rng.IntN(4); l.AllowN(n) {
					admitted += n
				}
			}
			if admitted > bound {
				t.Fatalf("admitted %d, want at most %d", admitted, bound)
			}
		}
	})
}

// TestClockStepsAnHour has the clock go an hour back and forth in the middle of
// a run. It gains nothing, and has lost nothing afterwards.
func TestClockStepsAnHour(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	take := func() (admitted int) {
		for range 1000 {
			if l.Allow() {
				admitted++
			}
		}
		return admitted
	}
	for _, step := range []struct {
		now  time.Duration
		want int
	}{
		{2 * time.Hour, 10},
		{time.Hour, 0},
		{2 * time.Hour, 0},
		{2*time.Hour + 500*ms, 5},
		{time.Hour + 500*ms, 0},
		{2*time.Hour + 1500*ms, 10},
		{3*time.Hour + 1500*ms, 10},
		{2*time.Hour + 1500*ms, 0},
	} {
		h.now = step.now
		if got := take(); got != step.want {
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

// TestClockStartsAnywhere finds exactly the burst at any first reading, and one
// more event after its time.
func TestClockStartsAnywhere(t *testing.T) {
	for _, start := range []time.Duration{0, 1, -1, -5 * year, minTime, year, 15 * year, maxNow - time.Second, maxTime - time.Second, maxTime} {
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
		if start < 0 || start >= maxNow {
			continue // there time stands still
		}
		h.now = start + 200*ms - 1
		if l.Allow() {
			t.Errorf("from %v one more was admitted after %v", start, h.now-start)
		}
		h.now++
		if !l.Allow() {
			t.Errorf("from %v none was admitted after %v", start, h.now-start)
		}
	}
}

// TestSystemClockInBubble is where a start shared by the whole program would
// read decades before 0.
func TestSystemClockInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := MustNew(Config{Limit: 5, Window: time.Second})
		for i := range 20 {
			if got, want := l.Allow(), i < 5; got != want {
				t.Errorf("call %d: Allow() = %v", i, got)
			}
		}
		start := time.Now()
		for range 50 {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := time.Since(start), 10*time.Second; got != want {
			t.Errorf("50 waits at 5 per second took %v, want %v", got, want)
		}
	})
}

// TestIdleFillsOneBurst leaves the bucket alone for longer and longer.
func TestIdleFillsOneBurst(t *testing.T) {
	for _, c := range []Config{
		{Limit: 10, Window: time.Second},
		{Limit: 1, Window: 1},
		{Limit: 1e9, Window: time.Second, Burst: 3},
		{Limit: 3, Window: 3660 * day},
		{Limit: math.MaxInt32, Window: time.Minute},
	} {
		h := newHand()
		c.Clock = h
		l := MustNew(c)
		burst := l.Peek(0).Limit
		for _, idle := range []time.Duration{0, time.Second, day, 15 * year, 18 * year, 200 * year, maxTime} {
			h.now = idle
			remaining := l.Peek(0).Remaining
			if remaining > burst {
				t.Errorf("%d per %v: after %v there are %d", c.Limit, c.Window, idle, remaining)
			}
			if !l.AllowN(remaining) || l.Allow() {
				t.Errorf("%d per %v: after %v there are not exactly the %d that were promised", c.Limit, c.Window, idle, remaining)
			}
		}
	}
}

// TestHugeN calls every verb with what cannot be admitted.
func TestHugeN(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 10, Window: time.Second, Burst: 20, Clock: h})
	l.AllowN(5)
	before := l.tat.Load()
	for _, n := range []int{math.MinInt, math.MinInt + 1, math.MinInt32, -2, -1, 21, 1 << 30, math.MaxInt32, math.MaxInt - 1, math.MaxInt} {
		if l.AllowN(n) {
			t.Errorf("AllowN(%d) = true", n)
		}
		for name, d := range map[string]ratelimit.Decision{"Take": l.Take(n), "Peek": l.Peek(n)} {
			want := ratelimit.Decision{N: n, Limit: 20, Remaining: 15, RetryAfter: never, ResetAfter: 500 * ms}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Errorf("%s(%d): (-want +got)\n%s", name, n, diff)
			}
			l.Refund(d)
			d.Allowed = true // it never was
			if n < 1 || n > 20 {
				l.Refund(d)
			}
		}
		err := l.WaitN(context.Background(), n)
		if !errors.Is(err, ratelimit.ErrExceedsLimit) || !strings.Contains(err.Error(), fmt.Sprintf("n is %d, Burst 20", n)) {
			t.Errorf("WaitN(%d) = %v", n, err)
		}
		if got := l.tat.Load(); got != before {
			t.Fatalf("n = %d changes the state from %d to %d", n, before, got)
		}
	}
}

// TestRefund gives back what was taken, and no more.
func TestRefund(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later time.Duration // after the decision
		want  int           // remaining of 10, when 4 were taken and then 3 refunded
	}{
		{"at once", 0, 9},
		{"one has flowed in since", 100 * ms, 9},
		{"all have flowed in since", time.Second, 10},
		{"the clock has gone back", -time.Second, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand()
			h.now = time.Hour
			l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
			l.Allow()
			d := l.Take(3)
			h.now += tt.later
			l.Refund(d)
			if h.now < time.Hour {
				h.now = time.Hour // the reading that counts
			}
			if got := l.Peek(0).Remaining; got != tt.want {
				t.Errorf("after the refund %d remain, want %d", got, tt.want)
			}
		})
	}
}

func TestRefundIsCapped(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	d := l.Take(10)
	for range 100 { // more often than once, which is not allowed
		l.Refund(d)
	}
	for _, d := range []ratelimit.Decision{
		{Allowed: true, N: 10, At: maxTime},
		{Allowed: true, N: 10, At: minTime},
		{Allowed: true, N: 10, At: time.Hour, ResetAfter: never},
	} {
		l.Refund(d) // made up
	}
	if got := l.Peek(0); got.Remaining != 10 || !l.AllowN(10) || l.Allow() {
		t.Errorf("after refunds of more than was taken: %+v", got)
	}
	before := l.tat.Load()
	l.Refund(l.Take(1))  // refused
	l.Refund(l.Take(0))  // nothing
	l.Refund(l.Peek(11)) // never
	if got := l.tat.Load(); got != before {
		t.Errorf("refunds of nothing change the state from %d to %d", before, got)
	}
}

// TestCancelledWaitsLeaveNoDebt cancels waiters in different orders.
func TestCancelledWaitsLeaveNoDebt(t *testing.T) {
	const waiters = 100
	order := map[string]func(i int) int{
		"first in first out": func(i int) int { return i },
		"last in first out":  func(i int) int { return waiters - 1 - i },
		"mixed":              func(i int) int { return i * 37 % waiters },
	}
	for name, next := range order {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := clock.NewFake()
				l := MustNew(Config{Limit: 10, Window: time.Second, Clock: fake})
				l.AllowN(10)
				before := l.tat.Load()
				var cancels []context.CancelFunc
				for i := range waiters {
					ctx, cancel := context.WithCancel(t.Context())
					cancels = append(cancels, cancel)
					go func() {
						if err := l.WaitN(ctx, 1+i%10); !errors.Is(err, context.Canceled) {
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
				fake.Advance(100 * ms)
				if !l.Allow() || l.Allow() {
					t.Error("afterwards the rate is not what it was")
				}
			})
		})
	}
}

// TestWaitUnderFakeClock needs no real time.
func TestWaitUnderFakeClock(t *testing.T) {
	fake := clock.NewFake()
	l := MustNew(Config{Limit: 1, Window: time.Hour, Clock: fake})
	l.Allow()
	done := make(chan error)
	go func() { done <- l.Wait(t.Context()) }()
	if err := fake.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	fake.Advance(time.Hour - 1)
	if l.Allow() {
		t.Error("Allow overtakes")
	}
	fake.Advance(1)
	if err := <-done; err != nil {
		t.Errorf("Wait = %v", err)
	}
	if l.Allow() {
		t.Error("the waiter took nothing")
	}
}

// TestRefundWakesTheWaiter has Wait keep its promise however its sleep ended:
// nil if it took something, an error if not.
func TestRefundWakesTheWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		l := MustNew(Config{Limit: 10, Window: time.Second, Clock: fake})
		d := l.Take(10)
		err := errors.New("waiting")
		go func() { err = l.WaitN(t.Context(), 10) }()
		synctest.Wait()
		l.Refund(d)
		if synctest.Wait(); err != nil {
			t.Errorf("WaitN = %v", err)
		}
		if got := l.Peek(0).Remaining; got != 0 {
			t.Errorf("%d remain after the waiter was served, want 0", got)
		}
	})
}

// TestExpiredContextTakesNothing has the bucket full.
func TestExpiredContextTakesNothing(t *testing.T) {
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: clock.NewFake()})
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

// TestCoarseReadingsOnlyGrant has a coarse clock that is not refreshed within
// the test, but by those who would refuse.
func TestCoarseReadingsOnlyGrant(t *testing.T) {
	verbs := map[string]func(l *Limiter) bool{
		"Allow": (*Limiter).Allow,
		"Take":  func(l *Limiter) bool { return l.Take(1).Allowed },
		"Peek":  func(l *Limiter) bool { return l.Peek(1).Allowed },
		"Wait": func(l *Limiter) bool {
			ctx, cancel := context.WithTimeout(context.Background(), 1)
			defer cancel()
			return l.Wait(ctx) == nil
		},
	}
	for name, verb := range verbs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				coarse := clock.NewCoarse(day)
				defer coarse.Close()
				l := MustNew(Config{Limit: 10, Window: time.Second, Clock: coarse})
				l.AllowN(9)
				if !verb(l) {
					t.Errorf("%s refuses what is there", name)
				}
				l.Allow() // Peek took nothing
				if verb(l) {
					t.Errorf("%s admits what is not there", name)
				}
				time.Sleep(100*ms - 1)
				if verb(l) {
					t.Errorf("%s admits what is not there yet", name)
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

// TestLongRun takes events at the very instants at which they flow in, for
// simulated years and ten million steps in all. Not one is refused, and none is
// there besides.
func TestLongRun(t *testing.T) {
	var total int
	for _, tt := range []struct {
		limit  int
		window time.Duration
		n      int // events a step
		steps  int
		lasts  time.Duration // for the reader
	}{
		{1, time.Second, 1, 500_000, 138 * time.Hour},
		{7, time.Second, 1, 1_000_000, 39 * time.Hour},
		{97, time.Minute, 1, 1_000_000, 171 * time.Hour},
		{999_983, time.Hour, 1, 1_000_000, time.Hour},
		{10, time.Minute, 1, 500_000, 833 * time.Hour},
		{86_399, day, 1, 1_000_000, 277 * time.Hour},
		{1, day, 1, 5475, 15 * year},
		{365, 365 * day, 1, 5475, 15 * year},
		{1_000_000, time.Second, 1, 1_000_000, time.Second},
		{999_983, time.Second, 1, 1_000_000, time.Second},
		{600_000_000, time.Second, 1, 1_000_000, ms},
		{700_000_000, time.Second, 1, 1_000_000, ms},
		{1_000_000_000, time.Second, 1, 500_000, ms / 2},
		// In bigger steps, for fifteen years.
		{7, time.Second, 3, 100_000, 11 * time.Hour},
		{1_000_003, time.Second, 5_000_011, 94_000, 5 * day},
		{999_983, time.Hour, 999_979, 131_400, 15 * year},
		{1_999_999_973, 366 * day, 130_003, 230_000, 15 * year},
	} {
		total += tt.steps
		h := newHand()
		burst := max(tt.limit, 2*tt.n)
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Burst: burst, Clock: h})
		l.AllowN(burst)
		// The k-th step is due after k·n·window/limit, rounded up: a quotient
		// and a remainder that grow by those of n·window/limit.
		quotient, remainder := divide(tt.n, tt.window, tt.limit)
		var whole time.Duration
		var rest int64
		refused := 0
		for range tt.steps {
			whole += quotient
			if rest += remainder; rest >= int64(tt.limit) {
				rest -= int64(tt.limit)
				whole++
			}
			h.now = whole
			if rest > 0 {
				h.now++
			}
			if !l.AllowN(tt.n) {
				refused++
			}
		}
		name := fmt.Sprintf("%d per %v, %d at a time for %v", tt.limit, tt.window, tt.n, h.now)
		if h.now < tt.lasts*9/10 {
			t.Errorf("%s: that is not the %v that it is to last", name, tt.lasts)
		}
		if refused > 0 {
			t.Errorf("%s: admitted %d of %d", name, tt.steps-refused, tt.steps)
		}
		if left := l.Peek(0).Remaining; left != 0 {
			t.Errorf("%s: %d are there besides", name, left)
		}
	}
	if total < 10_000_000 {
		t.Errorf("%d steps, want ten million", total)
	}
}

// divide returns n·window/limit, and the remainder.
func divide(n int, window time.Duration, limit int) (time.Duration, int64) {
	q, r := window/time.Duration(limit), int64(window)%int64(limit)
	r *= int64(n)
	return q*time.Duration(n) + time.Duration(r/int64(limit)), r % int64(limit)
}

// TestLongRunRates asks at every nanosecond, or every so often, and counts what
// is admitted one by one against what should be.
func TestLongRunRates(t *testing.T) {
	const steps = 1_000_000
	for _, tt := range []struct {
		limit  int
		window time.Duration
		burst  int
		every  time.Duration
		want   int // admitted in the steps after the first burst
	}{
		{7, time.Second, 7, ms, 7000},
		{97, time.Minute, 97, ms, 1616},
		{999_983, time.Hour, 2, time.Microsecond, 277},
		{1_000_000, time.Second, 1, 100, 100_000},
		{999_983, time.Second, 2, 100, 99_998},
		{999_983, time.Second, 2, 10, 9999},
		{600_000_000, time.Second, 2, 1, 600_000},
		{700_000_000, time.Second, 2, 1, 700_000},
		{999_999_937, time.Second, 2, 1, 999_999},
		{1_000_000_000, time.Second, 1, 1, 1_000_000},
		{1_000_000_000, time.Second, 1, 3, 1_000_000},
	} {
		h := newHand()
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Burst: tt.burst, Clock: h})
		l.AllowN(tt.burst)
		admitted := 0
		for range steps {
			h.now += tt.every
			if l.Allow() {
				admitted++
			}
		}
		if admitted != tt.want {
			t.Errorf("%d per %v asked every %v: admitted %d, want %d", tt.limit, tt.window, tt.every, admitted, tt.want)
		}
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
		{Config{Limit: 1e9, Window: time.Second}, ""},
		{Config{Limit: 1e6, Window: ms}, ""},
		{Config{Limit: math.MaxInt32, Window: 3660 * day, Burst: math.MaxInt32}, ""},
		{Config{}, "tokenbucket: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1}, "tokenbucket: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Window: time.Second}, "tokenbucket: Limit 0 is out of range [1, 1000000000]"},
		{Config{Limit: -1, Window: time.Second}, "tokenbucket: Limit -1 is out of range [1, 1000000000]"},
		{Config{Limit: math.MinInt, Window: time.Second}, fmt.Sprintf("tokenbucket: Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{Config{Limit: math.MaxInt, Window: time.Second}, fmt.Sprintf("tokenbucket: Limit %d is out of range [1, 1000000000]", math.MaxInt)},
		{Config{Limit: 1e9 + 1, Window: time.Second}, "tokenbucket: Limit 1000000001 is out of range [1, 1000000000]"},
		{Config{Limit: 1, Window: -1}, "tokenbucket: Window -1ns is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: minTime}, "tokenbucket: Window -2562047h47m16.854775808s is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: maxTime}, "tokenbucket: Window 2562047h47m16.854775807s is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: 3660*day + 1}, "tokenbucket: Window 87840h0m0.000000001s is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: day, Burst: -1}, "tokenbucket: Burst -1 is out of range [1, "},
		{Config{Limit: 1, Window: day, Burst: math.MinInt}, fmt.Sprintf("tokenbucket: Burst %d is out of range [1, ", math.MinInt)},
		{Config{Limit: 1, Window: day, Burst: math.MaxInt}, fmt.Sprintf("tokenbucket: Burst %d is out of range [1, ", math.MaxInt)},
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

func TestBurstDefaultsToLimit(t *testing.T) {
	if got := MustNew(Config{Limit: 7, Window: time.Second}).Peek(1).Limit; got != 7 {
		t.Errorf("the limit is %d, want 7", got)
	}
	if c := MustNew(Config{Limit: 7, Window: time.Second}).Clock(); c == nil {
		t.Error("there is no clock")
	}
}

// TestLimiterSize is two cache lines.
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
			"Wait granted":   func() { granting.Wait(ctx) },
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
