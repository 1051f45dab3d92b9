package slidinglog_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidinglog"
)

func TestConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
		},
		Bound: limitertest.TrailingBound,
		Grows: true,
	})
}

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := slidinglog.New(slidinglog.Config{Limit: limit, Window: window, Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewSlidingLog(limit, window), nil
	},
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
