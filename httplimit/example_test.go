package httplimit_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/keyed"
)

// hello is a handler for examples.
func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") }

// get makes a request, such as "/path" or "POST /path", with header fields such
// as "User: alice", and prints what the client is told.
func get(h http.Handler, what string, fields ...string) *httptest.ResponseRecorder {
	method, path, ok := strings.Cut(what, " ")
	if !ok {
		method, path = "GET", what
	}
	r := httptest.NewRequest(method, path, nil)
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Print(strings.Join(append([]string{what}, fields...), ", "), ": ", w.Code, " ", w.Body)
	return w
}

func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("/fast", hello)
	mux.HandleFunc("/slow", hello)
	mux.HandleFunc("/ping", hello)

	limits, err := httplimit.New(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "2 per minute; 1 per second"}},
		Routes: map[string]httplimit.Route{
			"/slow": {Limits: []httplimit.Limit{{Rate: "1 per day"}}},
			"/ping": {Exempt: true},
		},
		Clock: clock.NewFake(), // leave Clock out for real time
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := limits.Middleware(mux) // http.ListenAndServe(addr, server)

	get(server, "/fast")
	get(server, "/fast")
	get(server, "/slow")
	get(server, "/slow")
	get(server, "/ping")
	get(server, "/ping")
	fmt.Print(limits)
	// Output:
	// /fast: 200 hello
	// /fast: 429 Too Many Requests: 1 per second
	// /slow: 200 hello
	// /slow: 429 Too Many Requests: 1 per day
	// /ping: 200 hello
	// /ping: 200 hello
	// /ping
	// └── exempt
	// /slow
	// └── 1 per day, tokenbucket
	// /fast
	// ├── 2 per minute, tokenbucket
	// └── 1 per second, tokenbucket
	// every other route
	// ├── 2 per minute, tokenbucket
	// └── 1 per second, tokenbucket
}

// A route's own limits stand in place of the defaults, or besides them. What one
// of several limits refuses is charged to none of them.
func ExampleRoute() {
	fake := clock.NewFake()
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "2 per minute"}},
		Routes: map[string]httplimit.Route{
			"/instead": {Limits: []httplimit.Limit{{Rate: "1 per second"}}},
			"/besides": {Limits: []httplimit.Limit{{Rate: "1 per second"}}, AddDefaults: true},
		},
		Clock: fake,
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	for range 3 {
		get(server, "/instead")
		get(server, "/besides")
		get(server, "/besides")
		fake.Advance(time.Second)
	}
	// Output:
	// /instead: 200 hello
	// /besides: 200 hello
	// /besides: 429 Too Many Requests: 1 per second
	// /instead: 200 hello
	// /besides: 200 hello
	// /besides: 429 Too Many Requests: 2 per minute
	// /instead: 200 hello
	// /besides: 429 Too Many Requests: 2 per minute
	// /besides: 429 Too Many Requests: 2 per minute
}

// Limits that all routes of a client share.
func ExampleConfig_application() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults:    []httplimit.Limit{{Rate: "2 per minute"}},
		Application: []httplimit.Limit{{Rate: "3 per hour", Name: "quota"}},
		Clock:       clock.NewFake(),
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/a", hello)
	mux.HandleFunc("/b", hello)
	server := limits.Middleware(mux)
	get(server, "/a")
	get(server, "/a")
	get(server, "/a")
	get(server, "/b")
	get(server, "/b")
	// Output:
	// /a: 200 hello
	// /a: 200 hello
	// /a: 429 Too Many Requests: 2 per minute
	// /b: 200 hello
	// /b: 429 Too Many Requests: quota
}

// Routes that use the same thing share a limit on it.
func ExampleLimit_scope() {
	database := httplimit.Limit{Rate: "2 per hour", Scope: "database"}
	limits := httplimit.MustNew(httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/search": {Limits: []httplimit.Limit{database}},
			"/report": {Limits: []httplimit.Limit{database, {Rate: "1 per day"}}},
		},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/search")
	get(server, "/report")
	get(server, "/search")
	// Output:
	// /search: 200 hello
	// /report: 200 hello
	// /search: 429 Too Many Requests: 2 per hour
}

// Each method by itself, or a method of its own.
func ExampleLimit_perMethod() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per second", PerMethod: true}},
		Routes: map[string]httplimit.Route{
			"POST /orders": {Limits: []httplimit.Limit{{Rate: "1 per hour"}}},
		},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/orders")
	get(server, "PUT /orders")
	get(server, "PUT /orders")
	get(server, "POST /orders")
	get(server, "POST /orders")
	// Output:
	// /orders: 200 hello
	// PUT /orders: 200 hello
	// PUT /orders: 429 Too Many Requests: 1 per second
	// POST /orders: 200 hello
	// POST /orders: 429 Too Many Requests: 1 per hour
}

// The default is a token bucket: after the whole count at once, one more whenever
// its share of the window has passed. The log counts a trailing window exactly.
func ExampleStrategy() {
	fake := clock.NewFake()
	limits := httplimit.MustNew(httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/bucket": {Limits: []httplimit.Limit{{Rate: "2 per minute"}}},
			"/log":    {Limits: []httplimit.Limit{{Rate: "2 per minute", Strategy: httplimit.SlidingLog}}},
			"/fixed":  {Limits: []httplimit.Limit{{Rate: "2 per minute", Strategy: httplimit.FixedWindow}}},
		},
		Refuse: func(w http.ResponseWriter, r *http.Request, res httplimit.Result) {
			fmt.Fprintln(w, "in", res.RetryAfter)
		},
		Clock: fake,
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	fake.Advance(10 * time.Second)
	for range 3 {
		get(server, "/bucket")
		get(server, "/log")
		get(server, "/fixed")
	}
	// Output:
	// /bucket: 200 hello
	// /log: 200 hello
	// /fixed: 200 hello
	// /bucket: 200 hello
	// /log: 200 hello
	// /fixed: 200 hello
	// /bucket: 200 in 30s
	// /log: 200 in 1m0s
	// /fixed: 200 in 50s
}

// By user, and by address for those who have not logged in.
func ExampleConfig_key() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per minute"}},
		Key: func(r *http.Request) string {
			user, _, _ := r.BasicAuth() // which an outer middleware has checked
			return user
		},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	const alice, bob = "Authorization: Basic YWxpY2U6", "Authorization: Basic Ym9iOg=="
	get(server, "/", alice)
	get(server, "/", alice)
	get(server, "/", bob)
	get(server, "/")
	get(server, "/")
	// Output:
	// /, Authorization: Basic YWxpY2U6: 200 hello
	// /, Authorization: Basic YWxpY2U6: 429 Too Many Requests: 1 per minute
	// /, Authorization: Basic Ym9iOg==: 200 hello
	// /: 200 hello
	// /: 429 Too Many Requests: 1 per minute
}

// Behind proxies, the client is the rightmost hop that is none of them. What
// stands further to the left is the client's own invention.
func ExampleClient() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per minute"}},
		Client: httplimit.Client{
			Header:         "X-Forwarded-For",
			TrustedProxies: []string{"192.0.2.0/24"}, // where requests of these examples come from
		},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/", "X-Forwarded-For: 198.51.100.1")
	get(server, "/", "X-Forwarded-For: 203.0.113.5, 198.51.100.1")
	get(server, "/", "X-Forwarded-For: 198.51.100.2, 192.0.2.7")
	// Output:
	// /, X-Forwarded-For: 198.51.100.1: 200 hello
	// /, X-Forwarded-For: 203.0.113.5, 198.51.100.1: 429 Too Many Requests: 1 per minute
	// /, X-Forwarded-For: 198.51.100.2, 192.0.2.7: 200 hello
}

// Who pays gets more. What has been used counts under either plan.
func ExampleLimit_plans() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{
			Rate:  "1 per minute",
			Plan:  func(r *http.Request) string { return r.Header.Get("Plan") }, // of the user's record, really
			Plans: map[string]string{"paid": "3 per minute"},
		}},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	get(server, "/")
	get(server, "/", "Plan: paid")
	get(server, "/", "Plan: paid")
	get(server, "/", "Plan: paid")
	// Output:
	// /: 200 hello
	// /: 429 Too Many Requests: 1 per minute
	// /, Plan: paid: 200 hello
	// /, Plan: paid: 200 hello
	// /, Plan: paid: 429 Too Many Requests: 3 per minute
}

// A request may count as several, or not at all.
func ExampleLimit_cost() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{
			Rate: "10 per minute",
			Cost: func(r *http.Request) int {
				if r.URL.Path == "/export" {
					return 8
				}
				return 1
			},
			ExemptWhen: func(r *http.Request) bool { return r.Method == http.MethodOptions },
		}},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/export")
	get(server, "/export")
	get(server, "/")
	get(server, "OPTIONS /export")
	// Output:
	// /export: 200 hello
	// /export: 429 Too Many Requests: 10 per minute
	// /: 200 hello
	// OPTIONS /export: 200 hello
}

// Logins that succeed do not count, and the third guess is not looked at.
func ExampleLimit_countWhen() {
	limits := httplimit.MustNew(httplimit.Config{
		Routes: map[string]httplimit.Route{"POST /login": {Limits: []httplimit.Limit{{
			Rate:      "2 per hour",
			Strategy:  httplimit.SlidingLog,
			CountWhen: func(resp httplimit.Response) bool { return resp.Status == http.StatusUnauthorized },
		}}}},
		Clock: clock.NewFake(),
	})
	login := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Password") != "secret" {
			http.Error(w, "wrong", http.StatusUnauthorized)
			return
		}
		fmt.Fprintln(w, "welcome")
	}
	server := limits.Middleware(http.HandlerFunc(login))
	get(server, "POST /login", "Password: secret")
	get(server, "POST /login", "Password: 1234")
	get(server, "POST /login", "Password: secret")
	get(server, "POST /login", "Password: 5678")
	get(server, "POST /login", "Password: 9012")
	// Output:
	// POST /login, Password: secret: 200 welcome
	// POST /login, Password: 1234: 401 wrong
	// POST /login, Password: secret: 200 welcome
	// POST /login, Password: 5678: 401 wrong
	// POST /login, Password: 9012: 429 Too Many Requests: 2 per hour
}

// A client that does not take no for an answer gets no other for an hour.
func ExampleBan() {
	fake := clock.NewFake()
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per second"}},
		Ban:      httplimit.Ban{Refusals: "2 per minute", For: time.Hour},
		Clock:    fake,
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	for range 4 {
		get(server, "/")
	}
	fake.Advance(time.Minute)
	fmt.Println("Retry-After:", get(server, "/").Header().Get("Retry-After"))
	// Output:
	// /: 200 hello
	// /: 429 Too Many Requests: 1 per second
	// /: 429 Too Many Requests: 1 per second
	// /: 429 Too Many Requests: 1 per second
	// /: 429 Too Many Requests: refused too often
	// Retry-After: 3540
}

func ExampleHeaders() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "2 per minute"}, {Rate: "100 per day", Name: "daily"}},
		Headers:  httplimit.XRateLimitDelta | httplimit.IETFDraft11,
		Clock:    clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	for range 3 {
		h := get(server, "/").Header()
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if strings.Contains(name, "Rate") || name == "Retry-After" {
				fmt.Println(name+":", h.Get(name))
			}
		}
	}
	// Output:
	// /: 200 hello
	// Ratelimit: "2 per minute";r=1;t=30
	// Ratelimit-Policy: "2 per minute";q=2;w=60, "daily";q=100;w=86400
	// X-Ratelimit-Limit: 2
	// X-Ratelimit-Remaining: 1
	// X-Ratelimit-Reset: 30
	// /: 200 hello
	// Ratelimit: "2 per minute";r=0;t=60
	// Ratelimit-Policy: "2 per minute";q=2;w=60, "daily";q=100;w=86400
	// X-Ratelimit-Limit: 2
	// X-Ratelimit-Remaining: 0
	// X-Ratelimit-Reset: 60
	// /: 429 Too Many Requests: 2 per minute
	// Ratelimit: "2 per minute";r=0;t=30
	// Ratelimit-Policy: "2 per minute";q=2;w=60, "daily";q=100;w=86400
	// Retry-After: 30
	// X-Ratelimit-Limit: 2
	// X-Ratelimit-Remaining: 0
	// X-Ratelimit-Reset: 60
}

// Clients that accept it are told in JSON.
func ExampleAnswer() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per day"}},
		Clock:    clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	get(server, "/", "Accept: application/json")
	// Output:
	// /: 200 hello
	// /, Accept: application/json: 429 {"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,"detail":"1 per day","violated-policies":["1 per day"]}
}

// An answer of the server's own.
func ExampleConfig_refuse() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per day"}},
		Refuse: func(w http.ResponseWriter, r *http.Request, res httplimit.Result) {
			if res.Err != nil { // a Store has failed
				httplimit.Answer(w, r, res)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			json.NewEncoder(w).Encode(map[string]string{"error": "ratelimit exceeded " + res.Policy})
		},
		Clock: clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	get(server, "/")
	// Output:
	// /: 200 hello
	// /: 429 {"error":"ratelimit exceeded 1 per day"}
}

// A handler may save its strength when a client is near its limit.
func ExampleFromContext() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "2 per minute"}},
		Clock:    clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if res, ok := httplimit.FromContext(r.Context()); ok {
			fmt.Fprintf(w, "%d of %d left, all of them in %v\n", res.Remaining, res.Limit, res.ResetAfter)
		}
	}))
	get(server, "/")
	get(server, "/")
	// Output:
	// /: 200 1 of 2 left, all of them in 30s
	// /: 200 0 of 2 left, all of them in 1m0s
}

// A new limit is tried out before it is enforced: who would it have refused?
func ExampleConfig_dryRun() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per minute"}},
		DryRun:   true,
		Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})),
		OnRefusal: func(r *http.Request, res httplimit.Result) { fmt.Println("one more for the metrics") },
		Clock:     clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	get(server, "/")
	// Output:
	// /: 200 hello
	// level=INFO msg="rate limit exceeded" method=GET route="" limit="1 per minute" key=192.0.2.1 retry_after=1m0s banned=false dry_run=true
	// one more for the metrics
	// /: 200 hello
}

func ExampleLimiter_Reset() {
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per day"}},
		Clock:    clock.NewFake(),
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	get(server, "/")
	if err := limits.Reset(context.Background(), "192.0.2.1"); err != nil {
		fmt.Println(err)
	}
	get(server, "/")
	// Output:
	// /: 200 hello
	// /: 429 Too Many Requests: 1 per day
	// /: 200 hello
}

// A request that comes a little early is held back rather than refused.
func ExampleLimit_maxWait() {
	fake := clock.NewFake()
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per second", MaxWait: 5 * time.Second}, {Rate: "2 per hour"}},
		Clock:    fake,
	})
	server := limits.Middleware(http.HandlerFunc(hello))
	get(server, "/")
	done := make(chan bool)
	go func() { get(server, "/"); close(done) }()
	fake.BlockUntil(context.Background(), 1)
	fmt.Println("…")
	fake.Advance(time.Second)
	<-done
	get(server, "/")
	// Output:
	// /: 200 hello
	// …
	// /: 200 hello
	// /: 429 Too Many Requests: 2 per hour
}

// In a router of another kind, a route is named where its handler is.
func ExampleLimiter_Route() {
	limits := httplimit.MustNew(httplimit.Config{
		Routes: map[string]httplimit.Route{"login": {Limits: []httplimit.Limit{{Rate: "1 per minute"}}}},
		Clock:  clock.NewFake(),
	})
	limited := limits.Route("login") // router.With(limits.Route("login")).Post("/login", …)
	server := limited(http.HandlerFunc(hello))
	get(server, "/Login/")
	get(server, "/login")
	// Output:
	// /Login/: 200 hello
	// /login: 429 Too Many Requests: 1 per minute
}

// A Store is where the counts are. This one is a table like that of this
// process, which several Limiters share.
func ExampleStore() {
	fake := clock.NewFake()
	tables := make(map[string]*keyed.Limiter[string])
	config := httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per minute", Strategy: httplimit.FixedWindow}},
		Store: func(s httplimit.Spec) (httplimit.Store, error) {
			if s.Strategy != httplimit.FixedWindow || s.Plan != "" {
				return nil, fmt.Errorf("want a fixed window without plans")
			}
			if tables[s.ID] == nil {
				table, err := keyed.New[string](fixedwindow.Config{Limit: s.Count, Window: s.Window, Clock: fake}, keyed.Options{})
				if err != nil {
					return nil, err
				}
				tables[s.ID] = table
			}
			return table{tables[s.ID]}, nil
		},
	}
	one := httplimit.MustNew(config).Middleware(http.HandlerFunc(hello))
	two := httplimit.MustNew(config).Middleware(http.HandlerFunc(hello))
	get(one, "/")
	get(two, "/")
	// Output:
	// /: 200 hello
	// /: 429 Too Many Requests: 1 per minute
}

type table struct{ *keyed.Limiter[string] }

func (t table) Take(_ context.Context, key string, n int) (ratelimit.Decision, error) {
	return t.Limiter.Take(key, n), nil
}

func (t table) Peek(_ context.Context, key string, n int) (ratelimit.Decision, error) {
	return t.Limiter.Peek(key, n), nil
}

func (t table) Refund(_ context.Context, key string, d ratelimit.Decision) error {
	t.Limiter.Refund(key, d)
	return nil
}

func (t table) Reset(_ context.Context, key string) error {
	t.Limiter.Forget(key)
	return nil
}
