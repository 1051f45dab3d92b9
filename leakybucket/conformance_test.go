package leakybucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
)

func TestConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
		},
		Bound: limitertest.BucketBound,
		Paces: true,
	})
}

func TestConformanceCapacity(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: 2 * limit, Window: window, Capacity: limit, Clock: c})
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return limitertest.BucketBound(2*limit, window, from, to) - limit
		},
		Paces: true,
	})
}

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := leakybucket.New(leakybucket.Config{Limit: limit, Window: window, Capacity: int(extra), Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewLeakyBucket(limit, window, int(extra)), nil
	},
	MaxPerDay: 1e12,
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
