package gcra

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/internal/span"
)

const (
	year                  = 365 * 24 * time.Hour
	never                 = span.Never
	maxNow  time.Duration = span.MaxNow
	maxTime time.Duration = math.MaxInt64
	minTime time.Duration = math.MinInt64
)

// ints are those of the values that an int can hold: 32 bits on some machines.
func ints(values ...int64) []int {
	var fitting []int
	for _, v := range values {
		if int64(int(v)) == v {
			fitting = append(fitting, int(v))
		}
	}
	return fitting
}

func mustNew(t testing.TB, limit int, window time.Duration, burst int) Meter {
	t.Helper()
	m, err := New(limit, window, burst, "Burst")
	if err != nil {
		t.Fatalf("New(%d, %v, %d) = %v", limit, window, burst, err)
	}
	return m
}

// bucket is a meter with a state, for the tests.
type bucket struct {
	Meter
	tat uint64
}

// take admits n events if that is possible, and says when it is.
func (b *bucket) take(now time.Duration, n int) (wait time.Duration, ok bool) {
	at, conforms := b.At(now), Conforms(b.tat, b.Cost(n), b.Size())
	if at < conforms {
		return b.Until(now, conforms), false
	}
	b.tat = Admit(b.tat, at, b.Cost(n))
	return 0, true
}

// TestNew goes over a grid of limits, windows and bursts, and checks what the
// package's doc promises of every meter.
func TestNew(t *testing.T) {
	limits := ints(1, 2, 3, 7, 10, 97, 1000, 65537, 999_983, 1e6, 1e9-1, 1e9, 1<<31-1,
		1<<31, 2_147_483_659, 1e12-11, 1e12, 1e15, 1<<58, int64(span.MaxWindow))
	windows := []time.Duration{1, 2, 7, 97, 1000, 65_537, time.Millisecond, 999_999_937, time.Second, time.Minute,
		time.Hour, 24 * time.Hour, 366 * 24 * time.Hour, 1 << 58, span.MaxWindow - 1, span.MaxWindow}
	bursts := ints(1, 2, 3, 10, 97, 1000, 999_983, 1e6, 1<<31-1, 1<<31, 1e12, 1<<58, 1<<60, 1<<61-1, 1<<61, 1<<62, math.MaxInt64)
	accepted := 0
	for _, limit := range limits {
		for _, window := range windows {
			for _, burst := range bursts {
				m, err := New(limit, window, burst, "Burst")
				if int64(limit) > int64(window) {
					if err == nil {
						t.Errorf("New(%d, %v) accepts more than one event per nanosecond", limit, window)
					}
					continue
				}
				// burst·window/limit, the time in which the burst fills.
				hi, lo := bits.Mul64(uint64(burst), uint64(window))
				fill := uint64(math.MaxUint64)
				if hi < uint64(limit) {
					fill, _ = bits.Div64(hi, lo, uint64(limit))
				}
				if err != nil {
					if fill <= uint64(18*year) {
						t.Errorf("New(%d, %v, %d) = %v, but that burst fills within 18 years", limit, window, burst, err)
					}
					continue
				}
				accepted++
				checkMeter(t, m, limit, window, burst, fill <= uint64(2*year))
			}
		}
	}
	if accepted < 200 {
		t.Errorf("only %d meters of the grid were accepted", accepted)
	}
}

func checkMeter(t *testing.T, m Meter, limit int, window time.Duration, burst int, short bool) {
	t.Helper()
	name := fmt.Sprintf("New(%d, %v, %d)", limit, window, burst)
	event := m.Cost(1)
	if event == 0 || event&(event-1) != 0 {
		t.Errorf("%s: an event costs %d, want a power of two", name, event)
	}
	if m.Cost(0) != 0 || m.Cost(burst) != m.Size() || m.Cost(burst)/uint64(burst) != event {
		t.Errorf("%s: %d events cost %d, the size is %d, and one costs %d", name, burst, m.Cost(burst), m.Size(), event)
	}
	atLeast := uint64(2)
	if short {
		atLeast = 8
	}
	if got := perNanosecond(m, limit, window); got < atLeast {
		t.Errorf("%s: an event of %d units is %d units per nanosecond, want at least %d", name, event, got, atLeast)
	}
	// The word does not overflow: not the fullest bucket at the end of time, nor
	// what is added to it to find out that it is full.
	end := m.At(maxNow)
	if _, carry := bits.Add64(end, 2*m.Size(), 0); carry != 0 || 2*m.Size() < m.Size() {
		t.Errorf("%s: the end of time is at %d, the size %d: the sum overflows", name, end, m.Size())
	}
	if end > maxTAT || end+m.Size() > maxTAT {
		t.Errorf("%s: the end of time is at %d, the size %d: the sum is above %d", name, end, m.Size(), uint64(maxTAT))
	}
	for _, now := range []time.Duration{0, 1, 2, 7, time.Second, time.Hour, year, 15 * year, maxNow - 1, maxNow} {
		// now·limit·event/window
		exact := new(big.Int).Mul(big.NewInt(int64(now)), big.NewInt(int64(limit)))
		exact.Mul(exact, new(big.Int).SetUint64(event)).Div(exact, big.NewInt(int64(window)))
		diff := exact.Sub(exact, new(big.Int).SetUint64(m.At(now)))
		if !diff.IsInt64() || diff.Int64() < -1 || diff.Int64() > 1 {
			t.Errorf("%s: At(%v) = %d, off by %v units", name, now, m.At(now), diff)
		}
	}
	if got := m.At(0); got != 0 {
		t.Errorf("%s: At(0) = %d, want 0", name, got)
	}
}

// perNanosecond is how many units flow in per nanosecond, rounded down.
func perNanosecond(m Meter, limit int, window time.Duration) uint64 {
	hi, lo := bits.Mul64(uint64(limit), m.Cost(1))
	units, _ := bits.Div64(hi, lo, uint64(window))
	return units
}

func TestNewRefuses(t *testing.T) {
	const wide = bits.UintSize == 64
	tests := []struct {
		limit  int
		window time.Duration
		burst  int
		want   string
	}{
		{0, time.Second, 1, "Limit 0 is out of range [1, 1000000000]"},
		{-1, time.Second, 1, "Limit -1 is out of range [1, 1000000000]"},
		{math.MinInt, time.Second, 1, fmt.Sprintf("Limit %d is out of range [1, 1000000000]", math.MinInt)},
		{1_000_000_001, time.Second, 1, "Limit 1000000001 is out of range [1, 1000000000]"},
		{2, 1, 1, "Limit 2 is out of range [1, 1]"},
		{1, 0, 1, "Window 0s is out of range [1ns, 87840h0m0s]"},
		{1, -1, 1, "Window -1ns is out of range [1ns, 87840h0m0s]"},
		{1, minTime, 1, "is out of range [1ns, 87840h0m0s]"},
		{1, span.MaxWindow + 1, 1, "Window 87840h0m0.000000001s is out of range [1ns, 87840h0m0s]"},
		{1, maxTime, 1, "is out of range [1ns, 87840h0m0s]"},
		{1, time.Second, 0, "Burst 0 is out of range [1, "},
		{1, time.Second, -1, "Burst -1 is out of range [1, 1073741823] for 1 per 1s"},
		{1, time.Second, math.MinInt, fmt.Sprintf("Burst %d is out of range [1, 1073741823] for 1 per 1s", math.MinInt)},
	}
	if wide {
		tests = append(tests, tests[len(tests)-1])
		tests[len(tests)-1].burst, tests[len(tests)-1].want = math.MaxInt, fmt.Sprintf("Burst %d is out of range [1, 1073741823] for 1 per 1s", math.MaxInt)
	}
	for _, tt := range tests {
		_, err := New(tt.limit, tt.window, tt.burst, "Burst")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%d, %v, %d) = %v, want …%s…", tt.limit, tt.window, tt.burst, err, tt.want)
		}
	}
	if _, err := New(1, time.Second, -1, "Capacity"); err == nil || !strings.HasPrefix(err.Error(), "Capacity -1 ") {
		t.Errorf("the field is Capacity, the error %v", err)
	}
}

// TestRangeOfBurst checks that the range which an error names is the range.
func TestRangeOfBurst(t *testing.T) {
	for _, window := range []time.Duration{1, 7, time.Second, time.Hour, 366 * 24 * time.Hour, span.MaxWindow} {
		for _, limit := range ints(1, 3, 97, 1e6, 1e9, 1e12) {
			_, err := New(limit, window, 0, "Burst")
			if int64(limit) > int64(window) {
				continue
			}
			var most int
			if _, scanErr := fmt.Sscanf(err.Error(), "Burst 0 is out of range [1, %d]", &most); scanErr != nil {
				t.Errorf("%v names no range: %v", err, scanErr)
				continue
			}
			if _, err := New(limit, window, most, "Burst"); err != nil {
				t.Errorf("New(%d, %v, %d) = %v", limit, window, most, err)
			}
			if most < math.MaxInt {
				if _, err := New(limit, window, most+1, "Burst"); err == nil {
					t.Errorf("New(%d, %v, %d) accepts more than %d", limit, window, most+1, most)
				}
			}
		}
	}
}

func TestAt(t *testing.T) {
	// 4 per 16ns with room for 2 units to the nanosecond: a quarter of an event
	// per nanosecond, and a power of two, so nothing is rounded.
	m := mustNew(t, 4, 16, 4)
	perNs := m.Cost(1) / 4
	for _, tt := range []struct {
		now  time.Duration
		want uint64
	}{
		{0, 0},
		{1, perNs},
		{16, 16 * perNs},
		{maxNow - 1, uint64(maxNow-1) * perNs},
		{maxNow, uint64(maxNow) * perNs},
		{maxNow + 1, uint64(maxNow) * perNs},
		{maxTime, uint64(maxNow) * perNs},
		{-1, 0},
		{minTime, 0},
	} {
		if got := m.At(tt.now); got != tt.want {
			t.Errorf("At(%d) = %d, want %d", tt.now, got, tt.want)
		}
	}
}

// TestAtNeverGoesBack looks at neighbouring readings, where rounding shows.
func TestAtNeverGoesBack(t *testing.T) {
	for _, limit := range ints(1, 3, 7, 97, 999_983, 1e9) {
		m := mustNew(t, limit, time.Second, 1)
		for _, start := range []time.Duration{0, time.Second, time.Hour, 15 * year, maxNow - 1000} {
			for now := start; now < start+1000; now++ {
				if m.At(now+1) < m.At(now) {
					t.Fatalf("%d per second: At(%d) = %d after %d", limit, now+1, m.At(now+1), m.At(now))
				}
			}
		}
	}
}

// TestExactCadence asks for one event when exactly as much time has passed as
// it takes to flow in, starting anywhere. Rounding must not make it late.
func TestExactCadence(t *testing.T) {
	for _, window := range []time.Duration{7, 100, time.Microsecond, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour} {
		for _, limit := range ints(1, 2, 3, 7, 10, 60, 97, 100, 1000, 1e6, 1e9) {
			if int64(limit) > int64(window) {
				continue
			}
			for _, start := range []time.Duration{0, 1, 12_345_678_901, 15 * year} {
				b := bucket{Meter: mustNew(t, limit, window, limit)}
				if _, ok := b.take(start, limit); !ok {
					t.Fatalf("%d per %v: the fresh bucket is not full", limit, window)
				}
				for k := 1; k <= 20; k++ {
					// The first nanosecond by which k events have flowed in.
					due := start + (time.Duration(k)*window+time.Duration(limit)-1)/time.Duration(limit)
					if wait, ok := b.take(due, 1); !ok {
						t.Errorf("%d per %v: event %d after %v is refused at %v, for %v more", limit, window, k, start, due, wait)
						break
					}
				}
			}
		}
	}
}

func TestConformsAndAdmit(t *testing.T) {
	for _, tt := range []struct {
		name             string
		tat, cost, depth uint64
		conforms         uint64
		at, next         uint64 // admitted at at
	}{
		{"fresh, one of ten", 0, 1, 10, 0, 0, 1},
		{"fresh, all", 0, 10, 10, 0, 0, 10},
		{"fresh, later", 0, 10, 10, 0, 5, 15},
		{"full", 10, 1, 10, 1, 1, 11},
		{"full, all", 10, 10, 10, 10, 10, 20},
		{"part", 4, 6, 10, 0, 0, 10},
		{"one more than part", 4, 7, 10, 1, 1, 11},
		{"paced, empty", 0, 3, 3, 0, 0, 3},
		{"paced, not empty", 7, 3, 3, 7, 7, 10},
		{"paced, empty again", 7, 3, 3, 7, 9, 12},
		{"at the end of the range", maxTAT, 1 << 61, 1 << 61, maxTAT, maxTAT, maxTAT + 1<<61},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Conforms(tt.tat, tt.cost, tt.depth); got != tt.conforms {
				t.Errorf("Conforms(%d, %d, %d) = %d, want %d", tt.tat, tt.cost, tt.depth, got, tt.conforms)
			}
			if got := Admit(tt.tat, tt.at, tt.cost); got != tt.next {
				t.Errorf("Admit(%d, %d, %d) = %d, want %d", tt.tat, tt.at, tt.cost, got, tt.next)
			}
		})
	}
}

func TestRefund(t *testing.T) {
	for _, tt := range []struct {
		name                string
		tat, at, then, cost uint64
		want                uint64
	}{
		{"at once", 30, 20, 20, 10, 20},
		{"a part of what is there", 50, 20, 20, 10, 40},
		{"some has leaked out since", 30, 24, 20, 10, 24},
		{"all has leaked out since", 30, 30, 20, 10, 30},
		{"long ago", 30, 1000, 20, 10, 30},
		{"the clock has gone back", 30, 5, 20, 10, 20},
		{"more than there is", 5, 0, 0, 10, 0},
		{"nothing there", 0, 0, 0, 10, 0},
		{"the largest cost", 1 << 61, 0, 0, 1 << 61, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Refund(tt.tat, tt.at, tt.then, tt.cost); got != tt.want {
				t.Errorf("Refund(%d, %d, %d, %d) = %d, want %d", tt.tat, tt.at, tt.then, tt.cost, got, tt.want)
			}
		})
	}
}

// TestRefundGivesNoMoreThanWasTaken runs two buckets through the same history,
// one of which admits something that the other is not asked for. After the
// refund it must not be better off, and not worse by more than what has flowed
// in since.
func TestRefundGivesNoMoreThanWasTaken(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		var with, without, now, flowed uint64
		const cost = 100
		then := rng.Uint64N(300)
		now = then
		with, without = rng.Uint64N(500), 0
		without = with
		with = Admit(with, now, cost)
		for range rng.IntN(6) {
			d := rng.Uint64N(80)
			now += d
			flowed += d
			n := rng.Uint64N(90)
			with, without = Admit(with, now, n), Admit(without, now, n)
		}
		got := max(Refund(with, now, then, cost), now)
		if want := max(without, now); got < want || got > want+flowed {
			t.Fatalf("after the refund at %d the bucket is at %d, without the admission at %d it were at %d", now, got, then, want)
		}
	}
}

// TestUndoEverything refunds all admissions of one clock reading in any order.
func TestUndoEverything(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		b := bucket{Meter: mustNew(t, 97, time.Minute, 97)}
		now := time.Duration(rng.Int64N(int64(15 * year)))
		var taken []int
		for {
			n := 1 + rng.IntN(30)
			if _, ok := b.take(now, n); !ok {
				break
			}
			taken = append(taken, n)
		}
		rng.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
		for _, n := range taken {
			b.tat = Refund(b.tat, b.At(now), b.At(now), b.Cost(n))
		}
		if got := b.Remaining(b.tat, b.At(now)); got != 97 || b.Until(now, b.tat) != 0 {
			t.Fatalf("after everything was undone %d of 97 remain, for %v", got, b.Until(now, b.tat))
		}
	}
}

func TestRemaining(t *testing.T) {
	m := mustNew(t, 10, time.Second, 20)
	event := m.Cost(1)
	for _, tt := range []struct {
		tat, at uint64
		want    int
	}{
		{0, 0, 20},
		{0, 1 << 62, 20},
		{1, 0, 19}, // a part of an event is not there
		{event, 0, 19},
		{event + 1, 0, 18},
		{20 * event, 0, 0},
		{20 * event, 1, 0},
		{20 * event, event - 1, 0},
		{20 * event, event, 1},
		{25 * event, 0, 0}, // a reading that is late
		{maxTAT, 0, 0},
	} {
		if got := m.Remaining(tt.tat, tt.at); got != tt.want {
			t.Errorf("Remaining(%d, %d) = %d, want %d", tt.tat, tt.at, got, tt.want)
		}
	}
}

// TestBehind compares with numbers that cannot overflow.
func TestBehind(t *testing.T) {
	for _, m := range []Meter{
		mustNew(t, 10, time.Second, 20),
		mustNew(t, 1, time.Second, 1),
		mustNew(t, 1, span.MaxWindow, 1),
		mustNew(t, 7, 7, 1<<31-1),
	} {
		for _, tat := range []uint64{0, 1, 1 << 40, 1 << 61, 1 << 63, maxTAT - 1, maxTAT} {
			for _, at := range []uint64{0, 1, 1 << 62, 1 << 63, maxTAT} {
				for k := range bits.UintSize - 1 {
					n := 1<<k + k - 1
					want := new(big.Int).SetUint64(max(tat, at))
					cost := new(big.Int).SetUint64(m.Cost(1))
					want.Add(want, cost.Mul(cost, big.NewInt(int64(n))))
					if most := new(big.Int).SetUint64(maxTAT); want.Cmp(most) > 0 {
						want = most
					}
					if got := m.Behind(tat, at, n); got != want.Uint64() {
						t.Errorf("%d units an event: Behind(%d, %d, %d) = %d, want %v", m.Cost(1), tat, at, n, got, want)
					}
				}
			}
		}
	}
}

// checkUntil checks the wait for a time in units from a reading.
func checkUntil(t testing.TB, m *Meter, now time.Duration, at uint64) {
	t.Helper()
	got := m.Until(now, at)
	switch {
	case got < 0:
		t.Errorf("Until(%d, %d) = %d is negative", now, at, got)
	case m.At(now) >= at && now >= 0:
		if got != 0 {
			t.Errorf("Until(%d, %d) = %d, but it is %d by then", now, at, got, m.At(now))
		}
	case m.At(maxNow) < at:
		if got != never {
			t.Errorf("Until(%d, %d) = %d, but it is %d at the end of time", now, at, got, m.At(maxNow))
		}
	case got == never:
		if now >= 0 || now+maxNow > 0 {
			t.Errorf("Until(%d, %d) = Never, but it is %d at the end of time", now, at, m.At(maxNow))
		}
	case m.At(now+got) < at:
		t.Errorf("Until(%d, %d) = %d, but then it is %d", now, at, got, m.At(now+got))
	case got > 0 && m.At(now+got-1) >= at && now+got > 0:
		t.Errorf("Until(%d, %d) = %d, but one nanosecond before it is %d", now, at, got, m.At(now+got-1))
	}
}

func TestUntil(t *testing.T) {
	for _, window := range []time.Duration{1, 7, time.Second, time.Hour, 366 * 24 * time.Hour, span.MaxWindow} {
		for _, limit := range ints(1, 3, 7, 97, 999_983, 1e9, 1e12) {
			if int64(limit) > int64(window) {
				continue
			}
			m := mustNew(t, limit, window, 1)
			readings := []time.Duration{minTime, -maxNow, -1, 0, 1, 2, time.Second, 15 * year, maxNow - 1, maxNow, maxNow + 1, maxTime}
			for _, now := range readings {
				for _, then := range readings {
					for d := uint64(0); d < 5; d++ {
						checkUntil(t, &m, now, m.At(then)+d)
						checkUntil(t, &m, now, max(m.At(then), d)-d)
					}
				}
				checkUntil(t, &m, now, maxTAT)
			}
		}
	}
}

// FuzzUntil inverts At anywhere.
func FuzzUntil(f *testing.F) {
	f.Add(uint64(3), uint64(time.Second), int64(0), uint64(1)<<40)
	f.Add(uint64(999_983), uint64(time.Hour), int64(15*year), uint64(1)<<62)
	f.Add(uint64(0), uint64(0), int64(maxNow), uint64(maxTAT))
	f.Add(uint64(1), uint64(span.MaxWindow), int64(-1), uint64(1))
	f.Fuzz(func(t *testing.T, l, w uint64, now int64, at uint64) {
		window := 1 + time.Duration(w%uint64(span.MaxWindow))
		limit := 1 + int(l%min(uint64(window), math.MaxInt))
		m := mustNew(t, limit, window, 1)
		checkUntil(t, &m, time.Duration(now), min(at, maxTAT))
	})
}

// exact is the bucket in numbers without rounding: time in units of a
// nanosecond divided by the limit, so that an event is window of them.
type exact struct {
	limit, event, size *big.Int
	tat                *big.Int
}

func newExact(limit int, window time.Duration, burst int) *exact {
	e := &exact{limit: big.NewInt(int64(limit)), event: big.NewInt(int64(window)), tat: new(big.Int)}
	e.size = new(big.Int).Mul(e.event, big.NewInt(int64(burst)))
	return e
}

func (e *exact) at(now time.Duration) *big.Int {
	return new(big.Int).Mul(big.NewInt(int64(now)), e.limit)
}

func (e *exact) cost(n int) *big.Int { return new(big.Int).Mul(big.NewInt(int64(n)), e.event) }

// conforms reports whether n events are admitted at now.
func (e *exact) conforms(now time.Duration, n int) bool {
	at := e.at(now)
	level := e.cost(n)
	if e.tat.Cmp(at) > 0 {
		level.Add(level, e.tat).Sub(level, at)
	}
	return level.Cmp(e.size) <= 0
}

func (e *exact) admit(now time.Duration, n int) {
	if at := e.at(now); e.tat.Cmp(at) < 0 {
		e.tat.Set(at)
	}
	e.tat.Add(e.tat, e.cost(n))
}

// retry is when n events are admitted: the reading.
func (e *exact) retry(n int) *big.Int {
	x := e.cost(n)
	x.Add(x, e.tat).Sub(x, e.size).Add(x, e.limit).Sub(x, big.NewInt(1))
	return x.Div(x, e.limit) // rounded up
}

// FuzzExact compares the meter with the exact bucket, over the whole range of
// what New accepts and in any order of clock readings. What the one decides the
// other must decide too, a nanosecond sooner or later.
func FuzzExact(f *testing.F) {
	steps := make([]byte, 300)
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range steps {
		steps[i] = byte(rng.Uint32())
	}
	for _, c := range [][3]uint64{
		{0, 0, 0},
		{0, uint64(time.Second) - 1, 0},
		{2, uint64(time.Second) - 1, 2},
		{999_982, uint64(time.Second) - 1, 999_982},
		{999_999_936, uint64(time.Second) - 1, 10},
		{96, uint64(time.Minute) - 1, 1 << 40},
		{1e12 - 1, uint64(24*time.Hour) - 1, 1e12 - 1},
		{0, uint64(span.MaxWindow) - 1, 2},
		{1<<58 - 1, 1<<58 - 1, 1 << 61},
		{1 << 20, 1<<40 - 1, 1 << 15},
		{1<<20 - 1, 1<<40 - 1, 1<<15 - 1},
	} {
		f.Add(c[0], c[1], c[2], steps)
	}
	f.Fuzz(func(t *testing.T, l, w, b uint64, steps []byte) {
		window := 1 + time.Duration(w%uint64(span.MaxWindow))
		limit := 1 + int(l%min(uint64(window), math.MaxInt))
		burst := 1 + int(b%uint64(maxBurst(limit, window)))
		m, err := New(limit, window, burst, "Burst")
		if err != nil {
			t.Fatalf("New(%d, %v, %d) = %v, within the range that it names", limit, window, burst, err)
		}
		within := time.Duration(1) // the documented rounding
		if limit&(limit-1) == 0 && window&(window-1) == 0 {
			within = 0 // nothing is rounded
		}
		fast, slow := bucket{Meter: m}, newExact(limit, window, burst)
		now, latest := time.Duration(0), time.Duration(0)
		for ; len(steps) >= 3; steps = steps[3:] {
			op, arg, scale := steps[0], time.Duration(steps[1]), steps[2]
			d := arg << (scale % 52)
			n := 1
			switch op & 3 {
			case 1:
				n = 1 + int(uint64(scale)<<(arg%60)%uint64(burst))
			case 2:
				n = burst
			case 3:
				n = max(fast.Remaining(fast.tat, fast.At(now)), 1)
			}
			switch op >> 2 & 7 {
			case 0, 1: // time goes on
				now = min(now, maxTime-d) + d
			case 2: // to a nanosecond around the next admission
				then := slow.retry(n)
				if then.IsInt64() {
					now = min(max(time.Duration(then.Int64()), 0), maxNow) + arg%5 - 2
				}
			case 3: // back
				now = max(now, minTime+d) - d
			case 4: // anywhere
				now = d<<7 | d>>3
			case 5: // to an end of the range
				now = []time.Duration{0, -1, minTime, maxNow, maxNow - d, maxNow + 1, maxTime}[arg%7]
			}
			t0 := span.Clamp(now)
			late := within
			if t0 >= latest {
				late = 0 // nothing is late as long as time does not go back
			}
			tat := fast.tat
			wait, ok := fast.take(now, n)
			switch {
			case ok && !slow.conforms(t0+within, n):
				t.Fatalf("%d per %v, burst %d: at %d admits %d, too early by more than %v", limit, window, burst, now, n, within)
			case !ok && slow.conforms(t0-late, n):
				t.Fatalf("%d per %v, burst %d: at %d refuses %d, too late by more than %v", limit, window, burst, now, n, late)
			}
			if ok {
				slow.admit(t0, n)
				latest = max(latest, t0)
				if fast.tat < tat || fast.tat > maxTAT {
					t.Fatalf("%d per %v, burst %d: the state goes from %d to %d", limit, window, burst, tat, fast.tat)
				}
				if op>>5 == 7 { // undo it
					fast.tat = Refund(fast.tat, fast.At(now), fast.At(now), fast.Cost(n))
					slow.tat.Sub(slow.tat, slow.cost(n))
				}
				continue
			}
			if fast.tat != tat {
				t.Fatalf("%d per %v, burst %d: a refusal at %d changes the state", limit, window, burst, now)
			}
			checkUntil(t, &m, now, Conforms(tat, m.Cost(n), m.Size()))
			then := slow.retry(n)
			if wait != never {
				diff := then.Sub(then, big.NewInt(int64(now)))
				diff.Sub(diff, big.NewInt(int64(wait)))
				if !diff.IsInt64() || diff.Int64() < -int64(within) || diff.Int64() > int64(within) {
					t.Fatalf("%d per %v, burst %d: at %d says to wait %v for %d, off by %vns", limit, window, burst, now, wait, n, diff)
				}
			} else if then.Cmp(big.NewInt(int64(maxNow-within))) <= 0 && now >= 0 {
				t.Fatalf("%d per %v, burst %d: at %d says Never to %d, but that is at %v", limit, window, burst, now, n, then)
			}
			if rest := m.Remaining(tat, m.At(now)); rest >= n {
				t.Fatalf("%d per %v, burst %d: at %d refuses %d, but %d remain", limit, window, burst, now, n, rest)
			} else if rest > 0 {
				if _, ok := fast.take(now, rest); !ok {
					t.Fatalf("%d per %v, burst %d: at %d refuses %d, but that many remain", limit, window, burst, now, rest)
				}
				slow.admit(t0, rest)
				latest = max(latest, t0)
			}
		}
	})
}

// TestNearTheEndOfTheRange starts a bucket shortly before the end of the
// clock's range, uses it up and goes over the end, where time stands still.
func TestNearTheEndOfTheRange(t *testing.T) {
	for _, limit := range ints(1, 3, 97, 1e9) {
		b := bucket{Meter: mustNew(t, limit, time.Second, limit)}
		for _, now := range []time.Duration{maxNow - 2*time.Second, maxNow, maxNow + time.Hour, maxTime} {
			got := 0
			for got < 2*limit {
				n := min(limit, 1+limit/7)
				if _, ok := b.take(now, n); !ok {
					break
				}
				got += n
			}
			if got > limit {
				t.Errorf("%d per second: at %v %d were admitted at once", limit, now, got)
			}
			if now > maxNow && got > limit/7 {
				t.Errorf("%d per second: %d were admitted after the end of the range", limit, got)
			}
		}
		if wait, ok := b.take(maxNow, limit); ok || wait != never {
			t.Errorf("%d per second: at the end of time the wait for the next burst is %v, %v; want Never", limit, wait, ok)
		}
	}
}
