package tokenbucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func TestConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c})
		},
		Bound: limitertest.BucketBound,
	})
}

func TestConformanceBurst(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: 2 * limit, Window: window, Burst: limit, Clock: c})
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return limitertest.BucketBound(2*limit, window, from, to) - limit
		},
	})
}

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := tokenbucket.New(tokenbucket.Config{Limit: limit, Window: window, Burst: int(extra), Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewTokenBucket(limit, window, int(extra)), nil
	},
	MaxPerDay: 1e12,
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
