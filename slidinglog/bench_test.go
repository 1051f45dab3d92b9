package slidinglog_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidinglog"
)

func Benchmark(b *testing.B) {
	limitertest.Bench(b,
		func(c clock.Clock) ratelimit.Limiter {
			return slidinglog.MustNew(slidinglog.Config{Limit: 1e5, Window: 100 * time.Microsecond, Clock: c})
		},
		func(c clock.Clock) ratelimit.Limiter {
			return slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
		})
}
