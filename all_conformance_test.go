package ratelimit_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func TestAllOfOneConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return ratelimit.All(tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c}))
		},
		Bound: limitertest.BucketBound,
	})
}

func TestAllOfTwoConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return ratelimit.All(
				fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Clock: c}),
				slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c}),
			)
		},
		Bound: limitertest.TrailingBound,
		Grows: true,
		Joins: true,
	})
}

func TestAllOfDifferentLimitsConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return ratelimit.All(
				tokenbucket.MustNew(tokenbucket.Config{Limit: 2 * limit, Window: window, Burst: limit, Clock: c}),
				fixedwindow.MustNew(fixedwindow.Config{Limit: 2 * limit, Window: 2 * window, Clock: c}),
			)
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return min(
				limitertest.BucketBound(2*limit, window, from, to)-limit,
				limitertest.AlignedBound(2*limit, 2*window, 0, from, to),
			)
		},
		Joins: true,
	})
}
