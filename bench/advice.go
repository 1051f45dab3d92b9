package main

import (
	"fmt"
	"slices"
)

// An advice says when to choose a strategy, and what was seen of it.
type advice struct {
	Choose string `json:"choose"`
	When   string `json:"when"`
	Seen   string `json:"seen"`
}

func (a advice) String() string { return a.Choose + ", " + a.When + ". " + a.Seen }

// advise answers which strategy to choose, from what was measured.
func advise(res *results) (all []advice) {
	window, limit := short(res.Settings.Window), res.Settings.Limit
	for _, s := range strategies {
		// What it refused over all traces, and the fullest window among them.
		var asked, refused int
		var worst behaviour
		for _, b := range res.Behaviour {
			if b.Strategy != s.name {
				continue
			}
			asked += b.Asked
			refused += b.Refused
			if b.MostInWindow > worst.MostInWindow {
				worst = b
			}
		}
		if asked == 0 {
			continue
		}
		a := advice{Choose: s.name, Seen: fmt.Sprintf("It refused %.1f %% of all requests.", percent(refused, asked))}
		most := fmt.Sprintf(" The most it admitted within %s was %d of %d (trace %s)", window, worst.MostInWindow, limit, worst.Trace)
		switch s.name {
		case "tokenbucket":
			a.When = "if the rate in the long run is what matters and short bursts are welcome"
			a.Seen += fmt.Sprintf("%s: a burst of up to %d passes at once, and what flows in meanwhile besides.", most, res.Settings.Burst)
		case "leakybucket":
			a.When = "if what comes out must be evenly spaced, as towards a fragile service: its Wait queues callers and lets them go one by one"
			if same(res, "leakybucket", "tokenbucket") {
				a.Seen = "Its Allow, which is what the tables show, decided exactly as the token bucket did."
			}
		case "fixedwindow":
			a.When = fmt.Sprintf("if a quota per %s of the wall clock is wanted that is easy to explain, and twice as much astride an edge does no harm", window)
			a.Seen += most + "."
		case "slidingwindow":
			a.When = "if the limit should hold for steady traffic, and not be far exceeded by bursts, in a few bytes"
			a.Seen += most + "."
		case "slidinglog":
			a.When = fmt.Sprintf("if the limit must hold in every window of %s, whatever comes", window)
			a.Seen += most + "."
			if res.Cost != nil {
				a.Seen += fmt.Sprintf(" It remembers each admission, in %.0f bytes.", res.Cost.memoryOf(s.name).PerAdmission)
			}
		}
		all = append(all, a)
	}
	return all
}

// adviseCost puts the differences in cost into proportion, or is "" where there
// is nothing to compare.
func adviseCost(c *cost) string {
	if c == nil {
		return ""
	}
	var rows []*row
	for _, s := range strategies {
		if r := c.byID[rowID{s.name, allow, granted, systemClock, false}]; r != nil {
			rows = append(rows, r)
		}
	}
	if len(rows) < 2 {
		return ""
	}
	byCost := func(a, b *row) int { return int(a.NS*1000) - int(b.NS*1000) }
	least, most := slices.MinFunc(rows, byCost), slices.MaxFunc(rows, byCost)
	// A million decisions a second, each a nanosecond dearer, take a thousandth of
	// a core.
	return fmt.Sprintf("Cost rarely decides: at a million decisions a second, the dearest (%s, %.0f ns) takes %.1f %% of one core more than the cheapest (%s, %.0f ns).",
		most.Impl, most.NS, (most.NS-least.NS)/10, least.Impl, least.NS)
}

// same reports whether two strategies that were both replayed admitted the same
// events of every trace.
func same(res *results, a, b string) bool {
	admitted := make(map[[2]string][]bool)
	for _, x := range res.Behaviour {
		admitted[[2]string{x.Strategy, x.Trace}] = x.admitted
	}
	for _, t := range res.traces {
		x, ok := admitted[[2]string{a, t.name}]
		y, both := admitted[[2]string{b, t.name}]
		if !ok || !both || !slices.Equal(x, y) {
			return false
		}
	}
	return len(res.traces) > 0
}
