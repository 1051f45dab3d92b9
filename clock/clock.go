// Package clock makes time injectable: a clock is read and slept on through
// one small interface, so that code which decides by time can be driven by a
// test.
//
// [System] is the real clock. [Fake] moves when a test says so. [Coarse] is
// the real clock read in advance, for callers to whom a decision is worth more
// than the last millisecond.
//
// A reading is the time since the clock's own start, which makes it monotonic
// and one machine word. Two clocks do not share a start: compare readings of
// one clock only.
package clock

import (
	"context"
	"time"
)

// Clock tells the time since its own start, and sleeps.
// All methods are safe for concurrent use.
type Clock interface {
	// Now is the time since the clock's own start. It is monotonic: setting
	// the wall clock does not move it.
	Now() time.Duration

	// Epoch is the wall time at which Now was 0.
	Epoch() time.Time

	// Sleep returns nil once d has passed, or the context's error if ctx is
	// done first. If d is not positive it returns the context's error at once.
	Sleep(ctx context.Context, d time.Duration) error
}

// System returns a new real clock, which starts now.
//
// Each call returns a clock with a start of its own, so that a clock made
// inside a testing/synctest bubble keeps that bubble's time. A reading costs
// about half of what time.Now does. Whether the clock goes on while the machine
// is suspended is the operating system's choice; on Linux it does not.
func System() Clock {
	return &system{start: time.Now()}
}

type system struct {
	start time.Time
}

func (s *system) Now() time.Duration { return time.Since(s.start) }

func (s *system) Epoch() time.Time { return s.start.Round(0) }

func (s *system) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
