package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	russell "github.com/RussellLuo/slidingwindow"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	juju "github.com/juju/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	ulule "github.com/ulule/limiter/v3"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"
)

// perSecond is what peers are given where everything is to be granted: an event
// per nanosecond, as alwaysGranted.
const perSecond = 1_000_000_000

// key is the one key of the peers that are tables of keys.
const key = "client"

// peers are other Go rate limiters, each called the way its documentation
// shows, for one event.
var peers = []impl{
	{
		name:    "x/time/rate",
		about:   "a token bucket",
		module:  "golang.org/x/time",
		hasWait: true,
		make: func(p path, _ clock.Clock) (loops, error) {
			l := rate.NewLimiter(perSecond, perSecond)
			if p == refused {
				l = rate.NewLimiter(rate.Every(day), 1)
				l.Allow()
			}
			ctx := context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if l.Allow() {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if l.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}, nil
		},
		instances: func() (func(int) any, error) {
			return func(int) any { return rate.NewLimiter(100, 100) }, nil
		},
	},
	{
		name:       "uber",
		about:      "a paced queue",
		module:     "go.uber.org/ratelimit",
		onlyGrants: true,
		make: func(_ path, _ clock.Clock) (loops, error) {
			l := uber.New(perSecond)
			return loops{allow: func(n int) (granted int) {
				for range n {
					if at := l.Take(); !at.IsZero() {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			return func(int) any { return uber.New(100) }, nil
		},
	},
	{
		name:   "juju",
		about:  "a token bucket",
		module: "github.com/juju/ratelimit",
		make: func(p path, _ clock.Clock) (loops, error) {
			l := juju.NewBucketWithQuantum(time.Millisecond, math.MaxInt32, 1_000_000)
			if p == refused {
				l = juju.NewBucket(day, 1)
				l.TakeAvailable(1)
			}
			return loops{allow: func(n int) (granted int) {
				for range n {
					if l.TakeAvailable(1) == 1 {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			return func(int) any { return juju.NewBucket(10*time.Millisecond, 100) }, nil
		},
	},
	{
		name:   "throttled",
		about:  "GCRA by key",
		module: "github.com/throttled/throttled/v2",
		perKey: true,
		make: func(p path, _ clock.Clock) (loops, error) {
			quota := throttled.RateQuota{MaxRate: throttled.PerSec(perSecond), MaxBurst: perSecond}
			if p == refused {
				quota = throttled.RateQuota{MaxRate: throttled.PerDay(1)}
			}
			l, err := newThrottled(quota)
			if err != nil {
				return loops{}, err
			}
			ctx := context.Background()
			if p == refused {
				if _, _, err := l.RateLimitCtx(ctx, key, 1); err != nil {
					return loops{}, fmt.Errorf("throttled: %w", err)
				}
			}
			return loops{allow: func(n int) (granted int) {
				for range n {
					if limited, _, err := l.RateLimitCtx(ctx, key, 1); err == nil && !limited {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			l, err := newThrottled(throttled.RateQuota{MaxRate: throttled.PerSec(100), MaxBurst: 99})
			return func(i int) any {
				l.RateLimitCtx(context.Background(), strconv.Itoa(i), 1)
				return l
			}, err
		},
	},
	{
		name:   "failsafe",
		about:  "a fixed window",
		module: "github.com/failsafe-go/failsafe-go",
		make: func(p path, _ clock.Clock) (loops, error) {
			l := ratelimiter.NewBursty[any](perSecond, time.Second)
			if p == refused {
				l = ratelimiter.NewBursty[any](1, day)
				l.TryAcquirePermit()
			}
			return loops{allow: func(n int) (granted int) {
				for range n {
					if l.TryAcquirePermit() {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			return func(int) any { return ratelimiter.NewBursty[any](100, time.Second) }, nil
		},
	},
	{
		name:   "sethvargo",
		about:  "a refilled window by key",
		module: "github.com/sethvargo/go-limiter",
		perKey: true,
		make: func(p path, _ clock.Clock) (loops, error) {
			cfg := &memorystore.Config{Tokens: perSecond, Interval: time.Second}
			if p == refused {
				cfg = &memorystore.Config{Tokens: 1, Interval: day}
			}
			l, err := memorystore.New(cfg)
			if err != nil {
				return loops{}, fmt.Errorf("sethvargo: %w", err)
			}
			ctx := context.Background()
			if p == refused {
				l.Take(ctx, key)
			}
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if _, _, _, ok, err := l.Take(ctx, key); err == nil && ok {
							granted++
						}
					}
					return granted
				},
				close: func() { l.Close(ctx) },
			}, nil
		},
		instances: func() (func(int) any, error) {
			l, err := memorystore.New(&memorystore.Config{Tokens: 100, Interval: time.Second, InitialAlloc: 1})
			return func(i int) any {
				l.Take(context.Background(), strconv.Itoa(i))
				return l
			}, err
		},
	},
	{
		name:   "ulule",
		about:  "a fixed window by key",
		module: "github.com/ulule/limiter/v3",
		perKey: true,
		make: func(p path, _ clock.Clock) (loops, error) {
			limit := ulule.Rate{Period: time.Second, Limit: perSecond}
			if p == refused {
				limit = ulule.Rate{Period: day, Limit: 1}
			}
			l := ulule.New(ululestore.NewStore(), limit)
			ctx := context.Background()
			if p == refused {
				if _, err := l.Get(ctx, key); err != nil {
					return loops{}, fmt.Errorf("ulule: %w", err)
				}
			}
			return loops{allow: func(n int) (granted int) {
				for range n {
					if c, err := l.Get(ctx, key); err == nil && !c.Reached {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			l := ulule.New(ululestore.NewStore(), ulule.Rate{Period: time.Hour, Limit: 100})
			return func(i int) any {
				l.Get(context.Background(), strconv.Itoa(i))
				return l
			}, nil
		},
	},
	{
		name:   "RussellLuo",
		about:  "a sliding window",
		module: "github.com/RussellLuo/slidingwindow",
		make: func(p path, _ clock.Clock) (loops, error) {
			window, limit := time.Second, int64(perSecond)
			if p == refused {
				window, limit = 300*day, 1
			}
			l, _ := russell.NewLimiter(window, limit, newLocalWindow)
			if p == refused {
				l.Allow()
			}
			return loops{allow: func(n int) (granted int) {
				for range n {
					if l.Allow() {
						granted++
					}
				}
				return granted
			}}, nil
		},
		instances: func() (func(int) any, error) {
			return func(int) any {
				l, _ := russell.NewLimiter(time.Second, 100, newLocalWindow)
				return l
			}, nil
		},
	},
}

const day = 24 * time.Hour

func newThrottled(quota throttled.RateQuota) (*throttled.GCRARateLimiterCtx, error) {
	store, err := memstore.NewCtx(0) // 0: no bound on the number of keys
	if err != nil {
		return nil, fmt.Errorf("throttled: %w", err)
	}
	l, err := throttled.NewGCRARateLimiterCtx(store, quota)
	if err != nil {
		return nil, fmt.Errorf("throttled: %w", err)
	}
	// By default it gives up with an error after losing ten races for the word,
	// which happens with all cores on one key.
	l.SetMaxCASAttemptsLimit(math.MaxInt)
	return l, nil
}

func newLocalWindow() (russell.Window, russell.StopFunc) { return russell.NewLocalWindow() }
