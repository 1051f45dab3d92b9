package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/didip/tollbooth/v7"
	"github.com/go-chi/httprate"
	"github.com/ratekeep/ratelimit/httplimit"
	sethvargohttp "github.com/sethvargo/go-limiter/httplimit"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	ulule "github.com/ulule/limiter/v3"
	ululehttp "github.com/ulule/limiter/v3/drivers/middleware/stdlib"
	ululestore "github.com/ulule/limiter/v3/drivers/store/memory"
)

// An httpImpl is a middleware that limits requests by the client's address, and
// tells the client in header fields where it stands.
type httpImpl struct {
	name   string
	ours   bool
	module string // of a peer
	// make puts next behind a limit that lets every request through, or none
	// after the first. close, if not nil, ends what it keeps running.
	make func(p path, next http.Handler) (h http.Handler, close func(), err error)
}

const httpBare = "bare handler"

// httpImpls are those that are compared, each as its documentation shows it,
// with its usual header fields.
var httpImpls = []httpImpl{
	{name: httpBare, make: func(_ path, next http.Handler) (http.Handler, func(), error) { return next, nil, nil }},
	ourHTTP("httplimit", httplimit.Config{}),
	ourHTTP("httplimit, no header fields", httplimit.Config{Headers: httplimit.NoHeaders}),
	ourHTTP("httplimit, IETF draft 11", httplimit.Config{Headers: httplimit.IETFDraft11}),
	{
		name:   "httprate",
		module: "github.com/go-chi/httprate",
		make: func(p path, next http.Handler) (http.Handler, func(), error) {
			limit := perSecond
			if p == refused {
				limit = 1
			}
			address := func(r *http.Request) (string, error) {
				host, _, err := net.SplitHostPort(r.RemoteAddr)
				return httprate.CanonicalizeIP(host), err
			}
			return httprate.LimitBy(limit, day, address)(next), nil, nil
		},
	},
	{
		name:   "tollbooth",
		module: "github.com/didip/tollbooth/v7",
		make: func(p path, next http.Handler) (http.Handler, func(), error) {
			l := tollbooth.NewLimiter(perSecond, nil).SetBurst(perSecond)
			if p == refused {
				l = tollbooth.NewLimiter(1/day.Seconds(), nil).SetBurst(1)
			}
			l.SetIPLookups([]string{"RemoteAddr"})
			return tollbooth.LimitHandler(l, next), nil, nil
		},
	},
	{
		name:   "throttled",
		module: "github.com/throttled/throttled/v2",
		make: func(p path, next http.Handler) (http.Handler, func(), error) {
			quota := throttled.RateQuota{MaxRate: throttled.PerSec(perSecond), MaxBurst: perSecond}
			if p == refused {
				quota = throttled.RateQuota{MaxRate: throttled.PerDay(1)}
			}
			l, err := newThrottled(quota)
			limiter := throttled.HTTPRateLimiterCtx{RateLimiter: l, VaryBy: &throttled.VaryBy{RemoteAddr: true}}
			return limiter.RateLimit(next), nil, err
		},
	},
	{
		name:   "sethvargo",
		module: "github.com/sethvargo/go-limiter",
		make: func(p path, next http.Handler) (http.Handler, func(), error) {
			cfg := &memorystore.Config{Tokens: perSecond, Interval: time.Second}
			if p == refused {
				cfg = &memorystore.Config{Tokens: 1, Interval: day}
			}
			store, err := memorystore.New(cfg)
			if err != nil {
				return nil, nil, err
			}
			m, err := sethvargohttp.NewMiddleware(store, sethvargohttp.IPKeyFunc())
			if err != nil {
				return nil, nil, err
			}
			return m.Handle(next), func() { store.Close(context.Background()) }, nil
		},
	},
	{
		name:   "ulule",
		module: "github.com/ulule/limiter/v3",
		make: func(p path, next http.Handler) (http.Handler, func(), error) {
			limit := ulule.Rate{Period: time.Hour, Limit: perSecond}
			if p == refused {
				limit = ulule.Rate{Period: day, Limit: 1}
			}
			return ululehttp.NewMiddleware(ulule.New(ululestore.NewStore(), limit)).Handler(next), nil, nil
		},
	},
}

func ourHTTP(name string, c httplimit.Config) httpImpl {
	return httpImpl{name: name, ours: true, make: func(p path, next http.Handler) (http.Handler, func(), error) {
		c.Defaults = []httplimit.Limit{{Rate: "1000000000 per second"}}
		if p == refused {
			c.Defaults = []httplimit.Limit{{Rate: "1 per day"}}
		}
		l, err := httplimit.New(c)
		if err != nil {
			return nil, nil, err
		}
		return l.Middleware(next), nil, nil
	}}
}

// httpCost is what middlewares cost.
type httpCost struct {
	Rounds int        `json:"rounds"`
	Rows   []*httpRow `json:"rows"`
	Peers  []string   `json:"peers"`
}

// An httpRow is the cost of a request through one implementation.
type httpRow struct {
	Impl          string  `json:"impl"`
	Granted       float64 `json:"granted_ns"`
	Refused       float64 `json:"refused_ns"` // 0 for the bare handler
	GrantedAllocs float64 `json:"granted_allocs"`
	RefusedAllocs float64 `json:"refused_allocs"`

	impl    httpImpl
	samples map[path][]float64
}

// httpResponse is what requests are answered to. Its header is used again, as
// large as it was.
type httpResponse struct {
	header http.Header
	status int
}

func (w *httpResponse) Header() http.Header         { return w.header }
func (w *httpResponse) WriteHeader(status int)      { w.status = status }
func (w *httpResponse) Write(p []byte) (int, error) { return len(p), nil }

// requests is the loop that is timed: the same request, from one client.
func requests(h http.Handler) loop {
	r := httptest.NewRequest("GET", "/", nil)
	w := &httpResponse{header: make(http.Header)}
	return func(n int) (granted int) {
		for range n {
			clear(w.header)
			w.status = http.StatusOK
			h.ServeHTTP(w, r)
			if w.status == http.StatusOK {
				granted++
			}
		}
		return granted
	}
}

// measureHTTP times all middlewares in interleaved rounds, in an order that is
// drawn anew for each.
func measureHTTP(plan costPlan, seed uint64, progress func(fraction float64)) (*httpCost, error) {
	c := &httpCost{}
	type slot struct {
		row  *httpRow
		path path
	}
	var slots []slot
	versions := moduleVersions()
	for _, im := range httpImpls {
		row := &httpRow{Impl: im.name, impl: im, samples: make(map[path][]float64)}
		c.Rows = append(c.Rows, row)
		slots = append(slots, slot{row, granted})
		if im.name != httpBare {
			slots = append(slots, slot{row, refused})
		}
		if im.module != "" {
			c.Peers = append(c.Peers, strings.TrimSpace(fmt.Sprintf("%s is %s %s", im.name, im.module, versions[im.module])))
		}
	}
	// A quarter of what the limiters by themselves are given.
	c.Rounds = max(1, int(plan.budget/4/max(plan.slice*time.Duration(len(slots)), 1)))
	random := rand.New(rand.NewPCG(seed, 3))
	for round := range c.Rounds {
		for i, n := range random.Perm(len(slots)) {
			if err := slots[n].row.run(slots[n].path, plan.slice); err != nil {
				return nil, err
			}
			progress((float64(round) + float64(i+1)/float64(len(slots))) / float64(c.Rounds))
		}
	}
	for _, row := range c.Rows {
		row.Granted, row.Refused = median(row.samples[granted]), median(row.samples[refused])
	}
	return c, nil
}

// run takes one sample.
func (row *httpRow) run(p path, d time.Duration) error {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	h, end, err := row.impl.make(p, next)
	if err != nil {
		return fmt.Errorf("%s: %w", row.Impl, err)
	}
	if end != nil {
		defer end()
	}
	run := requests(h)
	run(1) // after which nothing is left, if it is to be refused
	timeLoop(run, 1, warmUp)
	t := timeLoop(run, 1, d)
	if (p == granted) != (t.granted == t.calls) || p == refused && t.granted > 0 {
		return fmt.Errorf("%s, %s: %d of %d requests were let through", row.Impl, p, t.granted, t.calls)
	}
	if len(row.samples[p]) == 0 {
		allocs := allocsPerCall(run)
		if p == granted {
			row.GrantedAllocs = allocs
		} else {
			row.RefusedAllocs = allocs
		}
	}
	row.samples[p] = append(row.samples[p], t.ns)
	return nil
}

// table is what the middlewares add to a request.
func (c *httpCost) table() table {
	t := table{
		Title: fmt.Sprintf("Cost of a middleware: nanoseconds per request, medians of %d interleaved rounds", c.Rounds),
		Head:  []string{"", "granted", "over bare", "allocs", "refused", "allocs "},
		Note: "One client, by its address, with the header fields that each sets by default. The response writer is used again and writes nothing, so that " +
			"the middleware is all that is measured. " + strings.Join(c.Peers, "; ") + ".",
	}
	for _, row := range c.Rows {
		if row.Impl == httpBare {
			t.Rows = append(t.Rows, []string{row.Impl, ns(row.Granted), "", fmt.Sprintf("%.3g", row.GrantedAllocs), "–", "– "})
			continue
		}
		t.Rows = append(t.Rows, []string{row.Impl, ns(row.Granted), ns(row.Granted - c.Rows[0].Granted), fmt.Sprintf("%.3g", row.GrantedAllocs),
			ns(row.Refused), fmt.Sprintf("%.3g ", row.RefusedAllocs)})
	}
	return t
}
