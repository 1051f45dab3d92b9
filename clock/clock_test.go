package clock_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// bubbleStart is the time at which every synctest bubble begins.
var bubbleStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestSystemHasAStartOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A start shared by the whole program would lie outside of the bubble,
		// decades away.
		time.Sleep(time.Hour)
		first := clock.System()
		if got := first.Now(); got != 0 {
			t.Errorf("a new clock reads %v, want 0", got)
		}
		time.Sleep(3 * time.Second)
		second := clock.System()
		time.Sleep(time.Nanosecond)
		if got, want := first.Now(), 3*time.Second+1; got != want {
			t.Errorf("after %v the clock reads %v", want, got)
		}
		if got := second.Now(); got != 1 {
			t.Errorf("a clock made 1ns ago reads %v", got)
		}
		if got, want := first.Epoch(), bubbleStart.Add(time.Hour); !got.Equal(want) {
			t.Errorf("Epoch() = %v, want %v", got, want)
		}
		if got, want := second.Epoch().Sub(first.Epoch()), 3*time.Second; got != want {
			t.Errorf("the epochs are %v apart, want %v", got, want)
		}
	})
}

// A monotonic part would make the difference to another time forget the wall
// clock.
func TestEpochIsWallTime(t *testing.T) {
	coarse := clock.NewCoarse(time.Hour)
	defer coarse.Close()
	for name, c := range map[string]clock.Clock{"System": clock.System(), "Coarse": coarse, "Fake": clock.NewFake()} {
		if got := c.Epoch(); got != got.Round(0) {
			t.Errorf("%s: Epoch() = %v has a monotonic part", name, got)
		}
	}
}

func TestSystemReadingsDoNotDecrease(t *testing.T) {
	c := clock.System()
	last := c.Now()
	for range 10_000 {
		now := c.Now()
		if now < last {
			t.Fatalf("the clock reads %v after %v", now, last)
		}
		last = now
	}
}

// TestSleep checks what all real sleeps promise.
func TestSleep(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		name       string
		d          time.Duration
		cancelled  bool
		cancel     time.Duration // if not 0, cancel the context after so long
		timeout    time.Duration // if not 0, the context's deadline
		want       error
		wantPassed time.Duration
	}{
		{name: "a second", d: time.Second, wantPassed: time.Second},
		{name: "a nanosecond", d: 1, wantPassed: 1},
		{name: "a year", d: 366 * 24 * time.Hour, wantPassed: 366 * 24 * time.Hour},
		{name: "zero", d: 0},
		{name: "negative", d: -1},
		{name: "most negative", d: math.MinInt64},
		{name: "cancelled before", d: time.Second, cancelled: true, want: context.Canceled},
		{name: "cancelled before, zero", d: 0, cancelled: true, want: context.Canceled},
		{name: "cancelled before, negative", d: -time.Second, cancelled: true, want: context.Canceled},
		{name: "cancelled meanwhile", d: time.Second, cancel: time.Second - 1, want: context.Canceled, wantPassed: time.Second - 1},
		{name: "cancelled afterwards", d: time.Second, cancel: time.Second + 1, wantPassed: time.Second},
		{name: "deadline before", d: time.Second, timeout: time.Second - 1, want: context.DeadlineExceeded, wantPassed: time.Second - 1},
		{name: "deadline afterwards", d: time.Second, timeout: time.Second + 1, wantPassed: time.Second},
		{name: "for ever", d: math.MaxInt64, timeout: time.Hour, want: context.DeadlineExceeded, wantPassed: time.Hour},
	}
	for _, kind := range []string{"System", "Coarse"} {
		for _, tt := range tests {
			t.Run(kind+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := clock.System()
					if kind == "Coarse" {
						coarse := clock.NewCoarse(24 * time.Hour)
						defer coarse.Close()
						c = coarse
					}
					ctx := context.Background()
					switch {
					case tt.cancelled:
						ctx = cancelled
					case tt.cancel > 0:
						var cancel context.CancelFunc
						ctx, cancel = context.WithCancel(ctx)
						defer time.AfterFunc(tt.cancel, cancel).Stop()
					case tt.timeout > 0:
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.timeout)
						defer cancel()
					}
					start := time.Now()
					if err := c.Sleep(ctx, tt.d); !errors.Is(err, tt.want) {
						t.Errorf("Sleep(%v) = %v, want %v", tt.d, err, tt.want)
					}
					if passed := time.Since(start); passed != tt.wantPassed {
						t.Errorf("Sleep(%v) took %v, want %v", tt.d, passed, tt.wantPassed)
					}
				})
			})
		}
	}
}
