package leakybucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
)

func Benchmark(b *testing.B) {
	limitertest.Bench(b,
		func(c clock.Clock) ratelimit.Limiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: 1e9, Window: time.Second, Capacity: 1e9, Clock: c})
		},
		func(c clock.Clock) ratelimit.Limiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
		})
}
