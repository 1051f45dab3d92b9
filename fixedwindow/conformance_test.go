package fixedwindow_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
)

func TestConformance(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return limitertest.AlignedBound(limit, window, 0, from, to)
		},
	})
}

func TestConformanceOffset(t *testing.T) {
	limitertest.Run(t, limitertest.Subject{
		New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Offset: 1e9 + 1, Clock: c})
		},
		Bound: func(limit int, window, from, to time.Duration) int {
			return limitertest.AlignedBound(limit, window, 1e9+1, from, to)
		},
	})
}

var comparison = limitertest.Comparison{
	New: func(c clock.Clock, limit int, window time.Duration, extra int64) (limitertest.Refundable, limitertest.Model, error) {
		l, err := fixedwindow.New(fixedwindow.Config{Limit: limit, Window: window, Offset: time.Duration(extra), Clock: c})
		if err != nil {
			return nil, nil, err
		}
		return l, limitertest.NewFixedWindow(limit, window, time.Duration(extra), c.Epoch()), nil
	},
}

func TestModel(t *testing.T) { comparison.Run(t) }

func FuzzModel(f *testing.F) { comparison.Fuzz(f) }
