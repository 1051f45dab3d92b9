package tokenbucket_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := tokenbucket.New(tokenbucket.Config{Limit: limit, Window: window, Burst: int(extra), Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewTokenBucket(limit, window, int(extra)), nil
	},
	Rounds: true,
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
