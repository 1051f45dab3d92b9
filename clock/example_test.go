package clock_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Poll is code to be tested: it calls f every interval until ctx is done.
func Poll(ctx context.Context, c clock.Clock, interval time.Duration, f func()) error {
	for {
		f()
		if err := c.Sleep(ctx, interval); err != nil {
			return err
		}
	}
}

// The test of Poll waits until it sleeps and moves the clock, three times. It
// takes no real time, and nothing in it depends on the scheduler.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	fake := clock.NewFake()
	done := make(chan error)
	go func() {
		done <- Poll(ctx, fake, time.Hour, func() { fmt.Println("poll at", fake.Now()) })
	}()
	for range 2 {
		fake.BlockUntil(ctx, 1)
		fake.Advance(time.Hour)
	}
	fake.BlockUntil(ctx, 1)
	cancel()
	fmt.Println(<-done)
	// Output:
	// poll at 0s
	// poll at 1h0m0s
	// poll at 2h0m0s
	// context canceled
}

// A fake clock may go back, as readings do that arrive late.
func ExampleFake_Set() {
	fake := clock.NewFake()
	fake.Set(time.Hour)
	fake.Set(time.Minute)
	fmt.Println(fake.Now())
	fmt.Println(fake.Epoch().Add(fake.Now()).Format(time.DateTime))
	// Output:
	// 1m0s
	// 2000-01-01 00:01:00
}

// A coarse clock is read in the background, so that a decision hardly costs more
// than a compare-and-swap. A late reading only ever grants: before a limiter
// refuses it reads the real clock.
func ExampleCoarse() {
	coarse := clock.NewCoarse(time.Millisecond)
	defer coarse.Close()
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1_000_000, Window: time.Second, Clock: coarse})
	fmt.Println(limiter.Allow())

	late := coarse.Now()
	fmt.Println(coarse.Refresh() >= late)
	// Output:
	// true
	// true
}

// Each system clock has a start of its own.
func ExampleSystem() {
	c := clock.System()
	now := c.Now()
	fmt.Println(now >= 0, now < time.Hour)
	fmt.Println(c.Sleep(context.Background(), 0))
	// Output:
	// true true
	// <nil>
}
