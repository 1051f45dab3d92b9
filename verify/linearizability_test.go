package verify

import (
	"flag"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

var histories = flag.Int("histories", 600, "check this many histories for each algorithm on each clock")

// subject is a limiter and the model of it. Limits and windows are powers of
// two for the buckets, whose arithmetic is exact then.
type subject struct {
	name  string
	scale int // of what is asked for: 1 to 3 times that
	build func(c clock.Clock) limiter
	model limitertest.Model
}

const window = 64 * time.Nanosecond

var subjects = []subject{
	{
		name: "tokenbucket", scale: 1,
		build: func(c clock.Clock) limiter {
			return tokenbucket.MustNew(tokenbucket.Config{Limit: 4, Window: window, Burst: 5, Clock: c})
		},
		model: limitertest.NewTokenBucket(4, window, 5),
	},
	{
		name: "leakybucket", scale: 1,
		build: func(c clock.Clock) limiter {
			return leakybucket.MustNew(leakybucket.Config{Limit: 4, Window: window, Capacity: 5, Clock: c})
		},
		model: limitertest.NewLeakyBucket(4, window, 5),
	},
	{
		name: "fixedwindow", scale: 1,
		build: func(c clock.Clock) limiter {
			return fixedwindow.MustNew(fixedwindow.Config{Limit: 6, Window: window, Offset: 5, Clock: c})
		},
		model: limitertest.NewFixedWindow(6, window, 5, epoch),
	},
	{
		name: "slidingwindow", scale: 1,
		build: func(c clock.Clock) limiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: 6, Window: window, Clock: c})
		},
		model: limitertest.NewSlidingWindow(6, window, epoch),
	},
	{
		// The counts of these windows do not fit one word.
		name: "slidingwindow/wide", scale: 10,
		build: func(c clock.Clock) limiter {
			return slidingwindow.MustNew(slidingwindow.Config{Limit: 60, Window: window, Clock: c})
		},
		model: limitertest.NewSlidingWindow(60, window, epoch),
	},
	{
		name: "slidinglog", scale: 1,
		build: func(c clock.Clock) limiter {
			return slidinglog.MustNew(slidinglog.Config{Limit: 6, Window: window, Clock: c})
		},
		model: limitertest.NewSlidingLog(6, window),
	},
}

func TestLinearizable(t *testing.T) {
	for _, s := range subjects {
		spec := specification(s.model)
		for _, m := range movements {
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
			})
		}
	}
}

// summary counts what a check has seen, for it proves nothing about calls that
// did not overlap, or were all granted.
type summary struct {
	histories, contended int
	calls, overlapping   int
	granted, refused     int
	ambiguous            int
}

func (s *summary) add(history []porcupine.Operation) {
	overlapping := 0
	for i, op := range history {
		in, out := op.Input.(call), op.Output.(answer)
		switch {
		case in.verb == peek || in.verb == refund || in.verb == reset:
		case out.allowed || out.decision.Allowed:
			s.granted++
		default:
			s.refused++
		}
		if (in.verb == allow || in.verb == refund) && len(out.readings) > 1 {
			s.ambiguous++
		}
		if overlapsWrite(history, i) {
			overlapping++
		}
	}
	s.histories++
	s.calls += len(history)
	s.overlapping += overlapping
	if overlapping > 0 {
		s.contended++
	}
}

// overlapsWrite reports whether a call overlaps one that changed the state.
func overlapsWrite(history []porcupine.Operation, i int) bool {
	a := history[i]
	for _, b := range history {
		in, out := b.Input.(call), b.Output.(answer)
		writes := in.verb == refund || in.verb == reset || in.verb != peek && (out.allowed || out.decision.Allowed)
		if writes && a.ClientId != b.ClientId && a.Call < b.Return && b.Call < a.Return {
			return true
		}
	}
	return false
}

func (s *summary) check(t *testing.T) {
	t.Helper()
	t.Logf("%d histories, %d%% with contention; of %d calls %d%% overlapped one that wrote, %d%% granted, %d%% refused, %d%% at one of several readings",
		s.histories, percent(s.contended, s.histories), s.calls, percent(s.overlapping, s.calls),
		percent(s.granted, s.calls), percent(s.refused, s.calls), percent(s.ambiguous, s.calls))
	if s.histories < 100 {
		return
	}
	if percent(s.contended, s.histories) < 50 {
		t.Errorf("in %d of %d histories no call overlapped one that wrote: the check was all but sequential", s.histories-s.contended, s.histories)
	}
	if percent(s.granted, s.calls) < 10 || percent(s.refused, s.calls) < 10 {
		t.Errorf("of %d calls %d were granted and %d refused: the check saw one of them too seldom", s.calls, s.granted, s.refused)
	}
}

func percent(part, whole int) int { return 100 * part / max(whole, 1) }

// TestBothRepresentations shows that the two sliding windows among the subjects
// keep their counts in one word and in several.
func TestBothRepresentations(t *testing.T) {
	for _, s := range subjects {
		l, ok := s.build(&recordedClock{}).(*slidingwindow.Limiter)
		if !ok {
			continue
		}
		wide := !reflect.ValueOf(l).Elem().FieldByName("cell").FieldByName("wide").IsNil()
		if want := strings.HasSuffix(s.name, "wide"); wide != want {
			t.Errorf("%s: counts in several words: %v, want %v", s.name, wide, want)
		}
	}
}
