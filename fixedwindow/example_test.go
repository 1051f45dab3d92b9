package fixedwindow_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
)

func Example() {
	fake := clock.NewFake() // at midnight; leave Clock out for real time
	limiter, err := fixedwindow.New(fixedwindow.Config{Limit: 2, Window: time.Hour, Clock: fake})
	if err != nil {
		fmt.Println(err)
		return
	}
	fake.Advance(40 * time.Minute)
	for range 3 {
		fmt.Println(limiter.Allow())
	}
	fake.Advance(20 * time.Minute) // one o'clock
	fmt.Println(limiter.Allow())
	// Output:
	// true
	// true
	// false
	// true
}

// A quota per day begins anew at midnight UTC, unless an Offset says otherwise.
func ExampleConfig_offset() {
	fake := clock.NewFake()
	limiter := fixedwindow.MustNew(fixedwindow.Config{
		Limit:  100,
		Window: 24 * time.Hour,
		Offset: 6 * time.Hour, // days begin at 06:00 UTC
		Clock:  fake,
	})
	next := func() string {
		d := limiter.Take(100)
		return fake.Epoch().Add(d.At + d.ResetAfter).Format(time.DateTime)
	}
	fmt.Println(next())
	fake.Set(7 * time.Hour)
	fmt.Println(next())
	// Output:
	// 2000-01-01 06:00:00
	// 2000-01-02 06:00:00
}

// The price of a fixed window: as much again on the other side of an edge.
func Example_edge() {
	fake := clock.NewFake()
	limiter := fixedwindow.MustNew(fixedwindow.Config{Limit: 10, Window: time.Minute, Clock: fake})
	fake.Set(time.Minute - time.Second)
	fmt.Println(fake.Now(), limiter.AllowN(10))
	fake.Set(time.Minute)
	fmt.Println(fake.Now(), limiter.AllowN(10))
	// Output:
	// 59s true
	// 1m0s true
}

// What a client is told: how many are left, and when the quota begins anew.
func ExampleLimiter_Take() {
	fake := clock.NewFake()
	limiter := fixedwindow.MustNew(fixedwindow.Config{Limit: 60, Window: time.Minute, Clock: fake})
	fake.Advance(45 * time.Second)
	d := limiter.Take(1)
	fmt.Printf("RateLimit-Limit: %d\n", d.Limit)
	fmt.Printf("RateLimit-Remaining: %d\n", d.Remaining)
	fmt.Printf("RateLimit-Reset: %.0f\n", d.ResetAfter.Seconds())
	// Output:
	// RateLimit-Limit: 60
	// RateLimit-Remaining: 59
	// RateLimit-Reset: 15
}

// A refund counts for the window that was charged, and for no other.
func ExampleLimiter_Refund() {
	fake := clock.NewFake()
	limiter := fixedwindow.MustNew(fixedwindow.Config{Limit: 5, Window: time.Minute, Clock: fake})
	first, second := limiter.Take(2), limiter.Take(2)
	limiter.Refund(first)
	fmt.Println(limiter.Peek(0).Remaining)

	fake.Advance(time.Minute)
	limiter.Allow()
	limiter.Refund(second) // too late to matter
	fmt.Println(limiter.Peek(0).Remaining)
	// Output:
	// 3
	// 4
}

// Those who wait are served when the next window begins, in order of arrival.
func ExampleLimiter_Wait() {
	fake := clock.NewFake()
	limiter := fixedwindow.MustNew(fixedwindow.Config{Limit: 1, Window: time.Hour, Clock: fake})
	limiter.Allow()

	ctx := context.Background()
	done := make(chan error)
	go func() { done <- limiter.Wait(ctx) }()
	fake.BlockUntil(ctx, 1)
	fake.Advance(time.Hour)
	fmt.Println(<-done)
	// Output:
	// <nil>
}
