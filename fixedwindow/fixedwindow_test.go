package fixedwindow

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

// hand is a clock whose hand the test moves, and on which nobody can sleep.
type hand struct {
	*clock.Fake
	now   time.Duration
	epoch time.Time
	asked int // how often for the epoch
}

// newHand returns a clock that reads 0 at an epoch; the zero one is Unix 0.
func newHand(epoch time.Time) *hand {
	if epoch.IsZero() {
		epoch = time.Unix(0, 0)
	}
	return &hand{Fake: clock.NewFake(), epoch: epoch}
}

func (h *hand) Now() time.Duration { return h.now }

func (h *hand) Epoch() time.Time { h.asked++; return h.epoch }

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
func play(t *testing.T, c Config, epoch time.Time, script []row) {
	t.Helper()
	h := newHand(epoch)
	c.Clock = h
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range script {
		h.now = r.t
		want := ratelimit.Decision{Allowed: r.allowed, N: r.n, At: r.t, Limit: c.Limit, Remaining: r.remaining, RetryAfter: r.retry, ResetAfter: r.reset}
		before := l.state.Load()
		if diff := cmp.Diff(want, l.Peek(r.n)); diff != "" {
			t.Errorf("step %d: Peek(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
		}
		if after := l.state.Load(); after != before {
			t.Errorf("step %d: Peek(%d) at %v changes the state from %#x to %#x", i, r.n, r.t, before, after)
		}
		if diff := cmp.Diff(want, l.Take(r.n)); diff != "" {
			t.Errorf("step %d: Take(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
		}
		if after := l.state.Load(); after != before && (!r.allowed || r.n == 0) {
			t.Errorf("step %d: Take(%d) at %v admits nothing, but changes the state from %#x to %#x", i, r.n, r.t, before, after)
		}
	}
	if h.asked > 1 {
		t.Errorf("the clock was asked %d times for the wall time: it may have been set since", h.asked)
	}
}

func TestTake(t *testing.T) {
	at := func(hour, minute int) time.Time { return time.Date(2024, 5, 17, hour, minute, 0, 0, time.UTC) }
	var unix0 time.Time
	for _, tt := range []struct {
		name   string
		c      Config
		epoch  time.Time
		script []row
	}{
		{"ten per second", Config{Limit: 10, Window: time.Second}, unix0, []row{
			{0, 4, true, 6, 0, 1000 * ms},
			{250 * ms, 6, true, 0, 0, 750 * ms},
			{250 * ms, 1, false, 0, 750 * ms, 750 * ms},
			{1000*ms - 1, 1, false, 0, 1, 1},
			{1000 * ms, 1, true, 9, 0, 1000 * ms},
			{1000*ms + 1, 10, false, 9, 1000*ms - 1, 1000*ms - 1},
			{1000*ms + 1, 9, true, 0, 0, 1000*ms - 1},
			{time.Hour, 10, true, 0, 0, 1000 * ms},
		}},
		{"the worst case, astride an edge", Config{Limit: 10, Window: time.Second}, unix0, []row{
			{1000*ms - 1, 10, true, 0, 0, 1},
			{1000 * ms, 10, true, 0, 0, 1000 * ms},
			{2000*ms - 1, 1, false, 0, 1, 1},
		}},
		{"a clock that starts within a window", Config{Limit: 2, Window: time.Minute}, time.Unix(45, 0), []row{
			{0, 1, true, 1, 0, 15 * time.Second},
			{15*time.Second - 1, 1, true, 0, 0, 1},
			{15*time.Second - 1, 1, false, 0, 1, 1},
			{15 * time.Second, 2, true, 0, 0, time.Minute},
		}},
		{"days from 06:00", Config{Limit: 1, Window: day, Offset: 6 * time.Hour}, at(5, 59), []row{
			{0, 1, true, 0, 0, time.Minute},
			{time.Minute - 1, 1, false, 0, 1, 1},
			{time.Minute, 1, true, 0, 0, day},
		}},
		{"days from 18:00", Config{Limit: 1, Window: day, Offset: -6 * time.Hour}, at(5, 59), []row{
			{0, 1, true, 0, 0, 12*time.Hour + time.Minute},
		}},
		{"offsets count modulo the window", Config{Limit: 1, Window: day, Offset: 1000*day + 6*time.Hour}, at(5, 59), []row{
			{0, 1, true, 0, 0, time.Minute},
		}},
		// 2^63 ns are 106751 days, 23:47:16.854775808.
		{"the largest offset", Config{Limit: 1, Window: day, Offset: maxTime}, at(23, 47), []row{
			{0, 1, true, 0, 0, 16_854_775_807},
		}},
		{"the smallest offset", Config{Limit: 1, Window: day, Offset: minTime}, at(0, 12), []row{
			{0, 1, true, 0, 0, 43_145_224_192},
		}},
		{"before 1970", Config{Limit: 1, Window: day}, time.Date(1, 1, 1, 20, 0, 0, 0, time.UTC), []row{
			{0, 1, true, 0, 0, 4 * time.Hour},
		}},
		{"none, negative and too many", Config{Limit: 2, Window: time.Second}, unix0, []row{
			{0, 0, true, 2, 0, 0},
			{0, -1, false, 2, never, 0},
			{0, math.MinInt, false, 2, never, 0},
			{0, 3, false, 2, never, 0},
			{0, math.MaxInt, false, 2, never, 0},
			{100 * ms, 2, true, 0, 0, 900 * ms},
			{100 * ms, 0, true, 0, 0, 900 * ms},
			{100 * ms, 3, false, 0, never, 900 * ms},
			{time.Second, 3, false, 2, never, 0},
		}},
		{"a late reading", Config{Limit: 3, Window: time.Second}, unix0, []row{
			{5 * time.Second, 2, true, 1, 0, time.Second},
			{5*time.Second - 1, 1, true, 0, 0, time.Second + 1},
			{3 * time.Second, 1, false, 0, 3 * time.Second, 3 * time.Second},
			{-time.Second, 1, false, 0, 7 * time.Second, 7 * time.Second},
			{5 * time.Second, 1, false, 0, time.Second, time.Second},
			{6 * time.Second, 3, true, 0, 0, time.Second},
		}},
		{"one a nanosecond", Config{Limit: 1, Window: 1}, unix0, []row{
			{0, 1, true, 0, 0, 1},
			{0, 1, false, 0, 1, 1},
			{1, 1, true, 0, 0, 1},
			{15 * year, 1, true, 0, 0, 1},
		}},
		{"one a year", Config{Limit: 1, Window: 366 * day}, unix0, []row{
			{100 * day, 1, true, 0, 0, 266 * day},
			{366*day - 1, 1, false, 0, 1, 1},
			{366 * day, 1, true, 0, 0, 366 * day},
		}},
		// The range ends 303,423,487 ns after a full second.
		{"the end of the clock's range", Config{Limit: 2, Window: time.Second}, unix0, []row{
			{maxNow - time.Second, 2, true, 0, 0, 696_576_513},
			{maxNow, 1, true, 1, 0, never},
			{maxTime, 1, true, 0, 0, never},
			{maxTime, 1, false, 0, never, never},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, tt.c, tt.epoch, tt.script) })
	}
}

func TestTrillionPerDay(t *testing.T) {
	limit := int64(1e12)
	if int64(int(limit)) != limit {
		t.Skip("an int has 32 bits")
	}
	play(t, Config{Limit: int(limit), Window: day}, time.Time{}, []row{
		{0, int(limit), true, 0, 0, day},
		{day - 1, 1, false, 0, 1, 1},
		{day, int(limit) - 1, true, 1, 0, day},
		{2*day - 1, 2, false, 1, 1, 1},
		{6000*day + 1, int(limit), true, 0, 0, day - 1},
	})
}

// TestEpochs finds the edges where they are on the wall clock, and 0 nowhere to
// mean something else.
func TestEpochs(t *testing.T) {
	for _, epoch := range []time.Time{
		time.Unix(0, 0),
		time.Unix(-5*365*86400, 1),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	} {
		for _, offset := range []time.Duration{0, 7 * time.Minute, -7 * time.Minute} {
			h := newHand(epoch)
			if epoch.Year() == 1 {
				h.epoch = epoch // the zero Time
			}
			l := MustNew(Config{Limit: 2, Window: time.Hour, Offset: offset, Clock: h})
			edge := epoch.Add(-offset).Truncate(time.Hour).Add(time.Hour + offset)
			// Truncate counts from year 1, which is a multiple of an hour from 1970.
			left := edge.Sub(epoch)
			for left > time.Hour {
				left -= time.Hour
			}
			if !l.AllowN(2) || l.Allow() {
				t.Errorf("%v: there is not room for exactly 2", epoch)
			}
			if d := l.Peek(1); d.RetryAfter != left {
				t.Errorf("%v, offset %v: RetryAfter = %v, want %v", epoch, offset, d.RetryAfter, left)
			}
			h.now = left - 1
			if l.Allow() {
				t.Errorf("%v, offset %v: admitted a nanosecond before the edge", epoch, offset)
			}
			h.now = left
			if !l.AllowN(2) || l.Allow() {
				t.Errorf("%v, offset %v: there is not room for exactly 2 at the edge", epoch, offset)
			}
		}
	}
}

// TestWallClockIsReadOnce sets the wall clock while the limiter runs.
func TestWallClockIsReadOnce(t *testing.T) {
	h := newHand(time.Unix(0, 0))
	l := MustNew(Config{Limit: 1, Window: time.Hour, Clock: h})
	l.Allow()
	for _, step := range []time.Duration{-time.Hour, time.Hour, 5 * year} {
		h.epoch = time.Unix(0, 0).Add(step)
		if l.Allow() {
			t.Errorf("one more was admitted after the wall clock was set by %v", step)
		}
		if got := l.Peek(1).RetryAfter; got != time.Hour {
			t.Errorf("after the wall clock was set by %v RetryAfter = %v, want 1h", step, got)
		}
	}
}

// TestClockStartsAnywhere finds exactly the limit at any first reading.
func TestClockStartsAnywhere(t *testing.T) {
	for _, start := range []time.Duration{0, 1, -1, -5 * year, minTime, 15 * year, maxNow - time.Second, maxNow, maxTime - time.Second, maxTime} {
		h := newHand(time.Time{})
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
		l := MustNew(Config{Limit: 5, Window: time.Second}) // the bubble begins on a full second
		start := time.Now()
		for i := range 51 {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := time.Since(start), time.Duration(i/5)*time.Second; got != want {
				t.Errorf("wait %d is over after %v, want %v", i, got, want)
			}
		}
	})
}

// TestLateRequestLowersNoCounter sends a reading of the window before between
// two of this one. A counter that went back would admit three.
func TestLateRequestLowersNoCounter(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 1, Window: time.Second, Clock: h})
	admitted := 0
	for _, now := range []time.Duration{5 * time.Second, 5*time.Second - 1, 5 * time.Second, 0, 5 * time.Second} {
		h.now = now
		if l.Allow() {
			admitted++
		}
	}
	if admitted != 1 {
		t.Errorf("admitted %d, want 1", admitted)
	}
}

// TestStaleReadingsMintNothing uses two windows up with readings that go back
// and forth.
func TestStaleReadingsMintNothing(t *testing.T) {
	const limit, delta = 10, 500 * ms
	for _, tt := range []struct {
		name  string
		start time.Duration
		want  int
	}{
		{"within a window", time.Hour, limit},
		{"over an edge", time.Hour - delta/2, 1 + limit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand(time.Time{})
			l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
			admitted := 0
			for i := range 10_000 {
				h.now = tt.start + time.Duration(i%2)*delta
				if l.Allow() {
					admitted++
				}
			}
			if admitted != tt.want {
				t.Errorf("admitted %d, want %d", admitted, tt.want)
			}
		})
	}
	t.Run("at random", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for range 200 {
			h := newHand(time.Time{})
			l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
			admitted := 0
			for range 200 {
				h.now = time.Hour - delta/2 + time.Duration(rng.Int64N(int64(delta)))
				if n := rng.IntN(4); l.AllowN(n) {
					admitted += n
				}
			}
			if admitted > 2*limit {
				t.Fatalf("admitted %d in two windows, want at most %d", admitted, 2*limit)
			}
		}
	})
}

// TestClockStepsAnHour has the clock go an hour back and forth.
func TestClockStepsAnHour(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	for _, step := range []struct {
		now  time.Duration
		want int
	}{
		{2 * time.Hour, 10},
		{time.Hour, 0},
		{2 * time.Hour, 0},
		{2*time.Hour + time.Second, 10},
		{time.Hour, 0},
		{2*time.Hour + 2*time.Second, 10},
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

// TestLimitInEveryWindow counts over many windows with an oracle that is a map.
func TestLimitInEveryWindow(t *testing.T) {
	const limit, window, offset = 7, 97 * ms, 13 * ms
	rng := rand.New(rand.NewPCG(4, 4))
	h := newHand(time.Unix(12_345, 678_901_234))
	l := MustNew(Config{Limit: limit, Window: window, Offset: offset, Clock: h})
	used := map[int64]int{}
	for range 50_000 {
		h.now += time.Duration(rng.Int64N(int64(10 * ms)))
		k := h.epoch.Add(h.now-offset).UnixNano() / int64(window)
		n := 1 + rng.IntN(3)
		want := used[k]+n <= limit
		if want {
			used[k] += n
		}
		if got := l.AllowN(n); got != want {
			t.Fatalf("at %v, with %d in this window, AllowN(%d) = %v", h.now, used[k], n, got)
		}
	}
}

// TestLongRun takes the limit in each window for fifteen years of them.
func TestLongRun(t *testing.T) {
	for _, tt := range []struct {
		limit   int
		window  time.Duration
		windows int
	}{
		{7, time.Second, 200_000},
		{97, time.Minute, 200_000},
		{999_983, time.Hour, 15 * 8760},
		{1, day, 15 * 365},
		{1, 1, 100_000},
	} {
		h := newHand(time.Time{})
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Clock: h})
		refused, more := 0, 0
		for range tt.windows {
			if !l.AllowN(tt.limit) {
				refused++
			}
			if h.now += tt.window - 1; l.Allow() {
				more++
			}
			h.now++
		}
		if refused > 0 || more > 0 {
			t.Errorf("%d per %v: of %d windows %d refused the limit, and %d admitted more", tt.limit, tt.window, tt.windows, refused, more)
		}
	}
}

func TestHugeN(t *testing.T) {
	l := MustNew(Config{Limit: 20, Window: time.Second, Clock: newHand(time.Time{})})
	l.AllowN(5)
	before := l.state.Load()
	for _, n := range []int{math.MinInt, math.MinInt32, -1, 21, math.MaxInt32, math.MaxInt - 1, math.MaxInt} {
		if l.AllowN(n) {
			t.Errorf("AllowN(%d) = true", n)
		}
		for name, d := range map[string]ratelimit.Decision{"Take": l.Take(n), "Peek": l.Peek(n)} {
			want := ratelimit.Decision{N: n, Limit: 20, Remaining: 15, RetryAfter: never, ResetAfter: time.Second}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Errorf("%s(%d): (-want +got)\n%s", name, n, diff)
			}
			d.Allowed = true // it never was
			l.Refund(d)
		}
		err := l.WaitN(context.Background(), n)
		if !errors.Is(err, ratelimit.ErrExceedsLimit) || !strings.Contains(err.Error(), fmt.Sprintf("n is %d, Limit 20", n)) {
			t.Errorf("WaitN(%d) = %v", n, err)
		}
		if got := l.state.Load(); got != before {
			t.Fatalf("n = %d changes the state from %#x to %#x", n, before, got)
		}
	}
}

func TestRefund(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later time.Duration // after the decision, 250 ms into a window
		want  int           // remaining of 10, when 4 were taken and then 3 refunded
	}{
		{"at once", 0, 9},
		{"at the end of the window", 750*ms - 1, 9},
		{"in the next window", 750 * ms, 8},
		{"later", time.Hour, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand(time.Time{})
			h.now = 250 * ms
			l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
			l.Allow()
			d := l.Take(3)
			h.now += tt.later
			if h.now >= time.Second {
				l.AllowN(2)
			}
			l.Refund(d)
			if got := l.Peek(0).Remaining; got != tt.want {
				t.Errorf("after the refund %d remain, want %d", got, tt.want)
			}
		})
	}
}

// TestRefundOfLateReading was charged to the window after its reading's.
func TestRefundOfLateReading(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	h.now = 5 * time.Second
	l.AllowN(4)
	h.now = 3 * time.Second
	d := l.Take(2)
	h.now = 5 * time.Second
	l.Refund(d)
	if got := l.Peek(0).Remaining; got != 6 {
		t.Errorf("after the refund %d remain, want 6", got)
	}
}

// TestRefundInTheLastWindows has windows that end after the clock's range.
func TestRefundInTheLastWindows(t *testing.T) {
	for _, tt := range []struct{ window, now time.Duration }{
		{3660 * day, 0},
		{3660 * day, 3000 * day},
		{3660 * day, 4000 * day},
		{366 * day, 18 * year},
		{time.Second, maxNow},
		{time.Second, maxTime},
		{time.Second, minTime},
	} {
		for _, epoch := range []time.Time{time.Unix(0, 0), time.Unix(0, -1), time.Unix(1e9, 0)} {
			h := newHand(epoch)
			h.now = tt.now
			l := MustNew(Config{Limit: 10, Window: tt.window, Clock: h})
			l.AllowN(3)
			l.Refund(l.Take(5))
			if got := l.Peek(0).Remaining; got != 7 {
				t.Errorf("window %v from %v: after the refund at %v %d remain, want 7", tt.window, epoch, tt.now, got)
			}
		}
	}
}

func TestRefundIsCapped(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	d := l.Take(10)
	for range 100 { // more often than once, which is not allowed
		l.Refund(d)
	}
	l.AllowN(3)
	l.Refund(d)
	for _, at := range []time.Duration{minTime, 0, time.Hour, maxTime} {
		for _, reset := range []time.Duration{minTime, -1, 0, 1, time.Hour, maxTime - 1, never} {
			l.Refund(ratelimit.Decision{Allowed: true, N: 10, At: at, ResetAfter: reset}) // made up
		}
	}
	if got := state(l.state.Load()); got != 0 {
		t.Errorf("after refunds of more than was taken the state is %#x, want 0", got)
	}
	if got, want := l.Peek(0), (ratelimit.Decision{Allowed: true, Limit: 10, Remaining: 10}); got != want {
		t.Errorf("after refunds of more than was taken Peek(0) = %+v, want %+v", got, want)
	}
	if !l.AllowN(10) || l.Allow() {
		t.Error("after refunds of more than was taken there is not room for exactly 10")
	}
	before := l.state.Load()
	l.Refund(l.Take(1))
	l.Refund(l.Take(0))
	if got := l.state.Load(); got != before {
		t.Errorf("refunds of nothing change the state from %#x to %#x", before, got)
	}
}

// TestUndoEverything refunds all admissions of one reading in any order.
func TestUndoEverything(t *testing.T) {
	h := newHand(time.Time{})
	h.now = time.Hour
	l := MustNew(Config{Limit: 100, Window: time.Second, Clock: h})
	fresh := l.Peek(1)
	var ds []ratelimit.Decision
	for n := 1; n < 14; n++ {
		ds = append(ds, l.Take(n))
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(ds), func(i, j int) { ds[i], ds[j] = ds[j], ds[i] })
	for _, d := range ds {
		l.Refund(d)
	}
	if diff := cmp.Diff(fresh, l.Peek(1)); diff != "" {
		t.Errorf("after everything was undone: (-want +got)\n%s", diff)
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
				l := MustNew(Config{Limit: 10, Window: time.Second, Clock: fake})
				l.AllowN(10)
				before := l.state.Load()
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
				if got := l.state.Load(); got != before {
					t.Errorf("the state goes from %#x to %#x", before, got)
				}
				fake.Advance(time.Second)
				if !l.AllowN(10) || l.Allow() {
					t.Error("afterwards the limit is not what it was")
				}
			})
		})
	}
}

// TestWaitsFillWindowAfterWindow has more in line than one window takes.
func TestWaitsFillWindowAfterWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		l := MustNew(Config{Limit: 3, Window: time.Second, Clock: fake})
		l.AllowN(2)
		left := make([]time.Duration, 5)
		for i, n := range []int{2, 1, 2, 2, 1} {
			go func() {
				if err := l.WaitN(t.Context(), n); err != nil {
					t.Error(err)
				}
				left[i] = fake.Now()
			}()
			synctest.Wait()
		}
		for range 4 {
			fake.Advance(time.Second - 1)
			synctest.Wait()
			fake.Advance(1)
			synctest.Wait()
		}
		want := []time.Duration{time.Second, time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("waiters left at: (-want +got)\n%s", diff)
		}
	})
}

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
			t.Errorf("%d remain after the waiter was served, want 0", got)
		}
	})
}

func TestExpiredContextTakesNothing(t *testing.T) {
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: newHand(time.Time{})})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range []int{0, 1, 10, 11, -1} {
		if err := l.WaitN(ctx, n); err != context.Canceled {
			t.Errorf("WaitN(%d) of a cancelled context = %v", n, err)
		}
	}
	if got := l.state.Load(); got != 0 {
		t.Errorf("the state is %#x, want 0", got)
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
				l := MustNew(Config{Limit: 1, Window: time.Second, Clock: coarse})
				if !verb(l) {
					t.Errorf("%s refuses what is there", name)
				}
				l.Allow() // Peek took nothing
				time.Sleep(time.Second - 1)
				if verb(l) {
					t.Errorf("%s admits too early", name)
				}
				time.Sleep(time.Nanosecond)
				if coarse.Now() >= time.Second {
					t.Fatal("the coarse clock is not late")
				}
				if !verb(l) {
					t.Errorf("%s refuses for a late reading", name)
				}
			})
		})
	}
}

// TestLayout packs and unpacks the ends of both ranges, for every size of limit.
func TestLayout(t *testing.T) {
	if got := state(0); layoutFor(1).index(got) != 0 || layoutFor(1).used(got) != 0 {
		t.Error("the zero state is not the fresh one")
	}
	for k := range 59 {
		for _, limit := range []int64{1 << k, 1<<k + 1, 1<<(k+1) - 1} {
			if int64(int(limit)) != limit || limit > int64(span.MaxWindow) {
				continue
			}
			y := layoutFor(int(limit))
			// The narrowest window for this limit has the most indexes.
			last := uint64(span.MaxNow)/uint64(limit) + 1
			for _, index := range []uint64{0, 1, last / 2, last - 1, last} {
				for _, used := range []uint64{0, 1, uint64(limit) / 2, uint64(limit) - 1, uint64(limit)} {
					s := y.pack(index, used)
					if y.index(s) != index || y.used(s) != used {
						t.Errorf("limit %d: pack(%d, %d) unpacks to %d, %d", limit, index, used, y.index(s), y.used(s))
					}
				}
			}
		}
	}
}

// TestNearTheEndOfTheRange counts in the last windows there are, where the index
// is largest.
func TestNearTheEndOfTheRange(t *testing.T) {
	for _, c := range []Config{
		{Limit: 1, Window: 1},
		{Limit: 2, Window: 2},
		{Limit: 3, Window: 3},
		{Limit: 1 << 20, Window: 1 << 20},
		{Limit: math.MaxInt32, Window: math.MaxInt32},
		{Limit: math.MaxInt32, Window: 366 * day},
	} {
		h := newHand(time.Unix(0, 1))
		c.Clock = h
		l := MustNew(c)
		h.now = maxNow - 2*c.Window
		for range 3 {
			if !l.AllowN(c.Limit) || l.Allow() {
				t.Errorf("%d per %v: at %v there is not room for exactly the limit", c.Limit, c.Window, h.now)
			}
			h.now += c.Window
		}
		h.now = maxTime
		if l.Allow() {
			t.Errorf("%d per %v: admitted after the end of the range", c.Limit, c.Window)
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
		{Config{Limit: 1e9, Window: time.Second, Offset: minTime}, ""},
		{Config{Limit: 1e6, Window: ms, Offset: maxTime}, ""},
		{Config{}, "fixedwindow: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Window: time.Second}, "fixedwindow: Limit 0 is out of range [1, 1000000000]"},
		{Config{Limit: -1, Window: time.Second}, "fixedwindow: Limit -1 is out of range [1, 1000000000]"},
		{Config{Limit: math.MinInt, Window: time.Second}, fmt.Sprintf("fixedwindow: Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{Config{Limit: math.MaxInt, Window: time.Second}, fmt.Sprintf("fixedwindow: Limit %d is out of range [1, 1000000000]", math.MaxInt)},
		{Config{Limit: 2, Window: 1}, "fixedwindow: Limit 2 is out of range [1, 1]"},
		{Config{Limit: 1, Window: -1}, "fixedwindow: Window -1ns is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: minTime}, "fixedwindow: Window -2562047h47m16.854775808s is out of range"},
		{Config{Limit: 1, Window: maxTime}, "fixedwindow: Window 2562047h47m16.854775807s is out of range"},
		{Config{Limit: 1, Window: 3660*day + 1}, "fixedwindow: Window 87840h0m0.000000001s is out of range"},
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
	if MustNew(Config{Limit: 1, Window: 1}).Clock() == nil {
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
		refusing := MustNew(Config{Limit: 1, Window: 3660 * day, Clock: clk})
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
