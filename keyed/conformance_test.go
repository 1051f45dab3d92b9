package keyed_test

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// kind is an algorithm, or a size of it that has another kind of state.
type kind struct {
	name   string
	config func(limit int, window time.Duration, c clock.Clock) keyed.Config
	single func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable
	bound  func(limit int, window, from, to time.Duration) int
	paces  bool
	grows  bool
}

var kinds = []kind{
	{
		name: "tokenbucket",
		config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
			return tokenbucket.Config{Limit: limit, Window: window, Clock: c}
		},
		single: func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c})
		},
		bound: limitertest.BucketBound,
	},
	{
		name: "leakybucket",
		config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
			return leakybucket.Config{Limit: limit, Window: window, Clock: c}
		},
		single: func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable {
			return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
		},
		bound: limitertest.BucketBound,
		paces: true,
	},
	{
		name: "fixedwindow",
		config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
			return fixedwindow.Config{Limit: limit, Window: window, Clock: c}
		},
		single: func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		bound: windowBound,
	},
	{
		name: "slidingwindow",
		config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
			return slidingwindow.Config{Limit: limit, Window: window, Clock: c}
		},
		single: func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
		},
		bound: windowBound,
	},
	{
		name: "slidinglog",
		config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
			return slidinglog.Config{Limit: limit, Window: window, Clock: c}
		},
		single: func(limit int, window time.Duration, c clock.Clock) limitertest.Refundable {
			return slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
		},
		bound: limitertest.TrailingBound,
		grows: true,
	},
}

func TestConformance(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			limitertest.Run(t, limitertest.Subject{
				New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
					return keyed.MustNew[string](k.config(limit, window, c), keyed.Options{MaxKeys: 3}).Key("one")
				},
				Bound: k.bound,
				Paces: k.paces,
				Grows: k.grows,
			})
		})
	}
}

func windowBound(limit int, window, from, to time.Duration) int {
	return limitertest.AlignedBound(limit, window, 0, from, to)
}
