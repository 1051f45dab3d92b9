package window

import (
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/internal/span"
)

const (
	day                   = 24 * time.Hour
	maxNow  time.Duration = span.MaxNow
	maxTime time.Duration = math.MaxInt64
	minTime time.Duration = math.MinInt64
)

// model numbers the windows in numbers that cannot overflow.
type model struct {
	width, offset *big.Int
	epoch         *big.Int // nanoseconds since 1970
	first         *big.Int // the number since 1970 of the window in which the clock read 0
}

func newModel(width, offset time.Duration, epoch time.Time) *model {
	m := &model{width: big.NewInt(int64(width)), offset: big.NewInt(int64(offset))}
	m.epoch = new(big.Int).Mul(big.NewInt(epoch.Unix()), big.NewInt(1e9))
	m.epoch.Add(m.epoch, big.NewInt(int64(epoch.Nanosecond())))
	m.first, _ = m.since1970(0)
	return m
}

// since1970 is the number of the window in which now lies, as the public
// definition has it, and how far that has got.
func (m *model) since1970(now time.Duration) (k, elapsed *big.Int) {
	t := new(big.Int).Add(m.epoch, big.NewInt(int64(now)))
	t.Sub(t, m.offset)
	return new(big.Int).DivMod(t, m.width, new(big.Int)) // Euclidean: elapsed ≥ 0
}

// locate is the window's number since the clock read 0.
func (m *model) locate(now time.Duration) (index, elapsed uint64) {
	k, e := m.since1970(span.Clamp(now))
	return k.Sub(k, m.first).Uint64(), e.Uint64()
}

// locate is what the grid says to the same question.
func locate(g *Grid, now time.Duration) (index, elapsed uint64) {
	t := g.Time(now)
	index = g.Index(t)
	return index, g.Width() - g.Left(index, t)
}

// check compares grid and model at a reading and around the edges of its window.
func check(t testing.TB, width, offset time.Duration, epoch time.Time, now time.Duration) {
	t.Helper()
	g, m := NewGrid(width, offset, epoch), newModel(width, offset, epoch)
	name := fmt.Sprintf("width %d, offset %d, epoch %v", width, offset, epoch)
	if g.Width() != uint64(width) {
		t.Errorf("%s: Width() = %d", name, g.Width())
	}
	_, elapsed := m.locate(now)
	edge := span.Clamp(now) - time.Duration(elapsed)
	for _, now := range []time.Duration{now, edge - 1, edge, edge + 1, edge + width - 1, edge + width, edge + width + 1, 0, maxNow} {
		index, elapsed := locate(&g, now)
		wantIndex, wantElapsed := m.locate(now)
		if index != wantIndex || elapsed != wantElapsed {
			t.Errorf("%s: at %d the grid is %d into window %d, want %d into %d", name, now, elapsed, index, wantElapsed, wantIndex)
			return
		}
		if index >= g.Windows() {
			t.Errorf("%s: window %d, but there are only %d", name, index, g.Windows())
		}
		t0 := g.Time(now)
		for _, other := range []uint64{0, index - 1, index, index + 1} {
			if other > g.Windows() {
				continue
			}
			if got, want := g.Ended(other, t0), other < index; got != want {
				t.Errorf("%s: at %d, in window %d, Ended(%d) = %v", name, now, index, other, got)
			}
		}
		if got, want := g.Left(index+1, t0), uint64(width); got != want {
			t.Errorf("%s: at %d, in window %d, Left(%d) = %d, want all %d", name, now, index, index+1, got, want)
		}
		checkUntil(t, &g, m, now, index)
		checkCharged(t, &g, now, index)
	}
	if last, _ := m.locate(maxNow); g.Windows() != last+1 {
		t.Errorf("%s: Windows() = %d, want %d", name, g.Windows(), last+1)
	}
}

func checkUntil(t testing.TB, g *Grid, m *model, now time.Duration, index uint64) {
	t.Helper()
	_, phase := m.locate(0)
	for _, after := range []uint64{0, 1, 2, 3, g.Windows() - 1, g.Windows(), g.Windows() + 1, math.MaxInt64, math.MaxUint64} {
		for _, elapsed := range []uint64{0, 1, g.Width() / 2, g.Width()} {
			// (index + after)·width + elapsed, since window 0 began.
			then := new(big.Int).SetUint64(index)
			then.Add(then, new(big.Int).SetUint64(after)).Mul(then, m.width)
			then.Add(then, new(big.Int).SetUint64(elapsed)).Sub(then, new(big.Int).SetUint64(phase))
			wait := new(big.Int).Sub(then, big.NewInt(int64(now)))
			if wait.Sign() < 0 || then.Sign() < 0 {
				continue // nobody asks for what has passed, or was before the clock began
			}
			want := span.Never
			if then.Cmp(big.NewInt(int64(maxNow))) <= 0 && wait.IsInt64() {
				want = time.Duration(wait.Int64())
			}
			if got := g.Until(now, index, after, elapsed); got != want {
				t.Errorf("at %d in window %d of %d: Until(%d windows, %d) = %d, want %d", now, index, g.Windows(), after, elapsed, got, want)
				return
			}
		}
	}
}

// checkCharged asks for the window of an admission that was decided at now, and
// charged to that window or, now being late, to one of the next.
func checkCharged(t testing.TB, g *Grid, now time.Duration, index uint64) {
	t.Helper()
	for _, charged := range []uint64{index, index + 1, index + 2, index + 7} {
		untilEnd := g.Until(now, charged, 1, 0)
		if untilEnd == span.Never {
			continue
		}
		if got := g.Charged(now, untilEnd); got != charged {
			t.Errorf("at %d, with %d to the end of window %d: Charged = %d", now, untilEnd, charged, got)
		}
	}
	if got := g.Charged(now, span.Never); got != index {
		t.Errorf("at %d, with the end of window %d out of range: Charged = %d", now, index, got)
	}
	if got := g.Charged(now, 0); got != index {
		t.Errorf("at %d, in window %d, with no time to the end: Charged = %d", now, index, got)
	}
}

var epochs = []time.Time{
	time.Unix(0, 0),
	time.Unix(0, 1),
	time.Unix(0, -1),
	time.Unix(-5*365*24*3600, 123_456_789),
	time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC),
	{}, // year 1
	time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
	time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	time.Date(-300, 3, 1, 0, 0, 0, 0, time.UTC),
	time.Date(1677, 9, 21, 0, 12, 43, 145_224_191, time.UTC), // UnixNano ends here
	time.Date(2262, 4, 11, 23, 47, 16, 854_775_808, time.UTC),
	time.Unix(1<<40, 999_999_999),
	time.Unix(-1<<40, 0),
}

func TestGrid(t *testing.T) {
	widths := []time.Duration{1, 2, 7, 1000, 999_999_937, time.Second, time.Minute, time.Hour, day, 7 * day, 366 * day, span.MaxWindow - 1, span.MaxWindow}
	offsets := []time.Duration{0, 1, -1, 6 * time.Hour, -6 * time.Hour, day, 100_000 * day, maxTime, minTime, minTime + 1}
	for _, epoch := range epochs {
		for _, width := range widths {
			for _, offset := range offsets {
				for _, now := range []time.Duration{0, 12_345_678_901, 15 * 365 * day} {
					check(t, width, offset, epoch, now)
				}
			}
		}
	}
}

// TestGridOnTheWallClock spells some windows out.
func TestGridOnTheWallClock(t *testing.T) {
	at := func(hour, minute int) time.Time { return time.Date(2024, 5, 17, hour, minute, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name          string
		width, offset time.Duration
		epoch         time.Time
		left          time.Duration // of window 0
	}{
		{"hours", time.Hour, 0, at(10, 20), 40 * time.Minute},
		{"hours, at the edge", time.Hour, 0, at(10, 0), time.Hour},
		{"days", day, 0, at(10, 20), 13*time.Hour + 40*time.Minute},
		{"days from 06:00", day, 6 * time.Hour, at(10, 20), 19*time.Hour + 40*time.Minute},
		{"days from 06:00, early", day, 6 * time.Hour, at(5, 59), time.Minute},
		{"days from 18:00 before", day, -6 * time.Hour, at(10, 20), 7*time.Hour + 40*time.Minute},
		{"days from 06:00, three days on", day, 78 * time.Hour, at(5, 59), time.Minute},
		{"half past", time.Hour, 30 * time.Minute, at(10, 20), 10 * time.Minute},
		// 1 January 1970 was a Thursday, 17 May 2024 a Friday.
		{"weeks", 7 * day, 0, at(0, 0), 6 * day},
		{"weeks from Monday", 7 * day, 4 * day, at(0, 0), 3 * day},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := NewGrid(tt.width, tt.offset, tt.epoch)
			if got := g.Left(0, g.Time(0)); got != uint64(tt.left) {
				t.Errorf("at %v %v of the window are left, want %v", tt.epoch, time.Duration(got), tt.left)
			}
			if got := g.Until(0, 0, 1, 0); got != tt.left {
				t.Errorf("at %v the next window is %v away, want %v", tt.epoch, got, tt.left)
			}
		})
	}
}

// TestOffsetCountsModuloWidth shifts by whole widths.
func TestOffsetCountsModuloWidth(t *testing.T) {
	for _, width := range []time.Duration{1, 7, time.Minute, 97 * time.Hour} {
		for _, epoch := range epochs {
			want := NewGrid(width, 5, epoch)
			for _, k := range []time.Duration{-1000, -1, 1, 1000} {
				if got := NewGrid(width, 5+k*width, epoch); got != want {
					t.Errorf("width %v, epoch %v: %d widths make a difference: %+v, want %+v", width, epoch, k, got, want)
				}
			}
		}
	}
}

func FuzzGrid(f *testing.F) {
	f.Add(int64(time.Minute), int64(0), int64(0), int64(0), int64(0))
	f.Add(int64(time.Hour), int64(math.MinInt64), int64(-62135596800), int64(1), int64(maxNow))
	f.Add(int64(0), int64(math.MaxInt64), int64(253402300799), int64(999_999_999), int64(1))
	f.Add(int64(span.MaxWindow)-1, int64(-1), int64(1<<40), int64(5), int64(math.MaxInt64))
	f.Add(int64(7), int64(3), int64(-1<<40), int64(5), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, width, offset, sec, nsec, now int64) {
		w := 1 + time.Duration(uint64(width)%uint64(span.MaxWindow))
		epoch := time.Unix(sec%(1<<50), int64(uint64(nsec)%1e9))
		check(t, w, time.Duration(offset), epoch, time.Duration(now))
	})
}
