package slidinglog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// row is a step of a script: n events at t, and the decision.
type row struct {
	t         time.Duration
	n         int
	allowed   bool
	remaining int
	retry     time.Duration
	reset     time.Duration
}

// state is a copy of what the limiter holds.
type state struct {
	events        []time.Duration // oldest first
	full, empty   int64
	ring, entries int
	latest        time.Duration
}

func (l *Limiter) state() state {
	l.mu.Lock()
	defer l.mu.Unlock()
	return state{
		events: contents(&l.log), full: l.fullUntil.Load(), empty: l.emptyFrom.Load(),
		ring: len(l.log.ring), entries: l.log.length, latest: l.log.latest,
	}
}

// contents are the times of all events in a log.
func contents(g *log) []time.Duration {
	var events []time.Duration
	for i := range g.length {
		for range g.at(i).total - g.totalBefore(i) {
			events = append(events, g.at(i).at)
		}
	}
	return events
}

// compareStates allows for the fields of a state not being exported.
var compareStates = cmp.AllowUnexported(state{})

func TestTake(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name   string
		c      Config
		script []row
	}{
		{"three in ten seconds", Config{Limit: 3, Window: 10 * s}, []row{
			{0, 1, true, 2, 0, 10 * s},
			{2 * s, 1, true, 1, 0, 10 * s},
			{4 * s, 2, false, 1, 6 * s, 8 * s},
			{4 * s, 3, false, 1, 8 * s, 8 * s},
			{4 * s, 1, true, 0, 0, 10 * s},
			{4 * s, 1, false, 0, 6 * s, 10 * s},
			{4 * s, 2, false, 0, 8 * s, 10 * s},
			{4 * s, 3, false, 0, 10 * s, 10 * s},
			{10*s - 1, 1, false, 0, 1, 4*s + 1},
			{10 * s, 1, true, 0, 0, 10 * s},
			{12*s - 1, 1, false, 0, 1, 8*s + 1},
			{12*s + 1, 1, true, 0, 0, 10 * s},
			{time.Hour, 3, true, 0, 0, 10 * s},
		}},
		{"several at one reading", Config{Limit: 5, Window: s}, []row{
			{0, 2, true, 3, 0, s},
			{0, 2, true, 1, 0, s},
			{100 * ms, 1, true, 0, 0, s},
			{500 * ms, 1, false, 0, 500 * ms, 600 * ms},
			{500 * ms, 4, false, 0, 500 * ms, 600 * ms},
			{500 * ms, 5, false, 0, 600 * ms, 600 * ms},
			{s, 5, false, 4, 100 * ms, 100 * ms},
			{s, 4, true, 0, 0, s},
		}},
		{"no burst astride an edge", Config{Limit: 10, Window: s}, []row{
			{s - 1, 10, true, 0, 0, s},
			{s, 1, false, 0, s - 1, s - 1},
			{2*s - 2, 1, false, 0, 1, 1},
			{2*s - 1, 10, true, 0, 0, s},
		}},
		{"none, negative and too many", Config{Limit: 2, Window: s}, []row{
			{0, 0, true, 2, 0, 0},
			{0, -1, false, 2, never, 0},
			{0, math.MinInt, false, 2, never, 0},
			{0, 3, false, 2, never, 0},
			{0, math.MaxInt, false, 2, never, 0},
			{100 * ms, 2, true, 0, 0, s},
			{100 * ms, 0, true, 0, 0, s},
			{100 * ms, -1, false, 0, never, s},
			{100 * ms, 3, false, 0, never, s},
			{5 * s, 3, false, 2, never, 0},
		}},
		{"a late reading", Config{Limit: 3, Window: 10 * s}, []row{
			{20 * s, 2, true, 1, 0, 10 * s},
			// Logged at 20 s: time does not go back behind an admission.
			{15 * s, 1, true, 0, 0, 15 * s},
			{15 * s, 1, false, 0, 15 * s, 15 * s},
			{-s, 2, false, 0, 31 * s, 31 * s},
			{30*s - 1, 1, false, 0, 1, 1},
			{30 * s, 3, true, 0, 0, 10 * s},
		}},
		{"a reading before the clock began", Config{Limit: 2, Window: s}, []row{
			{-s, 2, true, 0, 0, 2 * s},
			{minTime, 1, false, 0, never, never},
			{-1, 1, false, 0, s + 1, s + 1},
			{s, 1, true, 1, 0, s},
		}},
		{"one a nanosecond", Config{Limit: 1, Window: 1}, []row{
			{0, 1, true, 0, 0, 1},
			{0, 1, false, 0, 1, 1},
			{1, 1, true, 0, 0, 1},
			{15 * year, 1, true, 0, 0, 1},
		}},
		{"one a year", Config{Limit: 1, Window: 366 * day}, []row{
			{100 * day, 1, true, 0, 0, 366 * day},
			{466*day - 1, 1, false, 0, 1, 1},
			{466 * day, 1, true, 0, 0, 366 * day},
		}},
		{"the end of the clock's range", Config{Limit: 2, Window: s}, []row{
			{maxNow - s, 2, true, 0, 0, s},
			{maxNow - 1, 1, false, 0, 1, 1},
			{maxNow, 2, true, 0, 0, never},
			{maxTime, 1, false, 0, never, never},
			{maxTime, 2, false, 0, never, never},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand()
			tt.c.Clock = h
			l := MustNew(tt.c)
			for i, r := range tt.script {
				h.now = r.t
				want := ratelimit.Decision{Allowed: r.allowed, N: r.n, At: r.t, Limit: tt.c.Limit, Remaining: r.remaining, RetryAfter: r.retry, ResetAfter: r.reset}
				before := l.state()
				if diff := cmp.Diff(want, l.Peek(r.n)); diff != "" {
					t.Errorf("step %d: Peek(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
				}
				if diff := cmp.Diff(before, l.state(), compareStates); diff != "" {
					t.Errorf("step %d: Peek(%d) at %v changes the state: (-before +after)\n%s", i, r.n, r.t, diff)
				}
				if diff := cmp.Diff(want, l.Take(r.n)); diff != "" {
					t.Errorf("step %d: Take(%d) at %v: (-want +got)\n%s", i, r.n, r.t, diff)
				}
				if diff := cmp.Diff(before, l.state(), compareStates); diff != "" && (!r.allowed || r.n == 0) {
					t.Errorf("step %d: Take(%d) at %v admits nothing, but changes the state: (-before +after)\n%s", i, r.n, r.t, diff)
				}
			}
		})
	}
}

// TestTrillionPerDay is one entry, as long as they come at once.
func TestTrillionPerDay(t *testing.T) {
	limit := int64(1e12)
	if int64(int(limit)) != limit {
		t.Skip("an int has 32 bits")
	}
	h := newHand()
	l := MustNew(Config{Limit: int(limit), Window: day, Clock: h})
	if !l.AllowN(int(limit)-1) || !l.Allow() || l.Allow() {
		t.Error("there is not room for exactly the limit")
	}
	h.now = day - 1
	if l.Allow() {
		t.Error("admitted a nanosecond before the window is over")
	}
	h.now = day
	if !l.AllowN(int(limit)) || l.Allow() {
		t.Error("there is not room for exactly the limit in the next window")
	}
	if got := len(l.log.ring); got > 4 {
		t.Errorf("the log has room for %d entries, and needs 1", got)
	}
}

// randomBytes are a script for a fuzz target to begin with.
func randomBytes(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 11))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// TestExpired looks for every time in logs of every size.
func TestExpired(t *testing.T) {
	for entries := range 40 {
		var g log
		for i := range entries {
			g.add(time.Duration(10*i), 1, 40)
		}
		for now := time.Duration(-10); now < 410; now += 5 {
			want := 0
			for want < entries && time.Duration(10*want) <= now {
				want++
			}
			if got := g.expired(now); got != want {
				t.Errorf("of %d entries, one every 10ns, %d are expired at %v, want %d", entries, got, now, want)
			}
		}
	}
}

// FuzzLog compares the log with a slice of events.
func FuzzLog(f *testing.F) {
	f.Add(uint8(5), []byte("every entry knows the running total of events"))
	f.Add(uint8(1), []byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint8(200), slices.Repeat([]byte{7, 1, 13, 2, 4, 0, 9, 3}, 100))
	f.Add(uint8(255), slices.Repeat([]byte{1}, 2000))
	for i := range 100 {
		f.Add(uint8(i*i), randomBytes(uint64(i), 400))
	}
	f.Fuzz(func(t *testing.T, limit uint8, ops []byte) {
		most := 1 + int(limit)
		// The running total wraps in the middle of it.
		start := uint64(math.MaxUint64 - 100)
		g := log{before: start, total: start}
		var want []time.Duration
		var now time.Duration
		peak := 0
		for i := 0; i+1 < len(ops); i += 2 {
			op, arg := ops[i], int(ops[i+1])
			now += time.Duration(op >> 5)
			switch {
			case op%8 < 5: // admit
				n := min(1+arg%4, most-len(want))
				if n < 1 {
					continue
				}
				g.add(now, uint64(n), most)
				for range n {
					want = append(want, now)
				}
			case op%8 < 7: // forget
				t0 := now - time.Duration(arg%50)
				gone := 0
				for gone < len(want) && want[gone] <= t0 {
					gone++
				}
				expired := g.expired(t0)
				if got := len(want) - gone; g.events(expired) != uint64(got) {
					t.Fatalf("after %v: %d of %v are left, want %d", t0, g.events(expired), contents(&g), got)
				}
				if expired > 0 {
					g.drop(expired)
				}
				want = want[gone:]
			default: // take back
				if len(want) == 0 {
					continue
				}
				at := want[arg%len(want)]
				if arg >= 200 {
					at += time.Duration(arg%5 - 2)
				}
				n := 1 + arg%3
				g.remove(at, uint64(n))
				want = slices.DeleteFunc(slices.Clone(want), func(e time.Duration) bool {
					if e == at && n > 0 {
						n--
						return true
					}
					return false
				})
			}
			entries := len(slices.Compact(slices.Clone(want)))
			peak = max(peak, entries)
			if got := contents(&g); !slices.Equal(got, want) {
				t.Fatalf("step %d: the log is %v, want %v", i/2, got, want)
			}
			if g.length != entries {
				t.Fatalf("step %d: %d entries, want %d: events of one reading share one", i/2, g.length, entries)
			}
			if len(g.ring) > most || len(g.ring) > max(4, 2*peak) {
				t.Fatalf("step %d: room for %d entries, when there have been up to %d, and may be %d", i/2, len(g.ring), peak, most)
			}
			if len(want) == 0 {
				continue
			}
			if g.oldest() != want[0] || g.newest() != want[len(want)-1] {
				t.Fatalf("step %d: from %v to %v, want %v to %v", i/2, g.oldest(), g.newest(), want[0], want[len(want)-1])
			}
			for after := 0; after < g.length; after++ {
				skip := len(want) - int(g.events(after))
				for n := 1; n <= len(want)-skip; n++ {
					if got := g.reached(after, uint64(n)); got != want[skip+n-1] {
						t.Fatalf("step %d: event %d after %d entries was at %v, want %v", i/2, n, after, got, want[skip+n-1])
					}
				}
			}
		}
	})
}

// FuzzLimiter compares random scripts with the definition: a slice of events,
// of which those of the trailing window count.
func FuzzLimiter(f *testing.F) {
	f.Add(uint8(3), uint8(10), []byte("at most Limit events in every window of length Window, wherever it begins"))
	f.Add(uint8(0), uint8(0), []byte{1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint8(20), uint8(255), slices.Repeat([]byte{1, 6, 32, 4, 77, 9, 255}, 100))
	for i := range 100 {
		f.Add(uint8(i), uint8(i*i), randomBytes(uint64(i), 400))
	}
	f.Fuzz(func(t *testing.T, lim, win uint8, ops []byte) {
		window := 1 + time.Duration(win)
		limit := 1 + int(lim)%int(min(window, 30))
		h := newHand()
		l := MustNew(Config{Limit: limit, Window: window, Clock: h})
		var log []time.Duration
		var latest time.Duration
		var taken []ratelimit.Decision
		var loggedAt []time.Duration
		used := func(now time.Duration) (n int) {
			for _, e := range log {
				if e > now-window {
					n++
				}
			}
			return n
		}
		for i := 0; i+1 < len(ops); i += 2 {
			op, arg := ops[i], int(ops[i+1])
			if op%16 == 15 && len(taken) > 0 { // take one back
				k := arg % len(taken)
				for range taken[k].N {
					j := slices.Index(log, loggedAt[k])
					if j >= 0 {
						log = slices.Delete(log, j, j+1)
					}
				}
				l.Refund(taken[k])
				taken, loggedAt = slices.Delete(taken, k, k+1), slices.Delete(loggedAt, k, k+1)
				continue
			}
			h.now += time.Duration(op%32) - 4
			n := 1 + arg%limit
			now := max(h.now, 0, latest)
			want := used(now)+n <= limit
			then := now
			for used(then)+n > limit {
				then++
			}
			remaining := limit - used(now)
			d := l.Take(n)
			if want {
				remaining -= n
				for range n {
					log = append(log, now)
				}
				latest = now
				taken, loggedAt = append(taken, d), append(loggedAt, now)
			}
			reset := time.Duration(0)
			if used(now) > 0 {
				reset = slices.Max(log) + window - h.now
			}
			retry := then - h.now
			if want {
				retry = 0
			}
			if diff := cmp.Diff(ratelimit.Decision{Allowed: want, N: n, At: h.now, Limit: limit, Remaining: remaining, RetryAfter: retry, ResetAfter: reset}, d); diff != "" {
				t.Fatalf("%d per %v, step %d: Take(%d) at %v with %v: (-want +got)\n%s", limit, window, i/2, n, h.now, log, diff)
			}
		}
	})
}

// TestMemory is what the doc says: 16 bytes for each admission that counts, as
// many as are needed.
func TestMemory(t *testing.T) {
	const limit = 10_000
	h := newHand()
	l := MustNew(Config{Limit: limit, Window: day, Clock: h})
	if l.log.ring != nil {
		t.Error("the fresh log has memory")
	}
	for i := range limit {
		h.now = time.Duration(i)
		if !l.Allow() {
			t.Fatalf("event %d is refused", i)
		}
		if got, most := len(l.log.ring), min(limit, max(4, 2*(i+1))); got > most {
			t.Fatalf("for %d events there is room for %d, want at most %d", i+1, got, most)
		}
	}
	if got := len(l.log.ring); got != limit {
		t.Errorf("the full log has room for %d entries, want %d", got, limit)
	}
	// It goes round and round in that.
	for range 3 * limit {
		h.now += day / limit
		l.Allow()
	}
	if got := len(l.log.ring); got != limit {
		t.Errorf("the log has grown to %d entries, want %d", got, limit)
	}
	if got := testing.AllocsPerRun(limit, func() { h.now += day / limit; l.Allow() }); got != 0 {
		t.Errorf("an admission to a log that has grown makes %v allocations, want 0", got)
	}
	l.Reset()
	if l.log.ring != nil {
		t.Error("Reset keeps the memory")
	}
}

// TestNoWindowHasMore counts greedy callers in every trailing window, with
// readings in any order. What is admitted late counts from the admission before.
func TestNoWindowHasMore(t *testing.T) {
	const limit, window = 7, 97
	rng := rand.New(rand.NewPCG(8, 8))
	h := newHand()
	l := MustNew(Config{Limit: limit, Window: window, Clock: h})
	var admitted []time.Duration
	var latest time.Duration
	for range 20_000 {
		h.now += time.Duration(rng.IntN(12) - 3)
		for l.Allow() {
			latest = max(latest, h.now)
			admitted = append(admitted, latest)
		}
	}
	if len(admitted) < 1000 {
		t.Errorf("only %d were admitted", len(admitted))
	}
	for i := limit; i < len(admitted); i++ {
		if got := admitted[i] - admitted[i-limit]; got < window {
			t.Fatalf("%d were admitted within %v up to %v", limit+1, got, admitted[i])
		}
	}
}

// TestClockStartsAnywhere finds exactly the limit at any first reading.
func TestClockStartsAnywhere(t *testing.T) {
	for _, start := range []time.Duration{0, 1, -1, -5 * year, minTime, 15 * year, maxNow - time.Second, maxNow, maxTime - time.Second, maxTime} {
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
			if got, want := time.Since(start), time.Duration(i/5)*time.Second; got != want {
				t.Errorf("wait %d is over after %v, want %v", i, got, want)
			}
		}
	})
}

// wallless is a clock that nobody may ask for the wall time.
type wallless struct {
	*clock.Fake
	t *testing.T
}

func (w *wallless) Epoch() time.Time {
	w.t.Error("the log asks for the wall time")
	return time.Time{}
}

func TestWallClockIsNotRead(t *testing.T) {
	l := MustNew(Config{Limit: 1, Window: time.Second, Clock: &wallless{clock.NewFake(), t}})
	l.Allow()
	l.Peek(1)
	l.Refund(l.Take(1))
	l.Reset()
}

// TestLateRequestForgetsNothing sends a reading of long ago between two of now.
// A log that took it at its word would sort it first, and forget it first.
func TestLateRequestForgetsNothing(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 2, Window: time.Second, Clock: h})
	admitted := 0
	for _, now := range []time.Duration{5 * time.Second, 4 * time.Second, 5 * time.Second, 3 * time.Second, 6*time.Second - 1} {
		h.now = now
		if l.Allow() {
			admitted++
		}
	}
	if admitted != 2 {
		t.Errorf("admitted %d, want 2", admitted)
	}
}

// TestStaleReadingsMintNothing goes back and forth.
func TestStaleReadingsMintNothing(t *testing.T) {
	const limit, delta = 10, 500 * ms
	h := newHand()
	l := MustNew(Config{Limit: limit, Window: time.Second, Clock: h})
	admitted := 0
	for i := range 10_000 {
		h.now = time.Hour + time.Duration(i%2)*delta
		if l.Allow() {
			admitted++
		}
	}
	if admitted != limit {
		t.Errorf("admitted %d, want %d", admitted, limit)
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

// TestLongRun admits the limit evenly for years, each event at the very instant
// at which the one a limit before it is a window old.
func TestLongRun(t *testing.T) {
	for _, tt := range []struct {
		limit  int
		window time.Duration
		events int
	}{
		{7, time.Second, 500_000},
		{97, time.Minute, 500_000},
		{10_007, time.Hour, 500_000},
		{1, day, 15 * 365},
		{1, 1, 100_000},
	} {
		h := newHand()
		l := MustNew(Config{Limit: tt.limit, Window: tt.window, Clock: h})
		refused, more := 0, 0
		for i := range tt.events {
			// The i-th is due after i·window/limit, rounded up once per window.
			windows, rest := i/tt.limit, i%tt.limit
			h.now = time.Duration(windows)*tt.window + (time.Duration(rest)*tt.window+time.Duration(tt.limit)-1)/time.Duration(tt.limit)
			if !l.Allow() {
				refused++
			}
			if i >= tt.limit && l.Allow() {
				more++
			}
		}
		if refused > 0 || more > 0 {
			t.Errorf("%d per %v: of %d %d were refused, and %d more admitted", tt.limit, tt.window, tt.events, refused, more)
		}
	}
}

func TestHugeN(t *testing.T) {
	l := MustNew(Config{Limit: 20, Window: time.Second, Clock: newHand()})
	l.AllowN(5)
	before := l.state()
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
		if diff := cmp.Diff(before, l.state(), compareStates); diff != "" {
			t.Fatalf("n = %d changes the state: (-before +after)\n%s", n, diff)
		}
	}
}

// TestRefund takes out what was logged, in the middle of others.
func TestRefund(t *testing.T) {
	for _, tt := range []struct {
		name   string
		refund []int         // the first, second, third decision
		later  time.Duration // than the last of them
		want   int           // remaining of 10; 1, 2 and 3 were taken
	}{
		{"the first", []int{0}, 0, 5},
		{"one in the middle", []int{1}, 0, 6},
		{"the last", []int{2}, 0, 7},
		{"all, forwards", []int{0, 1, 2}, 0, 10},
		{"all, backwards", []int{2, 1, 0}, 0, 10},
		{"just before it is forgotten", []int{0}, 800*ms - 1, 5},
		{"when it no longer counts", []int{0}, 800 * ms, 5},
		{"long ago", []int{0, 1, 2}, time.Hour, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHand()
			l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
			var ds []ratelimit.Decision
			for n := 1; n <= 3; n++ {
				h.now = time.Hour + time.Duration(n)*100*ms
				ds = append(ds, l.Take(n))
			}
			h.now += tt.later
			for _, i := range tt.refund {
				l.Refund(ds[i])
			}
			if got := l.Peek(0).Remaining; got != tt.want {
				t.Errorf("after the refund %d remain, want %d", got, tt.want)
			}
		})
	}
}

// TestRefundOfLateReading was logged later than its reading.
func TestRefundOfLateReading(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: h})
	h.now = 5 * time.Second
	l.AllowN(4)
	for _, now := range []time.Duration{4 * time.Second, 0, -time.Hour} {
		h.now = now
		l.Refund(l.Take(2))
		if got := l.Peek(0).Remaining; got != 6 {
			t.Errorf("after a refund of what was taken at %v %d remain, want 6", now, got)
		}
	}
}

// TestRefundInAFullLog has those who refuse without the lock see it.
func TestRefundInAFullLog(t *testing.T) {
	h := newHand()
	l := MustNew(Config{Limit: 2, Window: time.Second, Clock: h})
	d := l.Take(1)
	h.now = 100 * ms
	l.Allow()
	if l.Allow() {
		t.Error("the log is not full")
	}
	l.Refund(d)
	if !l.Allow() || l.Allow() {
		t.Error("after the refund there is not room for exactly one")
	}
	if got := l.Peek(1).RetryAfter; got != time.Second {
		t.Errorf("RetryAfter = %v, want 1s: both were admitted now", got)
	}
	l.Reset()
	if !l.AllowN(2) {
		t.Error("after Reset there is no room")
	}
}

func TestRefundIsCapped(t *testing.T) {
	h := newHand()
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
	if diff := cmp.Diff(before, l.state(), compareStates); diff != "" {
		t.Errorf("refunds of nothing change the state: (-before +after)\n%s", diff)
	}
}

// TestUndoEverything refunds all admissions of one reading in any order.
func TestUndoEverything(t *testing.T) {
	h := newHand()
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
				if diff := cmp.Diff(before, l.state(), compareStates); diff != "" {
					t.Errorf("the state changes: (-before +after)\n%s", diff)
				}
				fake.Advance(time.Second)
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
	l := MustNew(Config{Limit: 10, Window: time.Second, Clock: newHand()})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, n := range []int{0, 1, 10, 11, -1} {
		if err := l.WaitN(ctx, n); err != context.Canceled {
			t.Errorf("WaitN(%d) of a cancelled context = %v", n, err)
		}
	}
	if got := l.state(); got.events != nil {
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

// TestRefusalIsOfOneState has many refused without the lock while others fill the
// log in one way and in another. The two words they read must belong together.
func TestRefusalIsOfOneState(t *testing.T) {
	h := newHand()
	h.now = 8
	l := MustNew(Config{Limit: 3, Window: 10, Clock: h})
	var writer, readers sync.WaitGroup
	var done atomic.Bool
	writer.Go(func() {
		for range 20_000 {
			l.Reset()
			l.admit(0, 2)
			l.admit(5, 1)
			l.Reset()
			l.admit(1, 2)
			l.admit(7, 1)
		}
	})
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				d := l.Peek(1)
				pair := [2]time.Duration{d.RetryAfter, d.ResetAfter}
				if !d.Allowed && pair != [2]time.Duration{2, 7} && pair != [2]time.Duration{3, 9} {
					t.Errorf("Peek(1) = %+v", d)
					return
				}
			}
		})
	}
	writer.Wait()
	done.Store(true)
	readers.Wait()
}

// TestNearTheEndOfTheRange fills the last windows there are.
func TestNearTheEndOfTheRange(t *testing.T) {
	for _, c := range []Config{
		{Limit: 1, Window: 1},
		{Limit: 1000, Window: 1000},
		{Limit: math.MaxInt32, Window: 366 * day},
	} {
		h := newHand()
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
		{Config{Limit: 1e9, Window: time.Second}, ""},
		{Config{Limit: 1e6, Window: ms}, ""},
		{Config{}, "slidinglog: Window 0s is out of range [1ns, 87840h0m0s]"},
		{Config{Window: time.Second}, "slidinglog: Limit 0 is out of range [1, 1000000000]"},
		{Config{Limit: -1, Window: time.Second}, "slidinglog: Limit -1 is out of range [1, 1000000000]"},
		{Config{Limit: math.MinInt, Window: time.Second}, fmt.Sprintf("slidinglog: Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{Config{Limit: math.MaxInt, Window: time.Second}, fmt.Sprintf("slidinglog: Limit %d is out of range [1, 1000000000]", math.MaxInt)},
		{Config{Limit: 2, Window: 1}, "slidinglog: Limit 2 is out of range [1, 1]"},
		{Config{Limit: 1, Window: -1}, "slidinglog: Window -1ns is out of range [1ns, 87840h0m0s]"},
		{Config{Limit: 1, Window: minTime}, "slidinglog: Window -2562047h47m16.854775808s is out of range"},
		{Config{Limit: 1, Window: maxTime}, "slidinglog: Window 2562047h47m16.854775807s is out of range"},
		{Config{Limit: 1, Window: 3660*day + 1}, "slidinglog: Window 87840h0m0.000000001s is out of range"},
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

// TestAllocs has the log grown before.
func TestAllocs(t *testing.T) {
	ctx := context.Background()
	for _, clk := range []clock.Clock{clock.NewFake(), clock.System()} {
		granting := MustNew(Config{Limit: 1e6, Window: ms, Clock: clk})
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
