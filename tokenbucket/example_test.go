package tokenbucket_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Example() {
	fake := clock.NewFake() // leave Clock out for real time
	limiter, err := tokenbucket.New(tokenbucket.Config{Limit: 10, Window: time.Second, Burst: 3, Clock: fake})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 4 {
		fmt.Println(limiter.Allow())
	}
	fake.Advance(100 * time.Millisecond)
	fmt.Println(limiter.Allow())
	// Output:
	// true
	// true
	// true
	// false
	// true
}

// The Burst is what a pause may save up. A small one smooths the traffic, a large
// one forgives whoever comes seldom.
func ExampleConfig_burst() {
	fake := clock.NewFake()
	strict := tokenbucket.MustNew(tokenbucket.Config{Limit: 60, Window: time.Minute, Burst: 1, Clock: fake})
	lenient := tokenbucket.MustNew(tokenbucket.Config{Limit: 60, Window: time.Minute, Burst: 20, Clock: fake})
	admitted := func(l *tokenbucket.Limiter) (n int) {
		for l.Allow() {
			n++
		}
		return n
	}
	fmt.Println("at once:", admitted(strict), admitted(lenient))
	fake.Advance(5 * time.Second)
	fmt.Println("after 5s:", admitted(strict), admitted(lenient))
	fake.Advance(time.Hour)
	fmt.Println("after an hour:", admitted(strict), admitted(lenient))
	// Output:
	// at once: 1 20
	// after 5s: 1 5
	// after an hour: 1 20
}

// A Retry-After header is in whole seconds. Rounded down, it would have the
// client come back too early.
func ExampleLimiter_Take_retryAfter() {
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 40, Window: time.Minute, Burst: 1, Clock: clock.NewFake()})
	limiter.Allow()

	header := make(http.Header)
	if d := limiter.Take(1); !d.Allowed && d.RetryAfter != ratelimit.Never {
		seconds := (d.RetryAfter + time.Second - 1) / time.Second
		header.Set("Retry-After", strconv.Itoa(int(seconds)))
		fmt.Println(d.RetryAfter)
	}
	fmt.Println(header.Get("Retry-After"))
	// Output:
	// 1.5s
	// 2
}

// What is larger than the burst is never admitted. It is not worth a retry.
func ExampleLimiter_Take_never() {
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1000, Window: time.Second, Burst: 100, Clock: clock.NewFake()})
	d := limiter.Take(101)
	fmt.Println(d.Allowed, d.RetryAfter == ratelimit.Never, d.Limit)

	err := limiter.WaitN(context.Background(), 101)
	fmt.Println(errors.Is(err, ratelimit.ErrExceedsLimit))
	fmt.Println(err)
	// Output:
	// false true 100
	// true
	// tokenbucket: ratelimit: can never be admitted: n is 101, Burst 100
}

// Tokens that were taken for work that was not done go back.
func ExampleLimiter_Refund() {
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 10, Window: time.Second, Clock: clock.NewFake()})
	d := limiter.Take(4)
	fmt.Println("left:", d.Remaining)
	if err := errors.New("no connection"); err != nil {
		limiter.Refund(d)
	}
	fmt.Println("left:", limiter.Peek(0).Remaining)
	// Output:
	// left: 6
	// left: 10
}

// A test of code that waits does not sleep.
func ExampleLimiter_Wait_fakeClock() {
	fake := clock.NewFake()
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: time.Hour, Clock: fake})
	limiter.Allow()

	ctx := context.Background()
	done := make(chan error)
	go func() { done <- limiter.Wait(ctx) }()
	fake.BlockUntil(ctx, 1)
	fake.Advance(time.Hour)
	fmt.Println(<-done, fake.Now())
	// Output:
	// <nil> 1h0m0s
}

// A wait that would outlast its context's deadline is given up at once.
func ExampleLimiter_Wait_deadline() {
	limiter := tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: 24 * time.Hour, Clock: clock.NewFake()})
	limiter.Allow()

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	err := limiter.Wait(ctx)
	fmt.Println(errors.Is(err, ratelimit.ErrWouldExceedDeadline), errors.Is(err, context.DeadlineExceeded), ctx.Err())
	// Output:
	// true true <nil>
}
