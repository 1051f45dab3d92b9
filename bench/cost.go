package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// The floors: what a decision costs at the very least. A refusal has to read the
// clock. A grant has to read it and to change a word besides.
const (
	floorRead = "clock read"
	floorCAS  = "clock read + CAS"
)

// sink keeps the compiler from dropping the readings of the floors.
var sink atomic.Int64

var floors = []impl{
	{
		name: floorRead,
		make: func(_ path, c clock.Clock) (loops, error) {
			return loops{allow: func(n int) (granted int) {
				var sum time.Duration
				for range n {
					sum += c.Now()
				}
				sink.Store(int64(sum))
				return 0
			}}, nil
		},
	},
	{
		name: floorCAS,
		make: func(_ path, c clock.Clock) (loops, error) {
			var word atomic.Uint64
			return loops{allow: func(n int) (granted int) {
				for range n {
					now := uint64(c.Now())
					for {
						old := word.Load()
						if word.CompareAndSwap(old, old+now|1) {
							break
						}
					}
					granted++
				}
				return granted
			}}, nil
		},
	},
}

// The clocks and the verbs of a row.
const (
	systemClock = "system"
	coarseClock = "coarse"

	allow = "Allow"
	take  = "Take"
	wait  = "Wait"
)

// A rowID says what a row times.
type rowID struct {
	Impl     string `json:"impl"`
	Verb     string `json:"verb"`
	Path     path   `json:"path"`
	Clock    string `json:"clock"`
	AllCores bool   `json:"all_cores"` // GOMAXPROCS goroutines on one limiter
}

// A row is the cost of one verb on one path.
type row struct {
	rowID

	// NS is the median over the rounds of the wall time per call, in
	// nanoseconds; half of the rounds lie between Low and High. With all cores
	// it is the time from one call that any of them finishes to the next.
	NS   float64 `json:"ns"`
	Low  float64 `json:"ns_low"`
	High float64 `json:"ns_high"`

	impl   impl
	rounds []float64
}

// memory is what an implementation allocates.
type memory struct {
	Impl string `json:"impl"`

	// Bytes is the growth of the heap per limiter, or per key where one limiter
	// is a table of keys. Ours share a clock: one of its own is extra.
	Bytes  float64 `json:"bytes"`
	PerKey bool    `json:"per_key"`

	// PerAdmission is what each admission that is remembered adds.
	PerAdmission float64 `json:"bytes_per_admission"`

	// Allocs is the allocations per call of each row with the system clock on
	// one core, by "verb path".
	Allocs map[string]float64 `json:"allocs_per_call"`
}

// A cost is everything that was timed, in one run.
type cost struct {
	Cores  int           `json:"cores"`
	Rounds int           `json:"rounds"`
	Slice  time.Duration `json:"slice_ns"` // how long a row runs in a round
	Rows   []*row        `json:"rows"`
	Memory []memory      `json:"memory"`

	// ClockBytes is the size of a system clock, of which a limiter makes one
	// unless it is given one.
	ClockBytes float64 `json:"clock_bytes"`

	Peers []peer `json:"peers,omitempty"`

	byID map[rowID]*row
}

// A peer is another library that was timed.
type peer struct {
	Impl    string `json:"impl"`
	About   string `json:"about"`
	Module  string `json:"module"`
	Version string `json:"version,omitempty"` // where the build tells
}

// costPlan says how long to measure.
type costPlan struct {
	budget time.Duration // for all rounds
	slice  time.Duration
}

const (
	// warmUp is how long a row runs before it is timed. It is longer than
	// alwaysGranted's window, so that the log's ring has stopped growing.
	warmUp = 2 * time.Millisecond

	// chunk is how many calls there are between two looks at the time, so that
	// looking adds next to nothing to what is timed. So many calls by each of
	// forty cores are still below windowAlwaysGranted's limit.
	chunk = 2048

	// minRounds is how many rounds a median needs at the least.
	minRounds = 5

	// instances is how many limiters are made to weigh one: so many that what
	// else the heap does meanwhile is less than a byte for each.
	instances = 1 << 14
)

// measureCost times all rows of the implementations, and the floors.
//
// Every row runs for one short slice in each round, in an order that is shuffled
// for each round, on a new limiter. What disturbs the machine thus disturbs all
// rows alike, no row profits from where in memory its limiter happens to lie, and
// a ratio of two rows compares slices that ran within the same second.
func measureCost(impls []impl, plan costPlan, seed uint64, progress func(fraction float64)) (*cost, error) {
	c := &cost{Cores: runtime.GOMAXPROCS(0), Slice: plan.slice, byID: make(map[rowID]*row)}
	for _, im := range append(floors[:len(floors):len(floors)], impls...) {
		for _, id := range rowsOf(im) {
			r := &row{rowID: id, impl: im}
			c.Rows = append(c.Rows, r)
			c.byID[id] = r
		}
	}

	versions := moduleVersions()
	for _, im := range impls {
		if !im.ours {
			c.Peers = append(c.Peers, peer{im.name, im.about, im.module, versions[im.module]})
		}
	}
	c.ClockBytes = heapPerInstance(func(int) any { return clock.System() })
	for _, im := range impls {
		m, err := weigh(im)
		if err != nil {
			return nil, err
		}
		c.Memory = append(c.Memory, m)
	}

	order := append([]*row(nil), c.Rows...)
	shuffle := rand.New(rand.NewPCG(seed, 0))
	start := time.Now()
	for c.Rounds < minRounds || time.Since(start) < plan.budget {
		shuffle.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, r := range order {
			ns, err := r.run(plan.slice)
			if err != nil {
				return nil, err
			}
			r.rounds = append(r.rounds, ns)
			progress(min(1, float64(time.Since(start))/float64(plan.budget)))
		}
		c.Rounds++
	}
	for _, r := range c.Rows {
		r.NS, r.Low, r.High = median(r.rounds), quantile(r.rounds, 0.25), quantile(r.rounds, 0.75)
	}
	return c, nil
}

// rowsOf lists what is timed of an implementation.
func rowsOf(im impl) []rowID {
	paths := []path{granted, refused}
	switch {
	case im.name == floorRead:
		paths = []path{refused}
	case im.name == floorCAS || im.onlyGrants:
		paths = []path{granted}
	}
	clocks := []string{systemClock}
	if im.ours || im.name == floorRead || im.name == floorCAS {
		clocks = append(clocks, coarseClock)
	}
	var ids []rowID
	for _, p := range paths {
		for _, clk := range clocks {
			for _, all := range []bool{false, true} {
				ids = append(ids, rowID{im.name, allow, p, clk, all})
			}
		}
	}
	if im.ours {
		ids = append(ids, rowID{im.name, take, granted, systemClock, false})
	}
	if im.hasWait {
		ids = append(ids, rowID{im.name, wait, granted, systemClock, false})
	}
	return ids
}

// setUp makes a new limiter for the row and returns the loop to time, and what
// to call afterwards.
func (r *row) setUp() (loop, func(), error) {
	var clk clock.Clock = clock.System()
	closeClock := func() {}
	if r.Clock == coarseClock {
		coarse := clock.NewCoarse(time.Millisecond)
		clk, closeClock = coarse, coarse.Close
	}
	verbs, err := r.impl.make(r.Path, clk)
	if err != nil {
		closeClock()
		return nil, nil, err
	}
	verb := map[string]loop{allow: verbs.allow, take: verbs.take, wait: verbs.wait}[r.Verb]
	run := verb
	if verbs.reset != nil {
		run = func(n int) int {
			verbs.reset()
			return verb(n)
		}
	}
	return run, func() {
		if verbs.close != nil {
			verbs.close()
		}
		closeClock()
	}, nil
}

// run times the row for about d and returns nanoseconds per call. It is an error
// if a call was answered otherwise than the row says.
func (r *row) run(d time.Duration) (float64, error) {
	run, stop, err := r.setUp()
	if err != nil {
		return 0, err
	}
	defer stop()
	workers := 1
	if r.AllCores {
		workers = runtime.GOMAXPROCS(0)
	}
	runtime.GC() // so that the last row's garbage is not collected in this row's time
	timeLoop(run, workers, warmUp)
	t := timeLoop(run, workers, d)
	return t.ns, r.check(t)
}

func (r *row) check(t timing) error {
	want := 0
	if r.Path == granted {
		want = t.calls
	}
	if t.granted != want {
		return fmt.Errorf("%s %s %s, %s clock, all cores %t: %d of %d calls were granted, want %d",
			r.Impl, r.Verb, r.Path, r.Clock, r.AllCores, t.granted, t.calls, want)
	}
	return nil
}

// A timing is what came of running a loop.
type timing struct {
	ns             float64 // wall time per call
	calls, granted int
}

// timeLoop runs a loop in so many goroutines at once, for about d.
//
// Of one goroutine, the median chunk counts: when the system takes the processor
// away, that makes one chunk slow, not the row. Of several it is all their calls
// over all their time, because there it matters that they run at once.
func timeLoop(run loop, workers int, d time.Duration) timing {
	if workers == 1 {
		t, chunks := timeWorker(run, d)
		t.ns = median(chunks) / chunk
		return t
	}
	each := make([]timing, workers)
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for i := range each {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			each[i], _ = timeWorker(run, d)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()

	// The workers do not stop at the same moment, so it is their speeds that add
	// up, each over its own time.
	var sum timing
	speed := 0.0
	for _, t := range each {
		sum.calls += t.calls
		sum.granted += t.granted
		speed += 1 / t.ns
	}
	sum.ns = 1 / speed
	return sum
}

// timeWorker runs a loop for about d, and returns also the nanoseconds that each
// chunk took.
func timeWorker(run loop, d time.Duration) (timing, []float64) {
	var t timing
	chunks := make([]float64, 0, 4096)
	start := time.Now()
	last := time.Duration(0)
	for {
		t.granted += run(chunk)
		t.calls += chunk
		spent := time.Since(start)
		chunks = append(chunks, float64(spent-last))
		last = spent
		if spent >= d {
			t.ns = float64(spent) / float64(t.calls)
			return t, chunks
		}
	}
}

// weigh finds out what an implementation allocates.
func weigh(im impl) (memory, error) {
	m := memory{Impl: im.name, PerKey: im.perKey, Allocs: make(map[string]float64)}
	one, err := im.instances()
	if err != nil {
		return m, err
	}
	m.Bytes = heapPerInstance(one)
	if s, ok := findStrategy(im.name); ok {
		if m.PerAdmission, err = perAdmission(s); err != nil {
			return m, err
		}
	}
	for _, id := range rowsOf(im) {
		if id.AllCores || id.Clock != systemClock {
			continue
		}
		r := &row{rowID: id, impl: im}
		run, stop, err := r.setUp()
		if err != nil {
			return m, err
		}
		timeLoop(run, 1, warmUp)
		m.Allocs[id.Verb+" "+string(id.Path)] = allocsPerCall(run)
		stop()
	}
	return m, nil
}

// heapPerInstance is what the heap grows by for each of many instances.
func heapPerInstance(one func(i int) any) float64 {
	kept := make([]any, instances)
	grown := heapGrowth(func() {
		for i := range kept {
			kept[i] = one(i)
		}
	})
	runtime.KeepAlive(kept)
	return math.Round(grown / instances)
}

// perAdmission is what the heap grows by for each admission that the limiter
// has to remember. For those that remember none it is 0.
func perAdmission(s strategy) (float64, error) {
	const n = 1 << 16
	var l ratelimit.Limiter
	var err error
	admitted := 0
	grown := heapGrowth(func() {
		if l, err = s.build(settings{Limit: n, Window: time.Hour}, nil); err != nil {
			return
		}
		for range n {
			if l.Allow() {
				admitted++
			}
		}
	})
	runtime.KeepAlive(l)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", s.name, err)
	}
	if admitted != n {
		return 0, fmt.Errorf("%s: %d of %d admitted", s.name, admitted, n)
	}
	// Below half a byte it is the limiter itself and what else the heap does.
	if perCall := grown / n; perCall >= 0.5 {
		return perCall, nil
	}
	return 0, nil
}

// heapGrowth is by how many bytes f makes the heap grow for good.
func heapGrowth(f func()) float64 {
	before := liveHeap()
	f()
	return max(0, float64(liveHeap())-float64(before))
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // a second time for what the first one only set free
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// allocsPerCall is the allocations of one call. The least of some attempts is
// taken, because others may allocate meanwhile.
func allocsPerCall(run loop) float64 {
	least := 0.0
	for i := range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run(chunk)
		runtime.ReadMemStats(&after)
		if n := float64(after.Mallocs-before.Mallocs) / chunk; i == 0 || n < least {
			least = n
		}
	}
	return float64(int(least*100+0.5)) / 100
}

// ns is the cost of a row, or 0 if it was not timed.
func (c *cost) ns(id rowID) float64 {
	if r := c.byID[id]; r != nil {
		return r.NS
	}
	return 0
}

// ratio is the median over the rounds of one row's cost by the other's in the
// same round, or 0 if one of them was not timed.
func (c *cost) ratio(id, to rowID) float64 {
	a, b := c.byID[id], c.byID[to]
	if a == nil || b == nil {
		return 0
	}
	ratios := make([]float64, len(a.rounds))
	for i := range ratios {
		ratios[i] = a.rounds[i] / b.rounds[i]
	}
	return median(ratios)
}

// disturbed reports whether other programs took so much of the machine that what
// was timed on all cores is not to be trusted: readings of the clock do not get
// in each other's way, so all cores should do many more of them than one.
func (c *cost) disturbed() bool {
	one := rowID{floorRead, allow, refused, systemClock, false}
	all := one
	all.AllCores = true
	return c.Cores > 1 && c.ratio(one, all) < 0.6*float64(c.Cores)
}

// memoryOf is what that implementation allocates.
func (c *cost) memoryOf(name string) memory {
	for _, m := range c.Memory {
		if m.Impl == name {
			return m
		}
	}
	return memory{}
}
