package redislimit_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/redislimit"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	limiter, err := redislimit.New(tokenbucket.Config{Limit: 100, Window: time.Minute, Burst: 20}, client, redislimit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	switch d, err := limiter.Take(context.Background(), "alice", 1); {
	case err != nil:
		fmt.Println("the server did not decide:", err)
	case d.Allowed:
		fmt.Println("allowed,", d.Remaining, "remain")
	default:
		fmt.Println("try again in", d.RetryAfter)
	}
}

// Ten a second and a hundred an hour, in one round trip, and neither is charged
// where the other refuses.
func ExampleAll() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	second, err := redislimit.New(tokenbucket.Config{Limit: 10, Window: time.Second}, client, redislimit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	hour, err := redislimit.New(slidinglog.Config{Limit: 100, Window: time.Hour}, client, redislimit.Options{})
	if err != nil {
		log.Fatal(err)
	}
	limiter, err := redislimit.All(second, hour)
	if err != nil {
		log.Fatal(err)
	}
	if err := limiter.Wait(context.Background(), "alice"); err != nil {
		log.Fatal(err)
	}
}

// All servers that run this count together. Without the Store each counts for
// itself, in its memory.
func ExampleStore() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	limits, err := httplimit.New(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "100 per minute"}},
		Store:    redislimit.Store(client, redislimit.Options{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", limits.Middleware(http.DefaultServeMux)))
}

// While the server is away each of eight processes admits an eighth.
func ExampleOptions_fallback() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	limiter, err := redislimit.New(tokenbucket.Config{Limit: 800, Window: time.Second}, client, redislimit.Options{
		WhenDown: redislimit.Fallback,
		Share:    8,
		Timeout:  50 * time.Millisecond,
	})
	if err != nil {
		log.Fatal(err)
	}
	if ok, _ := limiter.Allow(context.Background(), "alice"); ok {
		fmt.Println("allowed")
	}
}

// A key so hot that its round trips are too many: a hundred events are taken at
// once, and each process may be that many ahead of the limit.
func ExampleOptions_lease() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	limiter, err := redislimit.New(tokenbucket.Config{Limit: 100_000, Window: time.Second}, client, redislimit.Options{Lease: 100})
	if err != nil {
		log.Fatal(err)
	}
	defer limiter.Close(context.Background())
	for range 100 {
		limiter.Allow(context.Background(), "everyone")
	}
}
