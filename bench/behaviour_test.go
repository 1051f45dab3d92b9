package main

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestMostInWindow compares with counting the hard way.
func TestMostInWindow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		tr := trace{clients: make([]string, 1+rnd.IntN(3))}
		at := time.Duration(0)
		var admitted []bool
		for range rnd.IntN(60) {
			at += time.Duration(rnd.IntN(4)) // often the same instant, often exactly a window apart
			tr.events = append(tr.events, event{at: at, client: rnd.IntN(len(tr.clients))})
			admitted = append(admitted, rnd.IntN(3) > 0)
		}
		window := time.Duration(1 + rnd.IntN(12))
		want := 0
		for client := range tr.clients {
			for from := -window; from <= at; from++ {
				n := 0
				for i, e := range tr.events {
					if e.client == client && admitted[i] && e.at > from && e.at <= from+window {
						n++
					}
				}
				want = max(want, n)
			}
		}
		if got := mostInWindow(tr, admitted, window); got != want {
			t.Fatalf("window %d, events %v, admitted %v: %d, want %d", window, tr.events, admitted, got, want)
		}
	}
}

// TestTrailingMatchesMostInWindow: the line in a picture peaks at the table's
// figure.
func TestTrailingMatchesMostInWindow(t *testing.T) {
	for _, name := range traceNames() {
		tr, _ := generate(name, testSettings, 1)
		admitted := make([]bool, len(tr.events))
		var times []time.Duration
		for i, e := range tr.events {
			admitted[i] = true
			times = append(times, e.at)
		}
		want := mostInWindow(tr, admitted, testSettings.Window)
		if got := int(highest(trailing(times, testSettings.Window, tr.origin, tr.origin+tr.length, time.Second))); got != want {
			t.Errorf("%s: the picture peaks at %d, the table says %d", name, got, want)
		}
		if got := most(times, testSettings.Window); got != want {
			t.Errorf("%s: the panel's title says %d, the table says %d", name, got, want)
		}
	}
}

func TestReplay(t *testing.T) {
	for _, set := range []settings{testSettings, {Limit: 3, Window: 7 * time.Minute, Burst: 5}, {Limit: 100, Window: 2 * time.Millisecond, Burst: 1}} {
		for _, name := range traceNames() {
			tr, _ := generate(name, set, 1)
			for _, s := range strategies {
				b, err := replay(tr, s, set)
				if err != nil {
					t.Fatal(err)
				}
				if b.Asked != len(tr.events) || b.Admitted+b.Refused != b.Asked {
					t.Errorf("%s %s: %d asked, %d admitted, %d refused of %d events", name, s.name, b.Asked, b.Admitted, b.Refused, len(tr.events))
				}
				most := map[string]int{
					"tokenbucket": set.Limit + set.Burst, "leakybucket": set.Limit + set.Burst,
					"fixedwindow": 2 * set.Limit, "slidingwindow": 2 * set.Limit, "slidinglog": set.Limit,
				}[s.name]
				if b.MostInWindow > most {
					t.Errorf("%s %s at %s: %d in a window, the bound is %d", name, s.name, set, b.MostInWindow, most)
				}
				if b.Refused > 0 && (b.MedianRetry <= 0 || b.MaxRetry < b.MedianRetry || b.MaxRetry > 2*set.Window || b.LongestRefused < 1 || b.ClientsRefused != 1) {
					t.Errorf("%s %s at %s: %+v", name, s.name, set, b)
				}
			}
		}
	}
}

// TestEdge is the lesson of the edge trace: the fixed window lets both halves of
// the burst through, and the others do not.
func TestEdge(t *testing.T) {
	for _, window := range []time.Duration{time.Second, 7 * time.Second} {
		set := settings{Limit: 10, Window: window, Burst: 10}
		tr, _ := generate("edge", set, 1)
		for name, want := range map[string]int{"fixedwindow": 20, "slidinglog": 10, "slidingwindow": 10} {
			s, _ := findStrategy(name)
			b, err := replay(tr, s, set)
			if err != nil {
				t.Fatal(err)
			}
			if b.MostInWindow != want {
				t.Errorf("%s with a window of %v: %d in a window, want %d", name, window, b.MostInWindow, want)
			}
		}
	}
}

// TestClientsAreApart: every client has a limiter and a run of refusals of its
// own.
func TestClientsAreApart(t *testing.T) {
	tr := trace{name: "two", clients: []string{"a", "b"}}
	for i := range 8 { // a b a b …
		tr.events = append(tr.events, event{at: time.Duration(i), client: i % 2})
	}
	for _, s := range strategies {
		b, err := replay(tr, s, settings{Limit: 1, Window: time.Minute, Burst: 1})
		if err != nil {
			t.Fatal(err)
		}
		if b.Admitted != 2 || b.MostInWindow != 1 || b.LongestRefused != 3 || b.ClientsRefused != 2 {
			t.Errorf("%s: %+v", s.name, b)
		}
	}
}
