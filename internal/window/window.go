// Package window numbers the aligned windows that the fixed and the sliding
// window count in.
package window

import (
	"time"

	"github.com/ratekeep/ratelimit/internal/span"
)

// Grid is a row of windows of one width, aligned to the Unix epoch plus an
// offset, and numbered from the one in which the clock read 0.
type Grid struct {
	width   uint64 // in nanoseconds
	phase   uint64 // how far window 0 had got when the clock read 0; below width
	windows uint64 // how many there are until the latest clock reading
}

// NewGrid returns the windows [k·width, (k+1)·width) since the Unix epoch plus
// offset, for a clock with the given epoch.
func NewGrid(width, offset time.Duration, epoch time.Time) Grid {
	// The epoch may be too far from 1970 for its nanoseconds to fit: reduce
	// modulo the width before each step.
	w := int64(width)
	phase := mod(epoch.Unix(), w)
	for range 9 {
		phase = mod10(phase, w)
	}
	phase = mod(phase+int64(epoch.Nanosecond())%w, w)
	phase = mod(phase-mod(int64(offset), w), w)
	return Grid{width: uint64(w), phase: uint64(phase), windows: (span.MaxNow+uint64(phase))/uint64(w) + 1}
}

// Windows is how many windows there are until the latest clock reading, that of
// the reading included.
func (g *Grid) Windows() uint64 { return g.windows }

// Width is the width of a window in nanoseconds.
func (g *Grid) Width() uint64 { return g.width }

// Time is the nanoseconds from the beginning of window 0 until now.
func (g *Grid) Time(now time.Duration) uint64 {
	if uint64(now) > span.MaxNow {
		now = span.Clamp(now)
	}
	return uint64(now) + g.phase
}

// Index is the window of a time.
func (g *Grid) Index(t uint64) uint64 { return t / g.width }

// Ended reports whether a window has ended by a time.
func (g *Grid) Ended(index, t uint64) bool { return t >= (index+1)*g.width }

// Left is how much of a window that has not ended is left at a time: all of it
// if the time is before it.
func (g *Grid) Left(index, t uint64) uint64 { return (index+1)*g.width - max(t, index*g.width) }

// Until is the wait from now until the window so many after index has got as
// far as elapsed; or span.Never if that is beyond the clock's range.
func (g *Grid) Until(now time.Duration, index, after, elapsed uint64) time.Duration {
	if after > g.windows || index+after > g.windows {
		return span.Never
	}
	return span.Wait(now, (index+after)*g.width+elapsed-g.phase)
}

// Charged is the window to which an admission was charged that was decided at
// now, when the wait for the end of that window was untilEnd. It is now's own
// unless now was late, or the end is beyond the clock's range.
func (g *Grid) Charged(now, untilEnd time.Duration) uint64 {
	index := g.Index(g.Time(now))
	// The sum may overflow: then it is less than now.
	if last := now + untilEnd - 1; untilEnd > 0 && untilEnd < span.Never && last >= now && last <= span.MaxNow {
		index = max(index, g.Index(g.Time(last)))
	}
	return index
}

// mod is the remainder of a/m that is not negative.
func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}

// mod10 is 10·a modulo m, for 0 ≤ a < m < 2^59.
func mod10(a, m int64) int64 {
	return (a*8%m + a*2%m) % m
}
