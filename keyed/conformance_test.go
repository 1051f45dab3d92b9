package keyed_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/algorithm"
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

// allKinds are the kinds, and one whose counts are a record though they would
// fit into a word.
func allKinds() []kind { return append([]kind{recorded}, kinds...) }

// few are a word, a record, and a record with entries.
func few() []kind { return []kind{kinds[1], recorded, kinds[4]} }

// recorded keeps a fixed window in a record.
var recorded = kind{
	name: "fixedwindow/recorded",
	config: func(limit int, window time.Duration, c clock.Clock) keyed.Config {
		return records{fixedwindow.Config{Limit: limit, Window: window, Clock: c}}
	},
	single: kinds[2].single,
	bound:  windowBound,
}

// records is the config of an algorithm whose state is one word, which it has
// put into a record of three.
type records struct{ keyed.Config }

func (r records) Algorithm(own clock.Clock) (algorithm.Algorithm, clock.Clock, error) {
	a, c, err := r.Config.Algorithm(own)
	if err != nil {
		return nil, nil, err
	}
	return record{a.(algorithm.Word)}, c, nil
}

// record keeps the word in the middle of three, the others being its complement.
type record struct{ algorithm.Word }

func (record) Words() int { return 3 }

func (r record) Start(to []uint64, now time.Duration) { r.put(to, r.Word.Start(now)) }

func (record) put(to []uint64, word uint64) { to[0], to[1], to[2] = ^word, word, ^word }

func (record) get(from []uint64) uint64 {
	if word := from[1]; from[0] == ^word && from[2] == ^word {
		return word
	}
	panic(fmt.Sprintf("the record is %x", from))
}

func (r record) Decide(from []uint64, _ *algorithm.Heap, now time.Duration, n, ahead int, take bool) ratelimit.Decision {
	word := r.get(from)
	if n < 1 || n > r.Limit() || ahead > 0 {
		return r.Answer(word, now, n, algorithm.Line{Events: ahead, Here: ahead}, n == 0)
	}
	next, ok := r.Take(word, now, n)
	if ok && take {
		r.put(from, next)
	}
	return r.Answer(next, now, n, algorithm.Line{}, ok)
}

func (r record) Until(from []uint64, _ *algorithm.Heap, now time.Duration) time.Duration {
	if _, ok := r.Take(r.get(from), now, 1); ok {
		return 0
	}
	return max(now+r.Delay(r.get(from), now, 0, 1), 0)
}

func (r record) Fresh(from []uint64, _ *algorithm.Heap, now time.Duration) bool {
	return r.Word.Fresh(r.get(from), now)
}

func (r record) Refund(from []uint64, _ *algorithm.Heap, d ratelimit.Decision) {
	r.put(from, r.Word.Refund(r.get(from), d.At, d))
}

func (r record) End(from []uint64, _ *algorithm.Heap) time.Duration {
	return r.Answer(r.get(from), 0, 0, algorithm.Line{}, true).ResetAfter
}

func (r record) Free(from []uint64, _ *algorithm.Heap) { r.get(from); clear(from) }

func TestConformance(t *testing.T) {
	for _, v := range []struct {
		name string
		new  func(config keyed.Config) ratelimit.Limiter
	}{
		{"", func(config keyed.Config) ratelimit.Limiter {
			return keyed.MustNew[string](config, keyed.Options{MaxKeys: 3}).Key("one")
		}},
		{"/exact", func(config keyed.Config) ratelimit.Limiter {
			return keyed.MustNew[string](config, keyed.Options{Exact: true}).Key("one")
		}},
		{"/only", func(config keyed.Config) ratelimit.Limiter {
			return keyed.MustNew[int](config, keyed.Options{MaxKeys: 1}).Key(1)
		}},
		{"/plan", func(config keyed.Config) ratelimit.Limiter {
			// The first plan of the table is another, under which the key is seen.
			l := keyed.MustNew[int](config, keyed.Options{MaxKeys: 2}).MustWith(config)
			l.Peek(1, 1)
			return l.Key(1)
		}},
	} {
		some := few()
		if v.name == "" {
			some = allKinds()
		} else if raced {
			some = nil // they have no code of their own
		}
		for _, k := range some {
			t.Run(k.name+v.name, func(t *testing.T) {
				limitertest.Run(t, limitertest.Subject{
					New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
						return v.new(k.config(limit, window, c))
					},
					Bound: k.bound,
					Paces: k.paces,
					Grows: k.grows,
				})
			})
		}
	}
}

// TestConformanceShared is of the limiter that keys without a place share, but
// for what a refund of such a key does.
func TestConformanceShared(t *testing.T) {
	some := few()
	if raced {
		some = some[:1]
	}
	for _, k := range some {
		t.Run(k.name, func(t *testing.T) {
			limitertest.Run(t, limitertest.Subject{
				New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
					l := keyed.MustNew[int](k.config(limit, window, c), keyed.Options{MaxKeys: 1, WhenFull: keyed.Share})
					l.NoPlaces()
					return struct{ ratelimit.Limiter }{l.Key(1)}
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
