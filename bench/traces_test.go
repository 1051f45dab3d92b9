package main

import (
	"slices"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

var testSettings = settings{Limit: 10, Window: time.Second, Burst: 10}

func TestGenerate(t *testing.T) {
	for _, s := range []settings{
		testSettings,
		{Limit: 1, Window: time.Millisecond, Burst: 1},
		{Limit: 7, Window: 7 * time.Second, Burst: 3}, // the fake clock does not start at a window's edge
		{Limit: 1000, Window: maxWindow, Burst: 1},
	} {
		for _, name := range traceNames() {
			a, ok := generate(name, s, 1)
			if !ok {
				t.Fatalf("no trace %s", name)
			}
			if again, _ := generate(name, s, 1); !slices.Equal(a.events, again.events) {
				t.Errorf("%s at %s: the same seed gave another trace", name, s)
			}
			if len(a.events) == 0 {
				t.Errorf("%s at %s: no events", name, s)
			}
			last := a.origin
			for _, e := range a.events {
				if e.at < last || e.at >= a.origin+a.length {
					t.Fatalf("%s at %s: event at %v after one at %v, in a trace from %v to %v", name, s, e.at, last, a.origin, a.origin+a.length)
				}
				last = e.at
			}
			epoch := time.Duration(clock.NewFake().Epoch().UnixNano())
			if into := (epoch + a.origin) % s.Window; into != 0 {
				t.Errorf("%s at %s: begins %v into a window", name, s, into)
			}
		}
	}
	if _, ok := generate("none", testSettings, 1); ok {
		t.Error("there is a trace none")
	}
}

func TestSeedMatters(t *testing.T) {
	for name, random := range map[string]bool{"steady": false, "poisson": true, "bursts": true, "edge": false} {
		a, _ := generate(name, testSettings, 1)
		b, _ := generate(name, testSettings, 2)
		if differ := !slices.Equal(a.events, b.events); differ != random {
			t.Errorf("%s: another seed gave another trace: %t, want %t", name, differ, random)
		}
	}
}

func TestTraceVolumes(t *testing.T) {
	s := settings{Limit: 1000, Window: time.Second, Burst: 1000}
	for name, want := range map[string]int{"steady": 36000, "poisson": 24000, "bursts": 24000, "edge": 8000} {
		tr, _ := generate(name, s, 1)
		if got := len(tr.events); got < want*97/100 || got > want*103/100 {
			t.Errorf("%s has %d events, want about %d", name, got, want)
		}
	}
}

// TestSteadyIsExact: what is a window apart is exactly that, so that a window
// never holds one more by rounding.
func TestSteadyIsExact(t *testing.T) {
	tr, _ := generate("steady", testSettings, 1)
	for i, e := range tr.events[15:] {
		if apart := e.at - tr.events[i].at; apart != testSettings.Window {
			t.Fatalf("events %d and %d are %v apart", i, i+15, apart)
		}
	}
}
