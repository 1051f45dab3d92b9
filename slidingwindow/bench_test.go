package slidingwindow_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidingwindow"
)

func Benchmark(b *testing.B) {
	limitertest.Bench(b,
		func(c clock.Clock) ratelimit.Limiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: 1e9, Window: 3660 * 24 * time.Hour, Clock: c})
		},
		func(c clock.Clock) ratelimit.Limiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
		})
}
