// Package span holds the ranges that all five algorithms share: of clock
// readings, of windows, and of the events in a window.
package span

import (
	"fmt"
	"math"
	"time"
)

const (
	// NowBits is the size of a clock reading.
	NowBits = 59

	// MaxNow is the latest clock reading that is told from the one before:
	// 18 years. Readings outside of [0, MaxNow] count as its nearer end, where
	// time stands still and nothing more flows in.
	MaxNow = 1<<NowBits - 1

	// MaxWindow is ten years of 366 days.
	MaxWindow = 3660 * 24 * time.Hour

	// Never is ratelimit.Never.
	Never time.Duration = math.MaxInt64
)

// Check returns an error that names the field, its value and the range, unless
// every algorithm can represent limit events per window.
func Check(limit int, window time.Duration) error {
	if window < 1 || window > MaxWindow {
		return fmt.Errorf("%s %v is out of range [1ns, %v]", "Window", window, MaxWindow)
	}
	if limit < 1 || int64(limit) > int64(window) {
		return fmt.Errorf("%s %d is out of range [1, %d], an event per nanosecond of the Window %v", "Limit", limit, min(int64(window), math.MaxInt), window)
	}
	return nil
}

// Clamp is the end of [0, MaxNow] that is nearer to now.
func Clamp(now time.Duration) time.Duration {
	return min(max(now, 0), MaxNow)
}

// Wait is the time from now, which may be outside of the range, until then: 0 if
// that has come, Never if it is beyond the range.
func Wait(now time.Duration, then uint64) time.Duration {
	if then > MaxNow {
		return Never
	}
	if now < 0 {
		return time.Duration(min(then-uint64(now), uint64(Never)))
	}
	return max(time.Duration(then)-now, 0)
}
