package slidingwindow_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/slidingwindow"
)

func TestConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return limitertest.AlignedBound(limit, window, 0, from, to)
		},
	})
}

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := slidingwindow.New(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewSlidingWindow(limit, window, c.Epoch()), nil
	},
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
