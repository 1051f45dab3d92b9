package keyed_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Example() {
	// Each client may make 10 calls an hour, and 2 at once.
	limiter := keyed.MustNew[string](tokenbucket.Config{Limit: 10, Window: time.Hour, Burst: 2}, keyed.Options{})
	for _, client := range []string{"alice", "alice", "bob", "alice"} {
		fmt.Println(client, limiter.Allow(client))
	}
	// Output:
	// alice true
	// alice true
	// bob true
	// alice false
}

// A key of several parts needs no string to be built, and allocates nothing.
func Example_compositeKey() {
	type key struct {
		client netip.Addr
		route  string
	}
	limiter := keyed.MustNew[key](slidinglog.Config{Limit: 1, Window: time.Minute}, keyed.Options{})
	client := netip.MustParseAddr("192.0.2.1")
	fmt.Println(limiter.Allow(key{client, "/search"}))
	fmt.Println(limiter.Allow(key{client, "/export"}))
	fmt.Println(limiter.Allow(key{client, "/search"}))
	// Output:
	// true
	// true
	// false
}

// Those who pay may do more. A change of plan neither loses what was used nor
// gives a fresh burst.
func ExampleLimiter_With() {
	fake := clock.NewFake()
	free := keyed.MustNew[string](fixedwindow.Config{Limit: 3, Window: 24 * time.Hour, Clock: fake}, keyed.Options{})
	paid := free.MustWith(fixedwindow.Config{Limit: 100, Window: 24 * time.Hour})

	fmt.Println(free.Take("alice", 3).Remaining)
	fmt.Println(free.Allow("alice"))
	fmt.Println(paid.Take("alice", 1).Remaining) // she pays from now on
	// Output:
	// 0
	// false
	// 96
}

// Several limits of a key are one that admits when all of them do, and charges
// none of them otherwise.
func ExampleLimiter_Key() {
	perHour := keyed.MustNew[string](tokenbucket.Config{Limit: 2, Window: time.Hour}, keyed.Options{})
	perDay := keyed.MustNew[string](tokenbucket.Config{Limit: 10, Window: 24 * time.Hour}, keyed.Options{})

	both := ratelimit.All(perHour.Key("alice"), perDay.Key("alice"))
	fmt.Println(both.Allow(), both.Allow(), both.Allow())
	fmt.Println(perDay.Peek("alice", 0).Remaining)
	// Output:
	// true true false
	// 8
}

// Who is held up right now? Names need Options.Exact.
func ExampleLimiter_Busiest() {
	limiter := keyed.MustNew[string](tokenbucket.Config{Limit: 4, Window: time.Minute, Clock: clock.NewFake()}, keyed.Options{Exact: true})
	for client, calls := range map[string]int{"alice": 1, "bob": 3, "carol": 9} {
		for range calls {
			limiter.Allow(client)
		}
	}
	for client, d := range limiter.Busiest(2) {
		fmt.Printf("%s: admitted %t, retry after %v\n", client, d.Allowed, d.RetryAfter)
	}
	// Output:
	// carol: admitted false, retry after 15s
	// bob: admitted true, retry after 0s
}
