package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// A behaviour is what one strategy did to one trace.
type behaviour struct {
	Trace    string `json:"trace"`
	Strategy string `json:"strategy"`
	Asked    int    `json:"asked"`
	Admitted int    `json:"admitted"`
	Refused  int    `json:"refused"`

	// MostInWindow is the most that one client was admitted in any trailing
	// window (t-Window, t], and Limit is what it was meant to be.
	MostInWindow int `json:"most_admitted_in_window"`
	Limit        int `json:"limit"`

	// LongestRefused is the most refusals that one client got in a row.
	LongestRefused int `json:"longest_run_of_refusals"`

	// ClientsRefused is how many clients were refused at least once.
	ClientsRefused int `json:"clients_refused"`

	// What the refused callers were told to wait.
	MedianRetry time.Duration `json:"retry_after_median_ns"`
	MaxRetry    time.Duration `json:"retry_after_max_ns"`

	admitted []bool // for each event of the trace
}

// replay sends a trace through one strategy on a fake clock, with a limiter for
// each client.
func replay(t trace, s strategy, set settings) (behaviour, error) {
	fake := clock.NewFake()
	limiters := make([]ratelimit.Limiter, len(t.clients))
	for i := range limiters {
		l, err := s.build(set, fake)
		if err != nil {
			return behaviour{}, fmt.Errorf("%s: %w", s.name, err)
		}
		limiters[i] = l
	}

	b := behaviour{
		Trace: t.name, Strategy: s.name, Asked: len(t.events), Limit: set.Limit,
		admitted: make([]bool, len(t.events)),
	}
	refusedRun := make([]int, len(t.clients))
	everRefused := make([]bool, len(t.clients))
	var retries []time.Duration
	for i, e := range t.events {
		fake.Set(e.at)
		d := limiters[e.client].Take(1)
		b.admitted[i] = d.Allowed
		if d.Allowed {
			b.Admitted++
			refusedRun[e.client] = 0
			continue
		}
		b.Refused++
		if !everRefused[e.client] {
			everRefused[e.client] = true
			b.ClientsRefused++
		}
		refusedRun[e.client]++
		b.LongestRefused = max(b.LongestRefused, refusedRun[e.client])
		retries = append(retries, d.RetryAfter)
	}
	b.MostInWindow = mostInWindow(t, b.admitted, set.Window)
	if len(retries) > 0 {
		slices.Sort(retries)
		b.MedianRetry, b.MaxRetry = retries[(len(retries)-1)/2], retries[len(retries)-1]
	}
	return b, nil
}

// mostInWindow is the most events of one client that were admitted in any
// half-open window of that length.
func mostInWindow(t trace, admitted []bool, window time.Duration) int {
	most := 0
	recent := make([][]time.Duration, len(t.clients)) // of each client: the admissions in the last window
	for i, e := range t.events {
		if !admitted[i] {
			continue
		}
		times := append(recent[e.client], e.at)
		for times[0] <= e.at-window {
			times = times[1:]
		}
		recent[e.client] = times
		most = max(most, len(times))
	}
	return most
}

// replayAll sends every trace through every strategy, and reports after each.
func replayAll(traces []trace, with []strategy, set settings, done func()) ([]behaviour, error) {
	var all []behaviour
	for _, t := range traces {
		for _, s := range with {
			b, err := replay(t, s, set)
			if err != nil {
				return nil, err
			}
			all = append(all, b)
			done()
		}
	}
	return all, nil
}
