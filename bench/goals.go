package main

import "fmt"

// A goal is a bound that each strategy's cost should keep, in terms of what no
// limiter can be below.
type goal struct {
	Name    string       `json:"goal"`
	Results []goalResult `json:"results"`
}

// A goalResult is what one strategy reached.
type goalResult struct {
	Strategy string  `json:"strategy"`
	Measured float64 `json:"measured"`
	Shown    string  `json:"shown"` // measured, with its unit
	Bound    string  `json:"bound"` // "" where there is none
	Met      bool    `json:"met"`   // true where there is none
}

// The bounds of "granted with the coarse clock": one of them is enough, since a
// slow machine has a slow floor too.
const (
	coarseNS    = 5
	coarseLogNS = 8
	coarseFloor = 0.17
)

// goalPeer is the peer that the strategies are compared with.
const goalPeer = "x/time/rate"

// goals compares the strategies' cost with the bounds. It needs the rows of the
// strategies and of x/time/rate.
func (c *cost) goals(with []strategy) []goal {
	read := rowID{floorRead, allow, refused, systemClock, false}
	readAll := rowID{floorRead, allow, refused, systemClock, true}
	cas := rowID{floorCAS, allow, granted, systemClock, false}
	casAll := rowID{floorCAS, allow, granted, systemClock, true}

	// A ratio of rows that has to be at most the bound; the log has its own, and
	// with 0 none.
	ratio := func(name string, bound, logBound float64, rows func(impl string) (id, to rowID)) goal {
		g := goal{Name: name}
		for _, s := range with {
			r := goalResult{Strategy: s.name, Measured: c.ratio(rows(s.name)), Met: true}
			r.Shown = fmt.Sprintf("%.2f", r.Measured)
			limit := bound
			if s.name == "slidinglog" {
				limit = logBound
			}
			if limit > 0 {
				r.Bound = fmt.Sprintf("≤ %.2f", limit)
				r.Met = r.Measured > 0 && r.Measured <= limit
			}
			g.Results = append(g.Results, r)
		}
		return g
	}

	goals := []goal{
		ratio("granted ÷ (read + CAS)", 1.15, 1.4, func(s string) (rowID, rowID) {
			return rowID{s, allow, granted, systemClock, false}, cas
		}),
		ratio("refused ÷ read", 1.08, 1.08, func(s string) (rowID, rowID) {
			return rowID{s, allow, refused, systemClock, false}, read
		}),
		ratio("refused ÷ read, all cores", 1.12, 1.12, func(s string) (rowID, rowID) {
			return rowID{s, allow, refused, systemClock, true}, readAll
		}),
		ratio("granted ÷ (read + CAS), all cores", 1.2, 0, func(s string) (rowID, rowID) {
			return rowID{s, allow, granted, systemClock, true}, casAll
		}),
	}

	coarse := goal{Name: "granted, coarse clock"}
	for _, s := range with {
		id := rowID{s.name, allow, granted, coarseClock, false}
		r := goalResult{Strategy: s.name, Measured: c.ns(id)}
		bound, share := float64(coarseNS), c.ratio(id, cas)
		r.Bound = fmt.Sprintf("≤ %d ns", coarseNS)
		r.Met = r.Measured > 0 && (r.Measured <= bound || share <= coarseFloor)
		if s.name == "slidinglog" {
			r.Bound = fmt.Sprintf("≤ %d ns", coarseLogNS)
			r.Met = r.Measured > 0 && r.Measured <= coarseLogNS
		}
		r.Shown = fmt.Sprintf("%.1f ns", r.Measured)
		coarse.Results = append(coarse.Results, r)
	}
	casCoarse := rowID{floorCAS, allow, granted, coarseClock, false}
	goals = append(goals, coarse,
		// No goal, but the measure of the one before: what a compare-and-swap
		// alone costs depends on the machine more than reading the clock does.
		ratio("granted ÷ (read + CAS), coarse", 0, 0, func(s string) (rowID, rowID) {
			return rowID{s, allow, granted, coarseClock, false}, casCoarse
		}),
		ratio("Take ÷ Allow", 1.15, 1.25, func(s string) (rowID, rowID) {
			return rowID{s, take, granted, systemClock, false}, rowID{s, allow, granted, systemClock, false}
		}),
		ratio("Wait ÷ Allow, uncontended", 1.15, 1.15, func(s string) (rowID, rowID) {
			return rowID{s, wait, granted, systemClock, false}, rowID{s, allow, granted, systemClock, false}
		}),
	)

	allocs := goal{Name: "allocations per call"}
	for _, s := range with {
		r := goalResult{Strategy: s.name, Bound: "0"}
		for _, n := range c.memoryOf(s.name).Allocs {
			r.Measured = max(r.Measured, n)
		}
		r.Shown, r.Met = fmt.Sprintf("%.4g", r.Measured), r.Measured == 0
		allocs.Results = append(allocs.Results, r)
	}

	peer := goal{Name: goalPeer + " ÷ ours, granted"}
	for _, s := range with {
		r := goalResult{Strategy: s.name, Bound: "≥ 2.20"}
		r.Measured = c.ratio(rowID{goalPeer, allow, granted, systemClock, false}, rowID{s.name, allow, granted, systemClock, false})
		r.Shown, r.Met = fmt.Sprintf("%.2f", r.Measured), r.Measured >= 2.2
		peer.Results = append(peer.Results, r)
	}

	state := goal{Name: "bytes, without the clock"}
	for _, s := range with {
		m := c.memoryOf(s.name)
		r := goalResult{Strategy: s.name, Measured: m.Bytes, Shown: fmt.Sprintf("%.0f", m.Bytes), Met: true}
		if s.name != "slidinglog" {
			r.Bound, r.Met = "≤ 128", m.Bytes <= 128
		}
		state.Results = append(state.Results, r)
	}
	return append(goals, allocs, peer, state)
}
