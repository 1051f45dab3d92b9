package slidinglog_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/slidinglog"
)

func Example() {
	fake := clock.NewFake() // leave Clock out for real time
	limiter, err := slidinglog.New(slidinglog.Config{Limit: 2, Window: time.Minute, Clock: fake})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, now := range []time.Duration{0, 50 * time.Second, 59 * time.Second, time.Minute, 61 * time.Second} {
		fake.Set(now)
		fmt.Println(now, limiter.Allow())
	}
	// Output:
	// 0s true
	// 50s true
	// 59s false
	// 1m0s true
	// 1m1s false
}

// There is no edge to burst astride: a minute later, and not before, there is
// room again.
func Example_edge() {
	fake := clock.NewFake()
	limiter := slidinglog.MustNew(slidinglog.Config{Limit: 10, Window: time.Minute, Clock: fake})
	fake.Set(time.Minute - time.Second)
	fmt.Println(limiter.AllowN(10))
	fake.Set(time.Minute)
	fmt.Println(limiter.Take(1).RetryAfter)
	// Output:
	// true
	// 59s
}

// RetryAfter is when the oldest events that are in the way have left the window.
func ExampleLimiter_Take() {
	fake := clock.NewFake()
	limiter := slidinglog.MustNew(slidinglog.Config{Limit: 3, Window: time.Minute, Clock: fake})
	for range 3 {
		limiter.Allow()
		fake.Advance(10 * time.Second)
	}
	for n := 1; n <= 3; n++ {
		fmt.Println(n, limiter.Take(n).RetryAfter)
	}
	// Output:
	// 1 30s
	// 2 40s
	// 3 50s
}

// An admission whose work was not done is taken out of the log.
func ExampleLimiter_Refund() {
	fake := clock.NewFake()
	limiter := slidinglog.MustNew(slidinglog.Config{Limit: 2, Window: time.Minute, Clock: fake})
	d := limiter.Take(1)
	fake.Advance(time.Second)
	limiter.Allow()
	fmt.Println(limiter.Allow())
	limiter.Refund(d)
	fmt.Println(limiter.Allow())
	// Output:
	// false
	// true
}

// A test of code that waits does not sleep.
func ExampleLimiter_Wait() {
	fake := clock.NewFake()
	limiter := slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: time.Minute, Clock: fake})
	limiter.Allow()

	ctx := context.Background()
	done := make(chan error)
	go func() { done <- limiter.Wait(ctx) }()
	fake.BlockUntil(ctx, 1)
	fake.Advance(time.Minute)
	fmt.Println(<-done)
	// Output:
	// <nil>
}
