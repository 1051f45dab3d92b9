package fixedwindow_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
)

func Benchmark(b *testing.B) {
	limitertest.Bench(b,
		func(c clock.Clock) ratelimit.Limiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: 1e9, Window: time.Minute, Clock: c})
		},
		func(c clock.Clock) ratelimit.Limiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
		})
}
