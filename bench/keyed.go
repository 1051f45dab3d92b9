package main

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/httprate"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	ulule "github.com/ulule/limiter/v3"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"
)

// A keyedImpl is a limiter per key, under test.
type keyedImpl struct {
	name   string
	ours   bool
	module string // "" if it is in the floor or in this module
	// make returns a table of limiters for so many keys. On the path granted it
	// admits everything, on the path refused one event of a key and no more.
	make func(p path, keys int) (perKey, error)
}

// A perKey is a table of limiters.
type perKey struct {
	allow func(key string) bool
	close func() // if not nil, ends what it keeps running
}

const (
	keyedFloor = "hash, read, access, CAS"
	keyedPeer  = "mutex + map, x/time/rate"
)

// keyedImpls are those that are compared, each called the way its documentation
// shows, for one event.
var keyedImpls = []keyedImpl{
	{
		// What no table of limiters can be below. A refusal does not swap.
		name: keyedFloor,
		make: func(p path, keys int) (perKey, error) {
			words := make([]struct{ id, word atomic.Uint64 }, keys*5/4+1)
			for i := range words {
				words[i].word.Store(1) // memory that was never written is not there yet
			}
			seed, c := maphash.MakeSeed(), clock.System()
			return perKey{allow: func(key string) bool {
				i, _ := bits.Mul64(maphash.String(seed, key), uint64(len(words)))
				now, w := uint64(c.Now()), &words[i]
				old := w.word.Load()
				if p == refused {
					return w.id.Load() != 0 || old > now
				}
				return w.word.CompareAndSwap(old, old+now|1) || w.id.Load() == 0
			}}, nil
		},
	},
	ours("tokenbucket", func(limit int, window time.Duration) keyed.Config {
		return tokenbucket.Config{Limit: slow(limit), Window: window, Burst: limit}
	}),
	ours("leakybucket", func(limit int, window time.Duration) keyed.Config {
		return leakybucket.Config{Limit: slow(limit), Window: window, Capacity: limit}
	}),
	ours("fixedwindow", func(limit int, window time.Duration) keyed.Config {
		return fixedwindow.Config{Limit: limit, Window: window}
	}),
	ours("slidingwindow", func(limit int, window time.Duration) keyed.Config {
		return slidingwindow.Config{Limit: limit, Window: window}
	}),
	ours("slidinglog", func(limit int, window time.Duration) keyed.Config {
		// Admissions expire, so that a log is as long as those of two seconds.
		if limit > 1 {
			window = 2 * time.Second
		}
		return slidinglog.Config{Limit: limit, Window: window}
	}),
	{
		name:   keyedPeer,
		module: "golang.org/x/time",
		make: func(p path, _ int) (perKey, error) {
			var mu sync.Mutex
			of := make(map[string]*rate.Limiter)
			every, burst := rate.Limit(perSecond), perSecond
			if p == refused {
				every, burst = rate.Every(day), 1
			}
			return perKey{allow: func(key string) bool {
				mu.Lock()
				l := of[key]
				if l == nil {
					l = rate.NewLimiter(every, burst)
					of[key] = l
				}
				mu.Unlock()
				return l.Allow()
			}}, nil
		},
	},
	{
		name:   "throttled",
		module: "github.com/throttled/throttled/v2",
		make: func(p path, _ int) (perKey, error) {
			quota := throttled.RateQuota{MaxRate: throttled.PerSec(perSecond), MaxBurst: perSecond}
			if p == refused {
				quota = throttled.RateQuota{MaxRate: throttled.PerDay(1)}
			}
			l, err := newThrottled(quota)
			ctx := context.Background()
			return perKey{allow: func(key string) bool {
				limited, _, err := l.RateLimitCtx(ctx, key, 1)
				return err == nil && !limited
			}}, err
		},
	},
	{
		name:   "sethvargo",
		module: "github.com/sethvargo/go-limiter",
		make: func(p path, keys int) (perKey, error) {
			cfg := &memorystore.Config{Tokens: 1<<25 - 1, Interval: day, InitialAlloc: keys}
			if p == refused {
				cfg = &memorystore.Config{Tokens: 1, Interval: day, InitialAlloc: keys}
			}
			l, err := memorystore.New(cfg)
			ctx := context.Background()
			return perKey{
				allow: func(key string) bool {
					_, _, _, ok, err := l.Take(ctx, key)
					return err == nil && ok
				},
				close: func() { l.Close(ctx) },
			}, err
		},
	},
	{
		name:   "ulule",
		module: "github.com/ulule/limiter/v3",
		make: func(p path, _ int) (perKey, error) {
			limit := ulule.Rate{Period: time.Hour, Limit: perSecond}
			if p == refused {
				limit = ulule.Rate{Period: day, Limit: 1}
			}
			l, ctx := ulule.New(ululestore.NewStore(), limit), context.Background()
			return perKey{allow: func(key string) bool {
				c, err := l.Get(ctx, key)
				return err == nil && !c.Reached
			}}, nil
		},
	},
	{
		name:   "httprate",
		module: "github.com/go-chi/httprate",
		make: func(p path, _ int) (perKey, error) {
			limit := perSecond
			if p == refused {
				limit = 1
			}
			l := httprate.NewRateLimiter(limit, day, httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
			r, err := http.NewRequest("GET", "/", nil)
			return perKey{allow: func(key string) bool { return !l.OnLimit(noResponse{}, r, key) }}, err
		},
	},
}

// ours is a table of this module's.
func ours(name string, config func(limit int, window time.Duration) keyed.Config) keyedImpl {
	return keyedImpl{name: name, ours: true, make: func(p path, keys int) (perKey, error) {
		// So many that nothing is refused, and over so long a time that nothing
		// becomes as good as new again, and is forgotten, meanwhile.
		c := config(1<<25-1, day)
		if p == refused {
			c = config(1, 300*day)
		}
		l, err := keyed.New[string](c, keyed.Options{MaxKeys: keys + keys/4})
		if err != nil {
			return perKey{}, err
		}
		return perKey{allow: l.Allow}, nil
	}}
}

// slow is a rate at which so large a burst fills within the years that a bucket
// can count, and an event still takes seconds.
func slow(burst int) int { return min(burst, 10_000) }

// noResponse is a response that nobody reads.
type noResponse struct{}

func (noResponse) Header() http.Header            { return http.Header{} }
func (noResponse) Write(text []byte) (int, error) { return len(text), nil }
func (noResponse) WriteHeader(int)                {}

// keyedCost is what limiters per key cost.
type keyedCost struct {
	Keys   int         `json:"keys"`
	Cores  int         `json:"cores"`
	Rounds int         `json:"rounds"`
	Rows   []*keyedRow `json:"rows"`
	Growth growth      `json:"growth"`
}

// A keyedRow is the cost of one implementation: nanoseconds per call, with all
// cores from one answer to the next, and their ratios to the floor's, which are
// medians over pairs of slices that ran one after the other.
type keyedRow struct {
	Impl       string  `json:"impl"`
	Ours       bool    `json:"ours"`
	Granted    keyedNS `json:"granted"`
	Refused    keyedNS `json:"refused"`
	GrantedAll keyedNS `json:"granted_all_cores"`
	RefusedAll keyedNS `json:"refused_all_cores"`
	Bytes      float64 `json:"bytes_per_key"`
	Objects    float64 `json:"heap_objects_per_key"`
	Allocs     float64 `json:"allocs_per_call"` // granted
	GC         float64 `json:"gc_ms"`           // a garbage collection with all keys
}

type keyedNS struct {
	NS    float64 `json:"ns"`
	Ratio float64 `json:"ratio"` // to the floor
}

// A growth is what single calls take while a table grows.
type growth struct {
	Keys    int           `json:"keys"`
	Slowest time.Duration `json:"slowest_ns"`
	Nothing time.Duration `json:"nothing_ns"` // the slowest of as many pairs of clock readings with nothing in between
	Median  time.Duration `json:"median_ns"`
	Calls   []int         `json:"calls"`         // that took 2^i ns or more, but less than twice that
	Idle    []int         `json:"nothing_calls"` // of nothing, likewise
	Bytes   float64       `json:"bytes_per_key"`
	GCFew   float64       `json:"gc_ms_ten_keys"`
	GCMany  float64       `json:"gc_ms"`
}

// keyedPlan says how much to measure.
type keyedPlan struct {
	keys   int
	rounds int
	slice  time.Duration
	grow   int // keys
}

// zipfExponent is how unequal the keys are: the most frequent of a million has
// 4 % of the look-ups, the most frequent thousand 41 %.
const zipfExponent = 1.01

// measureKeyed times every implementation after the other, each next to the
// floor: all of them at once would fill the memory.
func measureKeyed(plan keyedPlan, seed uint64, progress func(fraction float64)) (*keyedCost, error) {
	c := &keyedCost{Keys: plan.keys, Cores: runtime.GOMAXPROCS(0), Rounds: plan.rounds}
	names := make([]string, plan.keys)
	for i := range names {
		names[i] = "client-" + strconv.Itoa(i)
	}
	random := rand.New(rand.NewPCG(seed, 1))
	random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	zipf := rand.NewZipf(random, zipfExponent, 1, uint64(plan.keys-1))
	// The keys that are asked for lie one after the other, as those of requests
	// are at hand when a limiter is asked: what is timed is the limiter.
	var text strings.Builder
	ends := make([]int, 1<<20)
	for i := range ends {
		text.WriteString(names[zipf.Uint64()])
		ends[i] = text.Len()
	}
	asked := make([]string, len(ends))
	from := 0
	for i, end := range ends {
		asked[i], from = text.String()[from:end], end
	}
	for i, im := range keyedImpls {
		row := &keyedRow{Impl: im.name, Ours: im.ours}
		for _, p := range []path{granted, refused} {
			if err := row.measure(im, p, names, asked, plan); err != nil {
				return nil, fmt.Errorf("%s, %d keys, %s: %w", im.name, plan.keys, p, err)
			}
		}
		c.Rows = append(c.Rows, row)
		progress(float64(i+1) / float64(len(keyedImpls)+2))
	}
	c.Growth = measureGrowth(plan.grow)
	progress(1)
	return c, nil
}

func (r *keyedRow) measure(im keyedImpl, p path, names, asked []string, plan keyedPlan) error {
	floor, err := keyedImpls[0].make(p, len(names))
	if err != nil {
		return err
	}
	var table perKey
	var before, after runtime.MemStats
	liveHeap()
	runtime.ReadMemStats(&before)
	grown := heapGrowth(func() {
		if table, err = im.make(p, len(names)); err == nil {
			for _, name := range names {
				table.allow(name)
			}
		}
	})
	if err != nil {
		return err
	}
	if table.close != nil {
		defer table.close()
	}
	runtime.ReadMemStats(&after)
	var next atomic.Uint64
	run := func(t perKey) loop {
		return func(n int) (granted int) {
			from := next.Add(uint64(n)) - uint64(n)
			for i := range uint64(n) {
				if t.allow(asked[(from+i)%uint64(len(asked))]) {
					granted++
				}
			}
			return granted
		}
	}
	one, all := &r.Granted, &r.GrantedAll
	if p == refused {
		one, all = &r.Refused, &r.RefusedAll
	} else {
		r.Bytes = grown / float64(len(names))
		r.Objects = max(0, float64(after.HeapObjects)-float64(before.HeapObjects)) / float64(len(names))
		r.GC = gcMilliseconds()
		r.Allocs = allocsPerCall(run(table))
	}
	for _, each := range []struct {
		workers int
		into    *keyedNS
	}{{1, one}, {runtime.GOMAXPROCS(0), all}} {
		var times, ratios []float64
		timeLoop(run(floor), each.workers, plan.slice)
		timeLoop(run(table), each.workers, plan.slice)
		for range plan.rounds {
			base := timeLoop(run(floor), each.workers, plan.slice)
			t := timeLoop(run(table), each.workers, plan.slice)
			if want := map[path]int{granted: t.calls, refused: 0}[p]; t.granted != want && im.name != keyedFloor {
				return fmt.Errorf("%d of %d calls were granted, want %d", t.granted, t.calls, want)
			}
			times, ratios = append(times, t.ns), append(ratios, t.ns/base.ns)
		}
		*each.into = keyedNS{NS: median(times), Ratio: median(ratios)}
	}
	runtime.KeepAlive(table)
	return nil
}

// measureGrowth times each call while a table grows from no key to so many.
func measureGrowth(keys int) growth {
	g := growth{Keys: keys, Calls: make([]int, 40), Idle: make([]int, 40)}
	config := tokenbucket.Config{Limit: 1000, Window: 1000 * time.Hour}
	few := keyed.MustNew[uint64](config, keyed.Options{MaxKeys: keys})
	for k := range uint64(10) {
		few.Allow(k)
	}
	g.GCFew = gcMilliseconds()
	runtime.KeepAlive(few)

	time1 := func(calls []int, slowest *time.Duration, f func(k uint64)) {
		start := time.Now()
		last := time.Since(start)
		for k := range uint64(keys) {
			f(k)
			now := time.Since(start)
			spent := now - last
			calls[bits.Len64(uint64(max(spent, 1)))-1]++
			*slowest = max(*slowest, spent)
			last = now
		}
	}
	time1(g.Idle, &g.Nothing, func(uint64) {})
	var l *keyed.Limiter[uint64]
	g.Bytes = heapGrowth(func() {
		l = keyed.MustNew[uint64](config, keyed.Options{MaxKeys: keys})
		time1(g.Calls, &g.Slowest, func(k uint64) { l.Allow(k) })
	}) / float64(keys)
	sum := 0
	for i, n := range g.Calls {
		if sum += n; sum >= keys/2 {
			g.Median = time.Duration(math.Sqrt2 * float64(int64(1)<<i))
			break
		}
	}
	g.GCMany = gcMilliseconds()
	runtime.KeepAlive(l)
	return g
}

// gcMilliseconds is how long a garbage collection takes, the shortest of some.
func gcMilliseconds() float64 {
	least := math.Inf(1)
	for range 4 {
		start := time.Now()
		runtime.GC()
		least = min(least, time.Since(start).Seconds()*1000)
	}
	return least
}
