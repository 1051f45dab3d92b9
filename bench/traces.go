package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// A trace is traffic to replay: who asked when.
type trace struct {
	name  string
	about string

	// origin is the clock reading at which the trace starts, and length how
	// long it goes on. The origin is such that windows counted since the Unix
	// epoch begin where they would have begun on the wall clock.
	origin, length time.Duration

	// clients has a name for each client; every one has a limiter of its own.
	clients []string

	events []event // in order of time
}

// An event is one request.
type event struct {
	at     time.Duration // a clock reading
	client int           // an index into the trace's clients
}

// traceWindows is how many windows a built-in trace goes on for: enough for
// every strategy to settle, few enough to see each window in a picture.
const traceWindows = 24

// A generator makes the times of a built-in trace for a limit: in windows since
// the trace's start.
type generator struct {
	name, about string
	times       func(limit int, rnd *rand.Rand) []float64
}

var generators = []generator{
	{
		name:  "steady",
		about: "evenly spaced requests at 1.5 times the limit",
		times: func(limit int, _ *rand.Rand) []float64 {
			times := make([]float64, traceWindows*limit*3/2)
			for i := range times {
				times[i] = (float64(i) + 0.5) / (1.5 * float64(limit))
			}
			return times
		},
	},
	{
		name:  "poisson",
		about: "independent requests, on average exactly the limit",
		times: func(limit int, rnd *rand.Rand) []float64 {
			return poisson(nil, rnd, 0, traceWindows, float64(limit))
		},
	},
	{
		name:  "bursts",
		about: "one window in three at 3 times the limit, then silence",
		times: func(limit int, rnd *rand.Rand) (times []float64) {
			// The bursts begin in mid-window, as bursts do.
			for start := 0.5; start+1 <= traceWindows; start += 3 {
				times = poisson(times, rnd, start, start+1, 3*float64(limit))
			}
			return times
		},
	},
	{
		name:  "edge",
		about: "twice the limit at once, half just before a window's edge and half just after",
		times: func(limit int, _ *rand.Rand) (times []float64) {
			const half = 0.05 // of a window: how long each half of the burst lasts
			for edge := 4.0; edge < traceWindows; edge += 6 {
				for i := range 2 * limit {
					times = append(times, edge+half*(float64(i)+0.5-float64(limit))/float64(limit))
				}
			}
			return times
		},
	},
}

// poisson appends the times of a Poisson process of that rate in [from, to).
func poisson(times []float64, rnd *rand.Rand, from, to, rate float64) []float64 {
	for t := from + rnd.ExpFloat64()/rate; t < to; t += rnd.ExpFloat64() / rate {
		times = append(times, t)
	}
	return times
}

// generate returns the built-in trace of that name: the same one for the same
// settings and seed, whichever other traces are asked for.
func generate(name string, s settings, seed uint64) (trace, bool) {
	for i, g := range generators {
		if g.name != name {
			continue
		}
		t := trace{
			name:    g.name,
			about:   g.about,
			origin:  phase(0, s.Window),
			length:  traceWindows * s.Window,
			clients: []string{""},
		}
		for _, at := range g.times(s.Limit, rand.New(rand.NewPCG(seed, uint64(i)))) {
			// Whole windows are counted whole, so that what is a window apart is
			// exactly that, without what a float would round off.
			whole := time.Duration(at)
			part := math.Round((at-float64(whole))*1e9) / 1e9
			t.events = append(t.events, event{at: t.origin + whole*s.Window + time.Duration(part*float64(s.Window))})
		}
		slices.SortStableFunc(t.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
		return t, true
	}
	return trace{}, false
}

// phase is the smallest reading of a fake clock at which a window counted since
// the Unix epoch is as old as it is at that time since the epoch.
func phase(sinceUnix, window time.Duration) time.Duration {
	epoch := time.Duration(clock.NewFake().Epoch().UnixNano())
	p := (sinceUnix%window - epoch%window) % window
	if p < 0 {
		p += window
	}
	return p
}
