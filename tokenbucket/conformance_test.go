package tokenbucket_test

import (
	"math/rand/v2"
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

// Where a nanosecond is a whole number of units nothing is rounded, and the
// limiter is its model in every field.
func TestModelOfPowersOfTwo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		const burst = 5
		limit, window := 1<<random.IntN(10), time.Duration(1)<<(10+random.IntN(30))
		c := clock.NewFake()
		l := tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Burst: burst, Clock: c})
		model := limitertest.NewTokenBucket(limit, window, burst)
		for range 100 {
			n := random.IntN(burst + 2)
			got, want := l.Take(n), model.Take(c.Now(), n)
			if got != want {
				t.Fatalf("%d per %v: Take(%d) = %+v,\n\tof the model %+v", limit, window, n, got, want)
			}
			c.Advance(time.Duration(random.Int64N(2*int64(window)/int64(limit) + 1)))
			if random.IntN(3) == 0 {
				l.Refund(got)
				model.Refund(c.Now(), want)
			}
		}
	}
}
