package slidingwindow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/slidingwindow"
)

func Example() {
	fake := clock.NewFake() // leave Clock out for real time
	limiter, err := slidingwindow.New(slidingwindow.Config{Limit: 10, Window: time.Minute, Clock: fake})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(limiter.AllowN(10), limiter.Allow())

	// A quarter of the next window has passed, so three quarters of the ten
	// still count.
	fake.Set(75 * time.Second)
	fmt.Println(limiter.Peek(0).Remaining)
	// Output:
	// true false
	// 2
}

// Unlike a fixed window, it remembers on the other side of an edge.
func Example_edge() {
	fake := clock.NewFake()
	limiter := slidingwindow.MustNew(slidingwindow.Config{Limit: 10, Window: time.Minute, Clock: fake})
	fake.Set(time.Minute - time.Second)
	fmt.Println(fake.Now(), limiter.AllowN(10))
	fake.Set(time.Minute)
	d := limiter.Take(10)
	fmt.Println(fake.Now(), d.Allowed, d.RetryAfter)
	// Output:
	// 59s true
	// 1m0s false 1m0s
}

// How long to wait depends on how much is asked for.
func ExampleLimiter_Take() {
	fake := clock.NewFake()
	limiter := slidingwindow.MustNew(slidingwindow.Config{Limit: 10, Window: time.Minute, Clock: fake})
	limiter.AllowN(10)
	fake.Set(time.Minute)
	for _, n := range []int{1, 5, 10} {
		fmt.Println(n, limiter.Take(n).RetryAfter)
	}
	// Output:
	// 1 6s
	// 5 30s
	// 10 1m0s
}

// A refund comes off the window that was charged, also if that is the one before.
func ExampleLimiter_Refund() {
	fake := clock.NewFake()
	limiter := slidingwindow.MustNew(slidingwindow.Config{Limit: 10, Window: time.Minute, Clock: fake})
	d := limiter.Take(8)
	fake.Set(90 * time.Second)
	limiter.Allow()
	fmt.Println(limiter.Peek(0).Remaining)
	limiter.Refund(d)
	fmt.Println(limiter.Peek(0).Remaining)
	// Output:
	// 5
	// 9
}

// A test of code that waits does not sleep.
func ExampleLimiter_Wait() {
	fake := clock.NewFake()
	limiter := slidingwindow.MustNew(slidingwindow.Config{Limit: 2, Window: time.Minute, Clock: fake})
	limiter.AllowN(2)

	ctx := context.Background()
	done := make(chan error)
	go func() { done <- limiter.Wait(ctx) }()
	fake.BlockUntil(ctx, 1)
	fake.Advance(90 * time.Second) // half of the next window: the two weigh one
	fmt.Println(<-done)
	// Output:
	// <nil>
}
