package slidinglog_test

import (
	"math/rand/v2"
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

// A script is too short to fill the ring and to go round it.
func TestModelOfALongLog(t *testing.T) {
	const limit, window = 200, 1000 * time.Nanosecond
	random := rand.New(rand.NewPCG(1, 2))
	c := clock.NewFake()
	l := slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
	model := limitertest.NewSlidingLog(limit, window)
	var taken []ratelimit.Decision
	for range 5000 {
		c.Advance(time.Duration(random.IntN(10)))
		if random.IntN(200) == 0 {
			c.Advance(time.Duration(random.Int64N(int64(window) + 1)))
		}
		n := 1 + random.IntN(3)
		got, want := l.Take(n), model.Take(c.Now(), n)
		if got != want {
			t.Fatalf("Take(%d) = %+v,\n\tof the model %+v", n, got, want)
		}
		n = 1 + random.IntN(limit)
		if got, want := l.Peek(n), model.Peek(c.Now(), n); got != want {
			t.Fatalf("Peek(%d) = %+v,\n\tof the model %+v", n, got, want)
		}
		if got.Allowed {
			taken = append(taken, got)
		}
		if random.IntN(4) == 0 && len(taken) > 0 {
			d := taken[max(0, len(taken)-1-random.IntN(limit))]
			l.Refund(d)
			model.Refund(c.Now(), d)
		}
	}
}
