package leakybucket_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/leakybucket"
)

// sleeper is a fake clock for one goroutine: to sleep moves it.
type sleeper struct{ *clock.Fake }

func (s sleeper) Sleep(ctx context.Context, d time.Duration) error {
	s.Advance(d)
	return ctx.Err()
}

func Example() {
	limiter, err := leakybucket.New(leakybucket.Config{
		Limit:  10,
		Window: time.Second,
		Clock:  sleeper{clock.NewFake()}, // leave it out for real time
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 4 {
		if err := limiter.Wait(context.Background()); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("call at", limiter.Clock().Now())
	}
	// Output:
	// call at 0s
	// call at 100ms
	// call at 200ms
	// call at 300ms
}

// As a meter, the bucket admits at once what it has room for. As a queue, it lets
// one go when all before it has leaked out. The same traffic passes at the same
// rate, in a burst or evenly.
func Example_meterOrQueue() {
	config := leakybucket.Config{Limit: 2, Window: time.Second, Capacity: 3, Clock: sleeper{clock.NewFake()}}

	meter := leakybucket.MustNew(config)
	for range 4 {
		fmt.Println("meter:", meter.Clock().Now(), meter.Allow())
	}
	queue := leakybucket.MustNew(config)
	for range 4 {
		err := queue.Wait(context.Background())
		fmt.Println("queue:", queue.Clock().Now(), err == nil)
	}
	// Output:
	// meter: 0s true
	// meter: 0s true
	// meter: 0s true
	// meter: 0s false
	// queue: 0s true
	// queue: 500ms true
	// queue: 1s true
	// queue: 1.5s true
}

// Capacity bounds the line, and so how long anybody waits: here five seconds.
// Beyond that it is better to say no at once.
func ExampleLimiter_Wait_queueFull() {
	fake := clock.NewFake()
	limiter := leakybucket.MustNew(leakybucket.Config{Limit: 1, Window: time.Second, Capacity: 5, Clock: fake})
	ctx := context.Background()
	limiter.Wait(ctx) // need not wait, and so is not in line

	done := make(chan error)
	go func() { done <- limiter.WaitN(ctx, 5) }()
	fake.BlockUntil(ctx, 1)
	err := limiter.Wait(ctx)
	fmt.Println(errors.Is(err, ratelimit.ErrQueueFull))

	fake.Advance(time.Second)
	fmt.Println(<-done)
	// Output:
	// true
	// <nil>
}

// A Retry-After of the meter is exact.
func ExampleLimiter_Take() {
	fake := clock.NewFake()
	limiter := leakybucket.MustNew(leakybucket.Config{Limit: 1, Window: time.Minute, Capacity: 2, Clock: fake})
	fmt.Println(limiter.Take(2).Allowed)
	d := limiter.Take(1)
	fmt.Println(d.Allowed, d.RetryAfter, d.ResetAfter)
	fake.Advance(d.RetryAfter)
	fmt.Println(limiter.Take(1).Allowed)
	// Output:
	// true
	// false 1m0s 2m0s
	// true
}

// What went in and was not done comes out again.
func ExampleLimiter_Refund() {
	limiter := leakybucket.MustNew(leakybucket.Config{Limit: 3, Window: time.Second, Clock: clock.NewFake()})
	d := limiter.Take(3)
	fmt.Println(limiter.Allow())
	limiter.Refund(d)
	fmt.Println(limiter.Allow())
	// Output:
	// false
	// true
}
