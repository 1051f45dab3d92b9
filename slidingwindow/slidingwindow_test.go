package slidingwindow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// state is what the limiter holds.
func (l *Limiter) state() counts {
	s, _ := l.cell.load()
	return s
}

// widen makes a limiter keep its counts in the wide representation, whatever its
// limit. It must be fresh.
func (l *Limiter) widen() { l.cell.wide = new([3]atomic.Uint64) }

// play takes what a script says, and peeks before; once with the counts in one
// word, if they fit, and once in several.
func play(t *testing.T, c Config, epoch time.Time, script []row) {
	t.Helper()
	for _, wide := range []bool{false, true} {
		h := newHand(epoch)
		c.Clock = h
		l, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if wide {
			l.widen()
		}
		for i, r := range script {
			h.now = r.t
			want := ratelimit.Decision{Allowed: r.allowed, N: r.n, At: r.t, Limit: c.Limit, Remaining: r.remaining, RetryAfter: r.retry, ResetAfter: r.reset}
			before := l.state()
			if diff := cmp.Diff(want, l.Peek(r.n)); diff != "" {
				t.Errorf("wide=%v, step %d: Peek(%d) at %v: (-want +got)\n%s", wide, i, r.n, r.t, diff)
			}
			if after := l.state(); after != before {
				t.Errorf("wide=%v, step %d: Peek(%d) at %v changes the state from %+v to %+v", wide, i, r.n, r.t, before, after)
			}
			if diff := cmp.Diff(want, l.Take(r.n)); diff != "" {
				t.Errorf("wide=%v, step %d: Take(%d) at %v: (-want +got)\n%s", wide, i, r.n, r.t, diff)
			}
			if after := l.state(); after != before && (!r.allowed || r.n == 0) {
				t.Errorf("wide=%v, step %d: Take(%d) at %v admits nothing, but changes the state from %+v to %+v", wide, i, r.n, r.t, before, after)
			}
		}
		if h.asked > 1 {
			t.Errorf("the clock was asked %d times for the wall time: it may have been set since", h.asked)
		}
	}
}

func TestTake(t *testing.T) {
	var unix0 time.Time
	for _, tt := range []struct {
		name   string
		c      Config
		epoch  time.Time
		script []row
	}{
		{"ten per second", Config{Limit: 10, Window: time.Second}, unix0, []row{
			{0, 10, true, 0, 0, 2 * time.Second},
			// In the next window, when a tenth of these has slid out.
			{0, 1, false, 0, 1100 * ms, 2 * time.Second},
			{1000*ms - 1, 1, false, 0, 100*ms + 1, 1000*ms + 1},
			{1000 * ms, 1, false, 0, 100 * ms, 1000 * ms},
			{1100*ms - 1, 1, false, 0, 1, 900*ms + 1},
			{1100 * ms, 1, true, 0, 0, 1900 * ms},
			// The ten weigh 5, and one makes 6.
			{1500 * ms, 5, false, 4, 100 * ms, 1500 * ms},
			{1500 * ms, 4, true, 0, 0, 1500 * ms},
			// Five in the window before.
			{2000 * ms, 6, false, 5, 200 * ms, 1000 * ms},
			{2000 * ms, 10, false, 5, 1000 * ms, 1000 * ms},
			{2000 * ms, 5, true, 0, 0, 2000 * ms},
			{time.Hour, 10, true, 0, 0, 2000 * ms},
		}},
		{"rounded up to the nanosecond", Config{Limit: 3, Window: time.Second}, unix0, []row{
			{0, 3, true, 0, 0, 2 * time.Second},
			{1000 * ms, 1, false, 0, 333_333_334, 1000 * ms},
			{1_333_333_333, 1, false, 0, 1, 666_666_667},
			{1_333_333_334, 1, true, 0, 0, 1_666_666_666},
		}},
		{"the window before last counts for nothing", Config{Limit: 10, Window: time.Second}, unix0, []row{
			{1000*ms - 1, 10, true, 0, 0, 1000*ms + 1},
			{2000*ms - 1, 9, true, 0, 0, 1000*ms + 1},
			{3000 * ms, 10, true, 0, 0, 2000 * ms},
		}},
		{"a clock that starts within a window", Config{Limit: 10, Window: time.Second}, time.Unix(45, 750_000_000), []row{
			{0, 10, true, 0, 0, 1250 * ms},
			{250 * ms, 2, false, 0, 200 * ms, 1000 * ms},
			{450 * ms, 2, true, 0, 0, 1800 * ms},
		}},
		{"before 1970", Config{Limit: 1, Window: day}, time.Date(1, 1, 1, 20, 0, 0, 0, time.UTC), []row{
			{0, 1, true, 0, 0, 28 * time.Hour},
		}},
		{"none, negative and too many", Config{Limit: 2, Window: time.Second}, unix0, []row{
			{0, 0, true, 2, 0, 0},
			{0, -1, false, 2, never, 0},
			{0, math.MinInt, false, 2, never, 0},
			{0, 3, false, 2, never, 0},
			{0, math.MaxInt, false, 2, never, 0},
			{100 * ms, 2, true, 0, 0, 1900 * ms},
			{100 * ms, 0, true, 0, 0, 1900 * ms},
			{100 * ms, 3, false, 0, never, 1900 * ms},
			{1500 * ms, 3, false, 1, never, 500 * ms},
		}},
		{"a late reading", Config{Limit: 10, Window: time.Second}, unix0, []row{
			{4500 * ms, 6, true, 4, 0, 1500 * ms},
			{5500 * ms, 4, true, 3, 0, 1500 * ms},
			// As at the window's beginning, where the six still weigh 6.
			{4900 * ms, 1, false, 0, 266_666_667, 2100 * ms},
			{5_166_666_667, 1, true, 0, 0, 1_833_333_333},
			{-time.Second, 1, false, 0, 6_333_333_334, 8 * time.Second},
		}},
		{"one a nanosecond", Config{Limit: 1, Window: 1}, unix0, []row{
			{0, 1, true, 0, 0, 2},
			{0, 1, false, 0, 2, 2},
			{1, 1, false, 0, 1, 1},
			{2, 1, true, 0, 0, 2},
			{15 * year, 1, true, 0, 0, 2},
		}},
		{"one a year", Config{Limit: 1, Window: 366 * day}, unix0, []row{
			{100 * day, 1, true, 0, 0, 632 * day},
			{732*day - 1, 1, false, 0, 1, 1},
			{732 * day, 1, true, 0, 0, 732 * day},
		}},
		// The range ends 303,423,487 ns after a full second.
		{"the end of the clock's range", Config{Limit: 2, Window: time.Second}, unix0, []row{
			{maxNow - 2*time.Second, 2, true, 0, 0, 1_696_576_513},
			{maxNow, 2, true, 0, 0, never},
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
		{0, int(limit), true, 0, 0, 2 * day},
		{day, 1, false, 0, 87, day},
		{day + 87, 1, true, 0, 0, 2*day - 87},
		// A quarter of it has slid out.
		{day + 6*time.Hour, int(limit) / 4, false, int(limit)/4 - 1, 87, 42 * time.Hour},
		{day + 6*time.Hour, int(limit)/4 - 1, true, 0, 0, 42 * time.Hour},
		{6000 * day, int(limit), true, 0, 0, 2 * day},
	})
}

// model is the definition: counts by window since 1970, and fractions.
type model struct {
	limit, window int64
	epoch         int64 // nanoseconds since 1970
	used          map[int64]int64
	latest        int64
}

func (m *model) fits(now, n int64) bool {
	at := m.epoch + now
	k, elapsed := at/m.window, at%m.window
	if k < m.latest {
		k, elapsed = m.latest, 0
	}
	// prev·(window−elapsed)/window + curr + n ≤ limit
	weightHi, weightLo := bits.Mul64(uint64(m.used[k-1]), uint64(m.window-elapsed))
	room := m.limit - m.used[k] - n
	if room < 0 {
		return false
	}
	roomHi, roomLo := bits.Mul64(uint64(room), uint64(m.window))
	return weightHi < roomHi || weightHi == roomHi && weightLo <= roomLo
}

func (m *model) take(now, n int64) bool {
	if !m.fits(now, n) {
		return false
	}
	m.latest = max(m.latest, (m.epoch+now)/m.window)
	m.used[m.latest] += n
	return true
}

// TestAgainstDefinition compares random scripts with the definition, and finds
// the end of every wait by trying.
func TestAgainstDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 7))
	for range 300 {
		for _, wide := range []bool{false, true} {
			window := 1 + rng.Int64N(60)
			limit := 1 + rng.Int64N(min(window, 12))
			h := newHand(time.Unix(0, 1000+rng.Int64N(1000)))
			m := &model{limit: limit, window: window, epoch: h.epoch.UnixNano(), used: map[int64]int64{}}
			m.latest = m.epoch / window
			l := MustNew(Config{Limit: int(limit), Window: time.Duration(window), Clock: h})
			if wide {
				l.widen()
			}
			for range 60 {
				h.now = max(0, h.now+time.Duration(rng.Int64N(window)-window/4))
				n := 1 + rng.Int64N(limit)
				now := int64(h.now)
				want := m.fits(now, n)
				var remaining, retry int64
				for m.fits(now, remaining+1) {
					remaining++
				}
				for !m.fits(now+retry, n) {
					retry++
				}
				m.take(now, n)
				d := l.Take(int(n))
				if want {
					remaining -= n
				}
				if d.Allowed != want || int64(d.Remaining) != remaining || int64(d.RetryAfter) != retry {
					t.Fatalf("%d per %dns, wide=%v: at %d Take(%d) = %+v, want Allowed %v, Remaining %d, RetryAfter %d", limit, window, wide, now, n, d, want, remaining, retry)
				}
			}
		}
	}
}

// TestAgainstDefinitionAtScale is the same with limits and windows whose products
// need more than 64 bits.
func TestAgainstDefinitionAtScale(t *testing.T) {
	rng := rand.New(rand.NewPCG(16, 17))
	for range 2000 {
		window := int64(1) << rng.IntN(59)
		window += rng.Int64N(window)
		window = min(window, int64(span.MaxWindow))
		limit := 1 + rng.Int64N(min(window, math.MaxInt32))
		h := newHand(time.Unix(rng.Int64N(1e9), 0))
		m := &model{limit: limit, window: window, epoch: h.epoch.UnixNano(), used: map[int64]int64{}}
		m.latest = m.epoch / window
		l := MustNew(Config{Limit: int(limit), Window: time.Duration(window), Clock: h})
		for range 20 {
			if h.now += time.Duration(rng.Int64N(window)); h.now > maxNow-3*time.Duration(window) {
				break
			}
			n, now := 1+rng.Int64N(limit), int64(h.now)
			want := m.take(now, n)
			d := l.Take(int(n))
			if d.Allowed != want {
				t.Fatalf("%d per %dns: at %d Take(%d) = %+v, want Allowed %v", limit, window, now, n, d, want)
			}
			if left := int64(d.Remaining); left < 0 || left > 0 && !m.fits(now, left) || m.fits(now, left+1) {
				t.Fatalf("%d per %dns: at %d Take(%d) = %+v: that many do not remain", limit, window, now, n, d)
			}
			if retry := int64(d.RetryAfter); !want && (!m.fits(now+retry, n) || m.fits(now+retry-1, n)) {
				t.Fatalf("%d per %dns: at %d Take(%d) = %+v: that is not when to retry", limit, window, now, n, d)
			}
		}
	}
}

// TestWorstCase takes a whole limit at the end of a window and all that it can
// in the next: nearly twice the limit in one window's time, and never more.
func TestWorstCase(t *testing.T) {
	const limit, window = 100, time.Second
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: limit, Window: window, Clock: h})
	h.now = window - 1
	admitted := 0
	for h.now < 2*window-1 {
		if l.Allow() {
			admitted++
			continue
		}
		h.now += time.Microsecond
	}
	if want := 2*limit - 1; admitted != want {
		t.Errorf("admitted %d within a window's time, want %d", admitted, want)
	}
	if l.Allow() {
		t.Errorf("admitted more than that")
	}
}

// TestBound counts greedy callers in every trailing window.
func TestBound(t *testing.T) {
	const limit, window = 7, 97
	rng := rand.New(rand.NewPCG(8, 8))
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: limit, Window: window, Clock: h})
	var admitted []time.Duration
	for range 20_000 {
		h.now += time.Duration(rng.IntN(9))
		if rng.IntN(20) == 0 {
			h.now += window
		}
		for l.Allow() {
			admitted = append(admitted, h.now)
		}
	}
	for i, j := 0, 0; j < len(admitted); j++ {
		for admitted[j]-admitted[i] >= window {
			i++
		}
		if n := j - i + 1; n > 2*limit {
			t.Fatalf("%d were admitted in the window up to %v, want at most %d", n, admitted[j], 2*limit)
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
		if got := l.Peek(1).RetryAfter; got != 2*time.Hour {
			t.Errorf("after the wall clock was set by %v RetryAfter = %v, want 2h", step, got)
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

// TestEpochs finds the edges where they are on the wall clock.
func TestEpochs(t *testing.T) {
	for _, tt := range []struct {
		epoch time.Time
		left  time.Duration // of the window
	}{
		{time.Unix(0, 0), time.Hour},
		{time.Unix(0, -1), 1},
		{time.Unix(-5*365*86400, 0), time.Hour},
		{time.Date(1, 1, 1, 0, 40, 0, 0, time.UTC), 20 * time.Minute},
		{time.Date(2000, 1, 1, 0, 0, 0, 1, time.UTC), time.Hour - 1},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), 1},
	} {
		h := newHand(tt.epoch)
		l := MustNew(Config{Limit: 2, Window: time.Hour, Clock: h})
		if !l.AllowN(2) || l.Allow() {
			t.Errorf("%v: there is not room for exactly 2", tt.epoch)
		}
		if got, want := l.Peek(1).RetryAfter, tt.left+30*time.Minute; got != want {
			t.Errorf("%v: RetryAfter = %v, want %v", tt.epoch, got, want)
		}
	}
}

func TestSystemClockInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := MustNew(Config{Limit: 2, Window: time.Second}) // the bubble begins on a full second
		start := time.Now()
		for i, want := range []time.Duration{0, 0, 1500 * ms, 2000 * ms, 3000 * ms, 4000 * ms} {
			if err := l.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want {
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

// TestLateRequestLowersNoCounterWide is the same in the wide representation,
// and with a window in between.
func TestLateRequestLowersNoCounterWide(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 4, Window: time.Second, Clock: h})
	l.widen()
	h.now = 5 * time.Second
	l.AllowN(3)
	h.now = 6 * time.Second
	l.AllowN(1)
	want := counts{index: 6, prev: 3, curr: 1}
	for _, now := range []time.Duration{6*time.Second - 1, 5 * time.Second, 3 * time.Second, 0, minTime} {
		h.now = now
		if l.Allow() {
			t.Errorf("admitted at %v", now)
		}
		if got := l.state(); got != want {
			t.Errorf("after a reading of %v the counts are %+v, want %+v", now, got, want)
		}
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
		// One in the first window, and in the second what that one leaves.
		{"over an edge", time.Hour - delta/2, 1 + limit - 1},
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
		{2*time.Hour + 1500*ms, 5},
		{time.Hour, 0},
		{2*time.Hour + 4*time.Second, 10},
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

// TestLongRun takes what is there, whenever there is more, and counts. A caller
// who takes all that he can gets less than the limit, because each window's use
// weighs on the next; how much less is written down here.
func TestLongRun(t *testing.T) {
	for _, tt := range []struct {
		limit   int
		window  time.Duration
		windows int
		every   time.Duration
		want    int
	}{
		// A steady half of the limit is admitted whole.
		{10, time.Second, 100_000, 200 * ms, 500_000},
		// Of the whole, if it comes evenly, each window but the first refuses one:
		// 10 + 99,999·9, and 97 + 999·96.
		{10, time.Second, 100_000, 100 * ms, 900_001},
		{97, time.Minute, 1000, time.Minute / 97, 96_001},
		{1_000_000, time.Second, 1, time.Microsecond, 1_000_000},
	} {
		h := newHand(time.Time{})
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Clock: h})
		admitted := 0
		for h.now < time.Duration(tt.windows)*tt.window {
			if l.Allow() {
				admitted++
			}
			h.now += tt.every
		}
		if admitted != tt.want {
			t.Errorf("%d per %v, one every %v for %v: admitted %d, want %d", tt.limit, tt.window, tt.every, h.now, admitted, tt.want)
		}
	}
}

func TestHugeN(t *testing.T) {
	l := MustNew(Config{Limit: 20, Window: time.Second, Clock: newHand(time.Time{})})
	l.AllowN(5)
	before := l.state()
	for _, n := range []int{math.MinInt, math.MinInt32, -1, 21, math.MaxInt32, math.MaxInt - 1, math.MaxInt} {
		if l.AllowN(n) {
			t.Errorf("AllowN(%d) = true", n)
		}
		for name, d := range map[string]ratelimit.Decision{"Take": l.Take(n), "Peek": l.Peek(n)} {
			want := ratelimit.Decision{N: n, Limit: 20, Remaining: 15, RetryAfter: never, ResetAfter: 2 * time.Second}
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
		if got := l.state(); got != before {
			t.Fatalf("n = %d changes the state from %+v to %+v", n, before, got)
		}
	}
}

// TestRefund undoes what still counts, in the window it was charged to.
func TestRefund(t *testing.T) {
	for _, wide := range []bool{false, true} {
		for _, tt := range []struct {
			name  string
			later time.Duration // after the decision, 250 ms into window 0
			take  int           // just before the refund
			want  counts
		}{
			{"at once", 0, 0, counts{0, 0, 1}},
			{"at the end of the window", 750*ms - 1, 0, counts{0, 0, 1}},
			{"in the next window, of which nothing is known yet", 1250 * ms, 0, counts{0, 0, 1}},
			{"in the next window", 1250 * ms, 2, counts{1, 1, 2}},
			{"after the next window", 1750 * ms, 2, counts{2, 0, 2}},
			{"later", time.Hour, 2, counts{3600, 0, 2}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				h := newHand(time.Time{})
				h.now = 250 * ms
				l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
				if wide {
					l.widen()
				}
				l.Allow()
				d := l.Take(3)
				h.now += tt.later
				l.AllowN(tt.take)
				l.Refund(d)
				if got := l.state(); got != tt.want {
					t.Errorf("after the refund the counts are %+v, want %+v", got, tt.want)
				}
			})
		}
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
	if got, want := l.state(), (counts{5, 0, 4}); got != want {
		t.Errorf("after the refund the counts are %+v, want %+v", got, want)
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
	if got, want := l.Peek(0), (ratelimit.Decision{Allowed: true, Limit: 10, Remaining: 10}); got != want {
		t.Errorf("after refunds of more than was taken Peek(0) = %+v, want %+v", got, want)
	}
	if !l.AllowN(10) || l.Allow() {
		t.Error("after refunds of more than was taken there is not room for exactly 10")
	}
	before := l.state()
	l.Refund(l.Take(1))
	l.Refund(l.Take(0))
	if got := l.state(); got != before {
		t.Errorf("refunds of nothing change the state from %+v to %+v", before, got)
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
				before := l.state()
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
				if got := l.state(); got != before {
					t.Errorf("the state goes from %+v to %+v", before, got)
				}
				fake.Advance(2 * time.Second)
				if !l.AllowN(10) || l.Allow() {
					t.Error("afterwards the limit is not what it was")
				}
			})
		})
	}
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
	if got := l.state(); got != (counts{}) {
		t.Errorf("the state is %+v, want none", got)
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
				time.Sleep(2*time.Second - 1)
				if verb(l) {
					t.Errorf("%s admits too early", name)
				}
				time.Sleep(time.Nanosecond)
				if coarse.Now() >= 2*time.Second {
					t.Fatal("the coarse clock is not late")
				}
				if !verb(l) {
					t.Errorf("%s refuses for a late reading", name)
				}
			})
		})
	}
}

// TestRepresentation says which limits fit into one word, and packs and unpacks
// the ends of their ranges.
func TestRepresentation(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		window time.Duration
		wide   bool
	}{
		{1, 1, false},
		{1, time.Second, false},
		{100_000, time.Second, false},
		{1_000_000, time.Second, true},
		{1_000_000, time.Minute, false},
		{1_000_000, time.Hour, false},
		{1_000_000, ms, true},
		{1000, ms, false},
		{1_000_000, 366 * day, false},
		{math.MaxInt32, 366 * day, true},
		{1_000_000_000, time.Second, true},
	} {
		for _, epoch := range []time.Time{time.Unix(0, 0), time.Unix(0, -1)} {
			l := MustNew(Config{Limit: tt.limit, Window: tt.window, Clock: newHand(epoch)})
			if got := l.cell.wide != nil; got != tt.wide {
				t.Errorf("%d per %v: wide is %v, want %v", tt.limit, tt.window, got, tt.wide)
			}
			if got := l.state(); got != (counts{}) {
				t.Errorf("%d per %v: the fresh counts are %+v", tt.limit, tt.window, got)
			}
			limit, last := uint64(tt.limit), l.rule.grid.Windows()-1
			for _, s := range []counts{
				{0, 0, limit}, {0, limit, 0}, {1, limit, limit}, {last, 0, 0}, {last, limit, limit}, {last / 2, limit / 2, limit / 3},
			} {
				_, word := l.cell.load()
				if !l.cell.store(word, s) {
					t.Fatalf("%d per %v: %+v was not stored", tt.limit, tt.window, s)
				}
				got, word := l.cell.load()
				if got != s {
					t.Errorf("%d per %v: stored %+v, loaded %+v", tt.limit, tt.window, s, got)
				}
				if l.cell.store(word+2, counts{}) {
					t.Errorf("%d per %v: stored over what was not loaded", tt.limit, tt.window)
				}
			}
		}
	}
}

// TestWideLoad is overtaken by a store, and comes in the middle of one.
func TestWideLoad(t *testing.T) {
	var c cell
	c.wide = new([3]atomic.Uint64)
	_, before := c.load()
	c.store(before, counts{1, 2, 3})
	s, after := c.loadWide(before)
	if want := (counts{1, 2, 3}); s != want || after == before {
		t.Errorf("overtaken by a store, it loads %+v of version %d, want %+v of another than %d", s, after, want, before)
	}
	if c.store(before, counts{}) {
		t.Error("what was overtaken is stored")
	}

	// A store that has got no further than this.
	c.word.Add(1)
	c.wide[0].Store(4)
	loaded := make(chan counts)
	go func() {
		s, _ := c.load()
		loaded <- s
	}()
	for range 100 {
		runtime.Gosched()
	}
	select {
	case s := <-loaded:
		t.Errorf("in the middle of a store it loads %+v", s)
		return
	default:
	}
	if c.store(c.word.Load()+1, counts{}) {
		t.Error("one store begins in the middle of another")
	}
	c.wide[1].Store(5)
	c.wide[2].Store(6)
	c.word.Add(1)
	if s, want := <-loaded, (counts{4, 5, 6}); s != want {
		t.Errorf("after the store it loads %+v, want %+v", s, want)
	}
}

// TestWideSnapshot has many read the counts while others replace them. No reader
// may see a part of one and a part of another.
func TestWideSnapshot(t *testing.T) {
	var c cell
	c.wide = new([3]atomic.Uint64)
	var writers, readers sync.WaitGroup
	var stored, written atomic.Uint64
	var done atomic.Bool
	const writes = 100_000
	for range 2 {
		writers.Go(func() {
			for range writes {
				for {
					s, word := c.load()
					k := s.index + 1
					if c.store(word, counts{k, 2 * k, 3 * k}) {
						stored.Add(1)
						break
					}
				}
				written.Add(1)
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			var latest uint64
			for !done.Load() {
				s, _ := c.load()
				if s.prev != 2*s.index || s.curr != 3*s.index || s.index < latest {
					t.Errorf("read %+v after window %d", s, latest)
					return
				}
				latest = s.index
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	if s, _ := c.load(); s.index != 2*writes || stored.Load() != written.Load() {
		t.Errorf("after %d stores the counts are %+v", written.Load(), s)
	}
}

// TestWideRefusals has many refused while others undo and redo the last
// admission. The decision on more than the limit leaves must be of one state.
func TestWideRefusals(t *testing.T) {
	const limit = 1_000_000
	l := MustNew(Config{Limit: limit, Window: time.Second, Clock: newHand(time.Time{})})
	if l.cell.wide == nil {
		t.Fatal("the representation is not wide")
	}
	l.AllowN(limit - 2)
	var wg, readers sync.WaitGroup
	var done atomic.Bool
	wg.Go(func() {
		for range 20_000 {
			l.Refund(l.Take(2))
		}
	})
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				if d := l.Take(3); d.Allowed || d.Remaining != 0 && d.Remaining != 2 {
					t.Errorf("Take(3) = %+v with 0 or 2 left", d)
					return
				}
			}
		})
	}
	wg.Wait()
	done.Store(true)
	readers.Wait()
	if got, want := l.state(), (counts{curr: limit - 2}); got != want {
		t.Errorf("at the end the counts are %+v, want %+v", got, want)
	}
}

// TestWideRefusalWritesNothing looks at the version too.
func TestWideRefusalWritesNothing(t *testing.T) {
	h := newHand(time.Time{})
	l := MustNew(Config{Limit: 1_000_000, Window: time.Second, Clock: h})
	l.AllowN(1_000_000)
	before := l.cell.word.Load()
	h.now = time.Second + 1
	l.Allow()
	l.Take(1_000_000)
	l.Peek(5)
	l.Take(-1)
	l.Refund(ratelimit.Decision{N: 5})
	if got := l.cell.word.Load(); got != before {
		t.Errorf("refusals change the version from %d to %d", before, got)
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
		h.now = maxNow - 4*c.Window
		for range 3 {
			if !l.AllowN(c.Limit) || l.Allow() {
				t.Errorf("%d per %v: at %v there is not room for exactly the limit", c.Limit, c.Window, h.now)
			}
			h.now += 2 * c.Window
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
		{Config{Limit: 1e9, Window: time.Second}, ""},
		{Config{Limit: 1e6, Window: ms}, ""},
		{Config{}, "slidingwindow: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Window: time.Second}, "slidingwindow: Limit 0 is out of range [1, 1000000000]"},
		{Config{Limit: -1, Window: time.Second}, "slidingwindow: Limit -1 is out of range [1, 1000000000]"},
		{Config{Limit: math.MinInt, Window: time.Second}, fmt.Sprintf("slidingwindow: Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{Config{Limit: math.MaxInt, Window: time.Second}, fmt.Sprintf("slidingwindow: Limit %d is out of range [1, 1000000000]", math.MaxInt)},
		{Config{Limit: 2, Window: 1}, "slidingwindow: Limit 2 is out of range [1, 1]"},
		{Config{Limit: 1, Window: -1}, "slidingwindow: Window -1ns is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: minTime}, "slidingwindow: Window -2562047h47m16.854775808s is out of range"},
		{Config{Limit: 1, Window: maxTime}, "slidingwindow: Window 2562047h47m16.854775807s is out of range"},
		{Config{Limit: 1, Window: 3660*day + 1}, "slidingwindow: Window 87840h0m0.000000001s is out of range"},
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
		narrow := MustNew(Config{Limit: 1000, Window: ms, Clock: clk})
		refusing := MustNew(Config{Limit: 1, Window: 3660 * day, Clock: clk})
		refusing.Allow()
		d := granting.Take(1)
		for name, verb := range map[string]func(){
			"Allow granted":     func() { granting.Allow() },
			"Allow in one word": func() { narrow.Allow() },
			"Take in one word":  func() { narrow.Take(1) },
			"Allow refused":     func() { refusing.Allow() },
			"AllowN granted":    func() { granting.AllowN(2) },
			"AllowN refused":    func() { refusing.AllowN(2) },
			"Take granted":      func() { granting.Take(1) },
			"Take refused":      func() { refusing.Take(1) },
			"Take never":        func() { refusing.Take(-1) },
			"Peek granted":      func() { granting.Peek(1) },
			"Peek refused":      func() { refusing.Peek(1) },
			"Wait granted":      func() { granting.Wait(ctx) },
			"WaitN of 0":        func() { refusing.WaitN(ctx, 0) },
			"Refund":            func() { granting.Refund(d) },
			"Reset":             func() { granting.Reset() },
		} {
			if got := testing.AllocsPerRun(100, verb); got != 0 {
				t.Errorf("%s on a %T: %v allocations, want 0", name, clk, got)
			}
		}
	}
}
