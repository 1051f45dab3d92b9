package leakybucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
)

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := leakybucket.New(leakybucket.Config{Limit: limit, Window: window, Capacity: int(extra), Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewLeakyBucket(limit, window, int(extra)), nil
	},
	Rounds: true,
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
