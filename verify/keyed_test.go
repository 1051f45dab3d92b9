package verify

import (
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"

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

// busy is one key of a table in which others come and are forgotten during the
// history: before each call there is another key, so that the table is made anew
// every few calls, while the others call.
type busy struct {
	all  *keyed.Limiter[uint64]
	base uint64
}

const watched = 1 << 63

func (b *busy) stir() {
	for range 1 + rand.N(4) {
		other := rand.Uint64N(1 << 62)
		if b.all.Allow(other); rand.N(2) == 0 {
			b.all.Forget(other)
		}
	}
}

func (b *busy) AllowN(n int) bool             { b.stir(); return b.all.AllowN(watched, n) }
func (b *busy) Take(n int) ratelimit.Decision { b.stir(); return b.all.Take(watched, n) }
func (b *busy) Peek(n int) ratelimit.Decision { b.stir(); return b.all.Peek(watched, n) }
func (b *busy) Refund(d ratelimit.Decision)   { b.stir(); b.all.Refund(watched, d) }
func (b *busy) Reset()                        { b.stir(); b.all.Forget(watched) }

var keyedSubjects = []struct {
	name   string
	scale  int
	config func(c clock.Clock) keyed.Config
	model  limitertest.Model
}{
	{"tokenbucket", 1, func(c clock.Clock) keyed.Config {
		return tokenbucket.Config{Limit: 4, Window: window, Burst: 5, Clock: c}
	}, limitertest.NewTokenBucket(4, window, 5)},
	{"leakybucket", 1, func(c clock.Clock) keyed.Config {
		return leakybucket.Config{Limit: 4, Window: window, Capacity: 5, Clock: c}
	}, limitertest.NewLeakyBucket(4, window, 5)},
	{"fixedwindow", 1, func(c clock.Clock) keyed.Config {
		return fixedwindow.Config{Limit: 6, Window: window, Offset: 5, Clock: c}
	}, limitertest.NewFixedWindow(6, window, 5, epoch)},
	{"slidingwindow", 1, func(c clock.Clock) keyed.Config {
		return slidingwindow.Config{Limit: 6, Window: window, Clock: c}
	}, limitertest.NewSlidingWindow(6, window, epoch)},
	{"slidingwindow/wide", 10, func(c clock.Clock) keyed.Config {
		return slidingwindow.Config{Limit: 60, Window: window, Clock: c}
	}, limitertest.NewSlidingWindow(60, window, epoch)},
	{"slidinglog", 1, func(c clock.Clock) keyed.Config {
		return slidinglog.Config{Limit: 6, Window: window, Clock: c}
	}, limitertest.NewSlidingLog(6, window)},
}

// TestKeyIsLinearizable checks histories of one key of a busy table. The clock
// does not go back: what is forgotten between two readings of which the earlier
// one comes later is as good as new only at the later, which the model of a
// single limiter does not know.
func TestKeyIsLinearizable(t *testing.T) {
	for _, k := range keyedSubjects {
		renewals := int64(0)
		var last *busy
		s := subject{name: k.name, scale: k.scale, model: k.model, build: func(c clock.Clock) limiter {
			if last != nil {
				renewals += last.all.Stats().Renewals
			}
			last = &busy{all: keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 4096})}
			return last
		}}
		spec := specification(s.model)
		for _, m := range movements[:2] {
			t.Run(s.name+"/clock="+m.name, func(t *testing.T) {
				first := rand.Uint64()
				var seen summary
				for i := range *histories {
					history := s.record(first+uint64(i), m.read)
					if !porcupine.CheckOperations(spec, history) {
						t.Fatalf("history %d is not linearizable:%s", i, describe(history))
					}
					seen.add(history)
				}
				seen.check(t)
				if renewals < int64(*histories) {
					t.Errorf("the table was renewed %d times in %d histories", renewals, *histories)
				}
			})
		}
	}
}
