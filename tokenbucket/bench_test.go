package tokenbucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Benchmark(b *testing.B) {
	limitertest.Bench(b,
		func(c clock.Clock) ratelimit.Limiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: 1e9, Window: time.Second, Burst: 1e9, Clock: c})
		},
		func(c clock.Clock) ratelimit.Limiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
		})
}
