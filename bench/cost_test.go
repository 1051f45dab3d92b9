package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestRowsAreWhatTheySay runs every row briefly: a granted one must not be
// refused once, nor a refused one granted.
func TestRowsAreWhatTheySay(t *testing.T) {
	for _, im := range append(floors[:len(floors):len(floors)], implementations()...) {
		for _, id := range rowsOf(im) {
			r := &row{rowID: id, impl: im}
			ns, err := r.run(0)
			if err != nil {
				t.Error(err)
			} else if ns <= 0 {
				t.Errorf("%+v: %v ns per call", id, ns)
			}
		}
	}
}

func TestCheckRefusesWrongAnswers(t *testing.T) {
	for _, tt := range []struct {
		path           path
		calls, granted int
		ok             bool
	}{
		{granted, 10, 10, true},
		{granted, 10, 9, false},
		{refused, 10, 0, true},
		{refused, 10, 1, false},
	} {
		r := &row{rowID: rowID{Impl: "x", Path: tt.path}}
		if err := r.check(timing{calls: tt.calls, granted: tt.granted}); (err == nil) != tt.ok {
			t.Errorf("%s, %d of %d granted: %v", tt.path, tt.granted, tt.calls, err)
		}
	}
}

func TestTimeLoopCounts(t *testing.T) {
	for _, workers := range []int{1, 3} {
		got := timeLoop(func(n int) int { return n / 2 }, workers, 0)
		if want := workers * chunk; got.calls != want || got.granted != want/2 {
			t.Errorf("%d workers: %d calls, %d granted, want %d and %d", workers, got.calls, got.granted, want, want/2)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		q      float64
		want   float64
	}{
		{nil, 0.5, 0},
		{[]float64{3}, 0.5, 3},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 2, 3}, 0.5, 2.5},
		{[]float64{5, 1, 2, 3, 4}, 0.25, 2},
		{[]float64{1, 2}, 1, 2},
		{[]float64{1, 2}, 0, 1},
	} {
		before := slices.Clone(tt.values)
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
		}
		if !slices.Equal(before, tt.values) {
			t.Errorf("quantile reordered %v to %v", before, tt.values)
		}
	}
}

// TestRatioPairsRounds: the machine slows down in mid-run, and rows that always
// differ by the same factor must still show that factor.
func TestRatioPairsRounds(t *testing.T) {
	a, b := rowID{Impl: "a"}, rowID{Impl: "b"}
	c := &cost{byID: map[rowID]*row{
		a: {rounds: []float64{10, 20, 30, 1000}},
		b: {rounds: []float64{5, 10, 15, 500}},
	}}
	if got := c.ratio(a, b); got != 2 {
		t.Errorf("ratio = %v, want 2", got)
	}
	if got := c.ratio(a, rowID{Impl: "none"}); got != 0 {
		t.Errorf("ratio to a row that was not timed = %v, want 0", got)
	}
}

// TestGoals checks bounds with made-up costs: those of a strategy are the floor's
// times a factor.
func TestGoals(t *testing.T) {
	timed := func(factor float64) *cost {
		c := &cost{byID: make(map[rowID]*row)}
		put := func(id rowID, ns float64) { c.byID[id] = &row{rowID: id, NS: ns, rounds: []float64{ns}} }
		for _, all := range []bool{false, true} {
			put(rowID{floorRead, allow, refused, systemClock, all}, 20)
			put(rowID{floorCAS, allow, granted, systemClock, all}, 20)
		}
		put(rowID{goalPeer, allow, granted, systemClock, false}, 50)
		for _, s := range strategies {
			for _, all := range []bool{false, true} {
				put(rowID{s.name, allow, granted, systemClock, all}, 20*factor)
				put(rowID{s.name, allow, refused, systemClock, all}, 20*factor)
			}
			put(rowID{s.name, allow, granted, coarseClock, false}, 4*factor)
			put(rowID{s.name, take, granted, systemClock, false}, 20*factor*factor)
			put(rowID{s.name, wait, granted, systemClock, false}, 20*factor*factor)
			c.Memory = append(c.Memory, memory{Impl: s.name, Bytes: 100 * factor, Allocs: map[string]float64{"Allow granted": factor - 1}})
		}
		return c
	}
	count := func(goals []goal) (met, all int) {
		for _, g := range goals {
			for _, r := range g.Results {
				all++
				if r.Met {
					met++
				}
			}
		}
		return met, all
	}
	if met, all := count(timed(1).goals(strategies)); met != all || all != 55 {
		t.Errorf("at the floor %d of %d goals are met, want all of 55", met, all)
	}
	// Above every bound; one ratio has none, and of two more the log has none.
	if met, _ := count(timed(2.5).goals(strategies)); met != 7 {
		t.Errorf("far above the floor %d goals are met, want the 7 that have no bound", met)
	}
	// Above all bounds but the log's own: 1.2, and 1.44 for the verbs.
	for _, g := range timed(1.3).goals(strategies)[:1] {
		for _, r := range g.Results {
			if want := r.Strategy == "slidinglog"; r.Met != want {
				t.Errorf("%s of %s at 1.3: met %t, want %t", g.Name, r.Strategy, r.Met, want)
			}
		}
	}
}

func TestWeighKnowsMemory(t *testing.T) {
	for _, im := range implementations() {
		m, err := weigh(im)
		if err != nil {
			t.Fatal(err)
		}
		if m.Bytes < 8 || m.Bytes > 4096 {
			t.Errorf("%s: %.0f bytes", im.name, m.Bytes)
		}
		if im.ours {
			for call, n := range m.Allocs {
				if n != 0 {
					t.Errorf("%s %s allocates %v times", im.name, call, n)
				}
			}
			if remembers := m.PerAdmission > 0; remembers != (im.name == "slidinglog") {
				t.Errorf("%s: %.1f bytes per admission", im.name, m.PerAdmission)
			}
		}
	}
}

func TestMeasureCostRunsEveryRowInEveryRound(t *testing.T) {
	impls := implementations()[:1]
	last := 0.0
	c, err := measureCost(impls, costPlan{budget: time.Nanosecond, slice: 0}, rand.Uint64(), func(f float64) { last = f })
	if err != nil {
		t.Fatal(err)
	}
	if c.Rounds != minRounds || last != 1 {
		t.Errorf("%d rounds, progress %v; want %d and 1", c.Rounds, last, minRounds)
	}
	for _, r := range c.Rows {
		if len(r.rounds) != c.Rounds || r.Low > r.NS || r.NS > r.High {
			t.Errorf("%+v: %d rounds, %v ≤ %v ≤ %v", r.rowID, len(r.rounds), r.Low, r.NS, r.High)
		}
	}
}
