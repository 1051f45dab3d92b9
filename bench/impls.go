package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// settings is what the user limits: the same for every strategy.
type settings struct {
	Limit  int           `json:"limit"`
	Window time.Duration `json:"window_ns"`
	Burst  int           `json:"burst"` // of the two buckets; 0 means Limit
}

// A strategy is one of this module's five algorithms.
type strategy struct {
	name string
	// one says in a few words what is admitted.
	about string
	build func(s settings, c clock.Clock) (ratelimit.Limiter, error)
	// loops wraps what build returned in loops that call the concrete type.
	loops func(ratelimit.Limiter) loops
}

// A loop calls one verb of one limiter n times and returns how many of the
// calls were granted. Counting is what keeps the compiler from dropping the
// call, and what proves that a row measures the path it says it does.
type loop func(n int) int

// loops are the verbs of one limiter that are timed. A peer leaves nil what it
// does not have.
type loops struct {
	allow, take, wait loop
	reset             func() // if not nil, called before every chunk of calls
	close             func() // if not nil, ends what the limiter keeps running
}

// The loop bodies below are written out once per type on purpose. Through an
// interface, a closure per call or a type parameter, every call would be
// dynamic, and that costs a tenth of what is measured.

var strategies = []strategy{
	{
		name:  "tokenbucket",
		about: "while there are tokens; they flow in steadily, at most a burst is kept",
		build: func(s settings, c clock.Clock) (ratelimit.Limiter, error) {
			return tokenbucket.New(tokenbucket.Config{Limit: s.Limit, Window: s.Window, Burst: s.Burst, Clock: c})
		},
		loops: func(l ratelimit.Limiter) loops {
			t, ctx := l.(*tokenbucket.Limiter), context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if t.Allow() {
							granted++
						}
					}
					return granted
				},
				take: func(n int) (granted int) {
					for range n {
						if d := t.Take(1); d.Allowed {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if t.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}
		},
	},
	{
		name:  "leakybucket",
		about: "while the bucket, which leaks steadily, has room",
		build: func(s settings, c clock.Clock) (ratelimit.Limiter, error) {
			return leakybucket.New(leakybucket.Config{Limit: s.Limit, Window: s.Window, Capacity: s.Burst, Clock: c})
		},
		loops: func(l ratelimit.Limiter) loops {
			t, ctx := l.(*leakybucket.Limiter), context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if t.Allow() {
							granted++
						}
					}
					return granted
				},
				take: func(n int) (granted int) {
					for range n {
						if d := t.Take(1); d.Allowed {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if t.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}
		},
	},
	{
		name:  "fixedwindow",
		about: "the limit in each window of the wall clock",
		build: func(s settings, c clock.Clock) (ratelimit.Limiter, error) {
			return fixedwindow.New(fixedwindow.Config{Limit: s.Limit, Window: s.Window, Clock: c})
		},
		loops: func(l ratelimit.Limiter) loops {
			t, ctx := l.(*fixedwindow.Limiter), context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if t.Allow() {
							granted++
						}
					}
					return granted
				},
				take: func(n int) (granted int) {
					for range n {
						if d := t.Take(1); d.Allowed {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if t.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}
		},
	},
	{
		name:  "slidingwindow",
		about: "the limit in this window plus what the last one still weighs",
		build: func(s settings, c clock.Clock) (ratelimit.Limiter, error) {
			return slidingwindow.New(slidingwindow.Config{Limit: s.Limit, Window: s.Window, Clock: c})
		},
		loops: func(l ratelimit.Limiter) loops {
			t, ctx := l.(*slidingwindow.Limiter), context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if t.Allow() {
							granted++
						}
					}
					return granted
				},
				take: func(n int) (granted int) {
					for range n {
						if d := t.Take(1); d.Allowed {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if t.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}
		},
	},
	{
		name:  "slidinglog",
		about: "the limit in every trailing window, exactly; remembers each admission",
		build: func(s settings, c clock.Clock) (ratelimit.Limiter, error) {
			return slidinglog.New(slidinglog.Config{Limit: s.Limit, Window: s.Window, Clock: c})
		},
		loops: func(l ratelimit.Limiter) loops {
			t, ctx := l.(*slidinglog.Limiter), context.Background()
			return loops{
				allow: func(n int) (granted int) {
					for range n {
						if t.Allow() {
							granted++
						}
					}
					return granted
				},
				take: func(n int) (granted int) {
					for range n {
						if d := t.Take(1); d.Allowed {
							granted++
						}
					}
					return granted
				},
				wait: func(n int) (granted int) {
					for range n {
						if t.Wait(ctx) == nil {
							granted++
						}
					}
					return granted
				},
			}
		},
	},
}

// A path is the answer that a row times.
type path string

const (
	granted path = "granted"
	refused path = "refused"
)

// An impl is one implementation that is timed: a strategy of this module, a
// peer, or a floor that no limiter can be below.
type impl struct {
	name   string
	about  string // of a peer: its algorithm
	module string // of a peer: where it comes from
	ours   bool

	// make returns the loops of a new limiter on which every call is granted, or
	// every call is refused. A peer ignores the clock: it has its own.
	make func(p path, c clock.Clock) (loops, error)

	onlyGrants bool // it has no refusal
	hasWait    bool // its loops have a wait
	perKey     bool // one limiter is a table of keys

	// instances returns a function that makes one more limiter, or one more key
	// where the limiter is a table of keys, and returns it or the table. It is
	// nil where there is nothing to weigh.
	instances func() (func(i int) any, error)
}

// alwaysGranted is a limit that no machine reaches on one limiter: an event per
// nanosecond, which is the most that New accepts. The log's ring stops growing
// within a window; it then holds what was admitted in a millisecond, which is
// tens of thousands of entries. The burst is a second's worth: a goroutine that
// loses the processor between reading the clock and deciding comes back with a
// reading that may be milliseconds old, and must not be refused for that here.
var alwaysGranted = settings{Limit: 1_000_000, Window: time.Millisecond, Burst: 1_000_000_000}

// windowAlwaysGranted is the same for the two windows: a high limit of the kind
// that people set, for which the sliding window is one word. Timing makes more
// calls than that, so the limiter is reset after every chunk of them, long before
// the limit is reached.
var windowAlwaysGranted = settings{Limit: 100_000, Window: time.Second}

// alwaysRefused is a limit that is used up before the row starts and does not
// come back while it runs.
var alwaysRefused = settings{Limit: 1, Window: 300 * 24 * time.Hour}

// implementations are this module's strategies, then the peers.
func implementations() []impl {
	var all []impl
	for _, s := range strategies {
		all = append(all, impl{
			name:    s.name,
			ours:    true,
			hasWait: true,
			make: func(p path, c clock.Clock) (loops, error) {
				set := alwaysGranted
				switch {
				case p == refused:
					set = alwaysRefused
				case s.name == "fixedwindow" || s.name == "slidingwindow":
					set = windowAlwaysGranted
				}
				l, err := s.build(set, c)
				if err != nil {
					return loops{}, fmt.Errorf("%s: %w", s.name, err)
				}
				if p == refused && !l.Allow() {
					return loops{}, fmt.Errorf("%s: a fresh limiter refused", s.name)
				}
				verbs := s.loops(l)
				if set == windowAlwaysGranted {
					verbs.reset = l.(ratelimit.Resetter).Reset
				}
				return verbs, nil
			},
			instances: func() (func(i int) any, error) {
				set := settings{Limit: 100, Window: time.Second}
				if _, err := s.build(set, nil); err != nil {
					return nil, fmt.Errorf("%s: %w", s.name, err)
				}
				shared := clock.System()
				return func(int) any {
					l, _ := s.build(set, shared)
					return l
				}, nil
			},
		})
	}
	return append(all, peers...)
}

// findStrategy returns the strategy of that name.
func findStrategy(name string) (strategy, bool) {
	for _, s := range strategies {
		if s.name == name {
			return s, true
		}
	}
	return strategy{}, false
}
