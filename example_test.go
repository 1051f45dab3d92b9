package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Example() {
	// A strategy is swapped by changing the package's name: slidinglog.New,
	// fixedwindow.New… All configs have a Limit, a Window and a Clock.
	fake := clock.NewFake() // leave Clock out for real time
	limiter, err := tokenbucket.New(tokenbucket.Config{Limit: 2, Window: time.Second, Clock: fake})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		if d := limiter.Take(1); d.Allowed {
			fmt.Println("served,", d.Remaining, "left")
		} else {
			fmt.Println("come back in", d.RetryAfter)
		}
	}
	// Output:
	// served, 1 left
	// served, 0 left
	// come back in 500ms
}

// Two limits at once: a burst is bounded by the second, the total by the hour.
// What one of them refuses costs nothing with the other.
func ExampleAll() {
	fake := clock.NewFake()
	limiter := ratelimit.All(
		tokenbucket.MustNew(tokenbucket.Config{Limit: 5, Window: time.Second, Clock: fake}),
		fixedwindow.MustNew(fixedwindow.Config{Limit: 12, Window: time.Hour, Clock: fake}),
	)
	for range 3 {
		admitted := 0
		for limiter.Allow() {
			admitted++
		}
		fmt.Println(fake.Now(), admitted, "then wait", limiter.Peek(1).RetryAfter)
		fake.Advance(time.Second)
	}
	// Output:
	// 0s 5 then wait 200ms
	// 1s 5 then wait 200ms
	// 2s 2 then wait 59m58s
}

// Wait for all of them, in order of arrival, on their own clock.
func ExampleAll_wait() {
	fake := clock.NewFake()
	limiter := ratelimit.All(
		slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: time.Second, Clock: fake}),
		slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: time.Minute, Clock: fake}),
	)
	ctx := context.Background()
	limiter.Wait(ctx)

	done := make(chan error)
	go func() { done <- limiter.Wait(ctx) }()
	fake.BlockUntil(ctx, 1)
	fake.Advance(time.Minute)
	fmt.Println(<-done, fake.Now())
	// Output:
	// <nil> 1m0s
}

// The same trace through different strategies, without a real second passing.
func ExampleLimiter() {
	fake := clock.NewFake()
	fake.Set(59 * time.Second)
	for _, limiter := range []ratelimit.Limiter{
		tokenbucket.MustNew(tokenbucket.Config{Limit: 60, Window: time.Minute, Burst: 10, Clock: fake}),
		fixedwindow.MustNew(fixedwindow.Config{Limit: 60, Window: time.Minute, Clock: fake}),
		slidingwindow.MustNew(slidingwindow.Config{Limit: 60, Window: time.Minute, Clock: fake}),
		slidinglog.MustNew(slidinglog.Config{Limit: 60, Window: time.Minute, Clock: fake}),
	} {
		fake.Set(59 * time.Second)
		admitted := 0
		for range 3 {
			for limiter.Allow() {
				admitted++
			}
			fake.Advance(time.Second)
		}
		fmt.Printf("%T: %d in two seconds\n", limiter, admitted)
	}
	// Output:
	// *tokenbucket.Limiter: 12 in two seconds
	// *fixedwindow.Limiter: 120 in two seconds
	// *slidingwindow.Limiter: 61 in two seconds
	// *slidinglog.Limiter: 60 in two seconds
}

// Work that was admitted and not done is given back to whoever admitted it.
func ExampleRefunder() {
	var limiter ratelimit.Limiter = slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: time.Minute, Clock: clock.NewFake()})
	d := limiter.Take(1)
	if err := errors.New("the queue is closed"); err != nil {
		if r, ok := limiter.(ratelimit.Refunder); ok {
			r.Refund(d)
		}
	}
	fmt.Println(limiter.Allow())
	// Output:
	// true
}

// What a caller tells apart when a wait is given up.
func ExampleLimiter_errors() {
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: time.Hour, Clock: clock.NewFake()})
	limiter.Allow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	fmt.Println("too many:", errors.Is(limiter.WaitN(ctx, 2), ratelimit.ErrExceedsLimit))
	fmt.Println("too late:", errors.Is(limiter.WaitN(ctx, 1), ratelimit.ErrWouldExceedDeadline))
	cancel()
	fmt.Println("given up:", errors.Is(limiter.WaitN(ctx, 1), context.Canceled))
	// Output:
	// too many: true
	// too late: true
	// given up: true
}

// A limit for each client, of however many: package keyed has the details.
func Example_perClient() {
	limiter := keyed.MustNew[string](tokenbucket.Config{Limit: 2, Window: time.Minute, Clock: clock.NewFake()}, keyed.Options{})
	fmt.Println(limiter.Allow("alice"), limiter.Allow("alice"), limiter.Allow("alice"), limiter.Allow("bob"))
	// Output:
	// true true false true
}
