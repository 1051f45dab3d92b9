package span

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

const (
	maxNow  time.Duration = MaxNow
	maxTime time.Duration = math.MaxInt64
	minTime time.Duration = math.MinInt64
)

func TestCheck(t *testing.T) {
	const nanosecondsPerSecond = 1_000_000_000
	for _, tt := range []struct {
		limit  int
		window time.Duration
		want   string // part of the error; "" if there is none
	}{
		{1, 1, ""},
		{1, time.Second, ""},
		{nanosecondsPerSecond, time.Second, ""},
		{1, MaxWindow, ""},
		{math.MaxInt32, MaxWindow, ""},
		{0, time.Second, "Limit 0 is out of range [1, 1000000000]"},
		{-1, time.Second, "Limit -1 is out of range [1, 1000000000]"},
		{math.MinInt, time.Second, "is out of range [1, 1000000000]"},
		{math.MaxInt, time.Second, "is out of range [1, 1000000000]"},
		{nanosecondsPerSecond + 1, time.Second, "Limit 1000000001 is out of range [1, 1000000000]"},
		{2, 1, "Limit 2 is out of range [1, 1]"},
		{1, 0, "Window 0s is out of range [1ns, 87840h0m0s]"},
		{1, -1, "Window -1ns is out of range"},
		{1, minTime, "is out of range [1ns, 87840h0m0s]"},
		{1, MaxWindow + 1, "Window 87840h0m0.000000001s is out of range"},
		{1, maxTime, "is out of range [1ns, 87840h0m0s]"},
		{0, 0, "Window 0s is out of range"},
	} {
		err := Check(tt.limit, tt.window)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("Check(%d, %v) = %v, want %q", tt.limit, tt.window, err, tt.want)
		}
	}
}

// TestCheckAcceptsWhatIsPromised goes over the corners of the range that every
// algorithm accepts at least.
func TestCheckAcceptsWhatIsPromised(t *testing.T) {
	const day = 24 * time.Hour
	for _, limit := range []int{1, 2, 1000, 999_983, 1_000_000} {
		for _, window := range []time.Duration{time.Millisecond, time.Second, time.Hour, day, 366 * day} {
			if err := Check(limit, window); err != nil {
				t.Errorf("Check(%d, %v) = %v", limit, window, err)
			}
		}
	}
	if limit := int64(1e12); int64(int(limit)) == limit {
		if err := Check(int(limit), day); err != nil {
			t.Error(err)
		}
	}
	if years := maxNow / (365 * day); years < 15 {
		t.Errorf("the range of readings is %d years, want at least 15", years)
	}
}

func TestClamp(t *testing.T) {
	for _, tt := range []struct{ now, want time.Duration }{
		{minTime, 0}, {-1, 0}, {0, 0}, {1, 1}, {time.Hour, time.Hour},
		{maxNow - 1, maxNow - 1}, {maxNow, maxNow}, {maxNow + 1, maxNow}, {maxTime, maxNow},
	} {
		if got := Clamp(tt.now); got != tt.want {
			t.Errorf("Clamp(%d) = %d, want %d", tt.now, got, tt.want)
		}
	}
}

func TestWait(t *testing.T) {
	for _, tt := range []struct {
		now  time.Duration
		then uint64
		want time.Duration
	}{
		{0, 0, 0},
		{0, 1, 1},
		{5, 12, 7},
		{-5, 0, 5},
		{-5, 12, 17},
		{0, MaxNow, maxNow},
		{1, MaxNow, maxNow - 1},
		{maxNow - 1, MaxNow, 1},
		{maxNow, MaxNow, 0},
		{0, MaxNow + 1, Never},
		{maxNow, MaxNow + 1, Never},
		{maxTime, MaxNow + 1, Never},
		{0, math.MaxUint64, Never},
		{-maxTime, 0, maxTime},
		{minTime, MaxNow, Never},
	} {
		if got := Wait(tt.now, tt.then); got != tt.want {
			t.Errorf("Wait(%d, %d) = %d, want %d", tt.now, tt.then, got, tt.want)
		}
	}
}

// FuzzWait compares with numbers that cannot overflow.
func FuzzWait(f *testing.F) {
	f.Add(int64(0), uint64(0))
	f.Add(int64(math.MinInt64), uint64(MaxNow))
	f.Add(int64(math.MaxInt64), uint64(1))
	f.Add(int64(-1), uint64(MaxNow+1))
	f.Fuzz(func(t *testing.T, now int64, then uint64) {
		wait := new(big.Int).SetUint64(then)
		wait.Sub(wait, big.NewInt(now))
		got := Wait(time.Duration(now), then)
		switch {
		case then > MaxNow || wait.Cmp(big.NewInt(math.MaxInt64)) >= 0:
			if got != Never {
				t.Errorf("Wait(%d, %d) = %d, want Never", now, then, got)
			}
		case wait.Sign() <= 0:
			if got > 0 {
				t.Errorf("Wait(%d, %d) = %d, but it has come", now, then, got)
			}
		case int64(got) != wait.Int64():
			t.Errorf("Wait(%d, %d) = %d, want %v", now, then, got, wait)
		}
	})
}
