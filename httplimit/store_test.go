package httplimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// elsewhere is a place where servers share their limits: a limiter for each
// key, and a way to fail.
type elsewhere struct {
	clock clock.Clock

	mu       sync.Mutex
	limiters map[string]*tokenbucket.Limiter
	fail     func(verb, key string) error
	calls    []string
}

func newElsewhere(c clock.Clock) *elsewhere {
	return &elsewhere{clock: c, limiters: make(map[string]*tokenbucket.Limiter), fail: func(string, string) error { return nil }}
}

func (e *elsewhere) store(s httplimit.Spec) (httplimit.Store, error) {
	if s.Strategy != httplimit.TokenBucket {
		return nil, fmt.Errorf("a %v is not kept here", s.Strategy)
	}
	return &elsewhereStore{e, s}, nil
}

type elsewhereStore struct {
	*elsewhere
	spec httplimit.Spec
}

func (e *elsewhereStore) limiter(ctx context.Context, verb, key string) (*tokenbucket.Limiter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	key = e.spec.ID + "|" + e.spec.Plan + "|" + key
	e.calls = append(e.calls, verb+" "+key)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.fail(verb, key); err != nil {
		return nil, err
	}
	l := e.limiters[key]
	if l == nil {
		l = tokenbucket.MustNew(tokenbucket.Config{Limit: e.spec.Count, Window: e.spec.Window, Burst: e.spec.Burst, Clock: e.clock})
		e.limiters[key] = l
	}
	return l, nil
}

func (e *elsewhereStore) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	l, err := e.limiter(ctx, "Take", key)
	if err != nil {
		return ratelimit.Decision{}, err
	}
	return l.Take(n), nil
}

func (e *elsewhereStore) Peek(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	l, err := e.limiter(ctx, "Peek", key)
	if err != nil {
		return ratelimit.Decision{}, err
	}
	return l.Peek(n), nil
}

func (e *elsewhereStore) Refund(ctx context.Context, key string, d ratelimit.Decision) error {
	l, err := e.limiter(ctx, "Refund", key)
	if err == nil {
		l.Refund(d)
	}
	return err
}

func (e *elsewhereStore) Reset(ctx context.Context, key string) error {
	l, err := e.limiter(ctx, "Reset", key)
	if err == nil {
		l.Reset()
	}
	return err
}

func TestServersShareAStore(t *testing.T) {
	fake := clock.NewFake()
	e := newElsewhere(fake)
	shared := httplimit.Limit{Rate: "4 per day", Scope: "db"}
	config := httplimit.Config{
		Defaults: rate("3 per day"),
		Routes: map[string]httplimit.Route{
			"/db":     {Limits: []httplimit.Limit{shared}},
			"/method": {Limits: []httplimit.Limit{{Rate: "1 per day", PerMethod: true}}},
		},
		Key:   headerKey("User"),
		Store: e.store,
	}
	a, b := newServer(t, config, muxOf("/x", "/db", "/method")), newServer(t, config, muxOf("/x", "/db", "/method"))
	a.want("200 200", "GET /x")
	b.want("200 429", "GET /x")
	a.want("429", "GET /x")
	a.want("404", "GET /")
	a.want("200", "GET /x", "User: alice")
	b.want("200", "GET /db", "User: alice")
	b.want("200", "POST /method", "User: alice")
	b.want("200", "GET /x", "from [2001:db8::1]:1")
	b.want("200", "GET /x", "from @")
	b.want("200", "GET /x", "User: "+long)

	want := []string{
		`Defaults[0]||/x|addr|192.0.2.1`, `Defaults[0]||/x|addr|192.0.2.1`, `Defaults[0]||/x|addr|192.0.2.1`, `Defaults[0]||/x|addr|192.0.2.1`, `Defaults[0]||/x|addr|192.0.2.1`,
		`Defaults[0]|||addr|192.0.2.1`,
		`Defaults[0]||/x|key|alice`,
		`Scope "db"||db|key|alice`,
		`Routes["/method"].Limits[0]||/method per method POST|key|alice`,
		`Defaults[0]||/x|addr|2001:db8::`,
		`Defaults[0]||/x|none|unknown`,
		`Defaults[0]||/x|hash|sha256:`,
	}
	if !slices.EqualFunc(e.calls, want, func(call, want string) bool { return strings.HasPrefix(call, "Take "+want) }) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(e.calls, "\n"), strings.Join(want, "\n"))
	}
	if err := b.limits.Reset(t.Context(), "192.0.2.1"); err != nil {
		t.Error(err)
	}
	a.want("200 200 200 429", "GET /x")
}

// What a Store cannot enforce is said when it is made.
func TestStoreIsMadeByNew(t *testing.T) {
	_, err := httplimit.New(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1/s", Strategy: httplimit.SlidingLog}},
		Store:    newElsewhere(clock.NewFake()).store,
	})
	if err == nil || err.Error() != `httplimit: Defaults[0]: "1 per second": Store: a slidinglog is not kept here` {
		t.Error(err)
	}
	var specs []httplimit.Spec
	_, err = httplimit.New(httplimit.Config{
		Defaults: []httplimit.Limit{{
			Rate: "1/s; 2/m", Burst: 2, Strategy: httplimit.LeakyBucket,
			Plan: headerKey("Plan"), Plans: map[string]string{"paid": "3/s; 4/m"},
		}},
		Ban: httplimit.Ban{Refusals: "5/h", For: 6e9},
		Store: func(s httplimit.Spec) (httplimit.Store, error) {
			specs = append(specs, s)
			return &elsewhereStore{}, nil
		},
	})
	if got, want := fmt.Sprint(specs, err), "[{Defaults[0] rate 0  leakybucket 1 1s 2} {Defaults[0] rate 1  leakybucket 2 1m0s 2} "+
		"{Defaults[0] rate 0 paid leakybucket 3 1s 2} {Defaults[0] rate 1 paid leakybucket 4 1m0s 2} "+
		"{Ban.Refusals  tokenbucket 5 1h0m0s 0} {Ban.For  tokenbucket 1 6s 0}] <nil>"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// failing is a server with three limits, the second of which fails to answer
// a verb.
func failing(t *testing.T, verb string, change func(*httplimit.Config)) (*server, *elsewhere) {
	e := newElsewhere(clock.NewFake())
	c := httplimit.Config{Defaults: rate("5 per day; 4 per day; 3 per day"), Store: e.store}
	if change != nil {
		change(&c)
	}
	s := newServer(t, c, nil)
	e.fail = func(v, key string) error {
		if v == verb && strings.Contains(key, "rate 1") {
			return errors.New("no connection")
		}
		return nil
	}
	return s, e
}

func TestStoreFailureRefusesByDefault(t *testing.T) {
	for _, verb := range []string{"Peek", "Take"} {
		logger, log := newLog()
		s, e := failing(t, verb, func(c *httplimit.Config) { c.Logger = logger })
		s.want("503 503 503 503 503 503", "GET /")
		w := s.do("GET /", "Accept: application/json")
		wantHeader(t, w.Header(), "X-RateLimit-Limit", "")
		wantBody(t, w.Body, `{"type":"about:blank","title":"Service Unavailable","status":503}`+"\n")
		wantBody(t, s.do("GET /").Body, "Service Unavailable\n") // and no word of the error
		if line := "level=ERROR msg=\"rate limit store failed\" error=\"no connection\" admitted=false\n"; log.String() != strings.Repeat(line, 8) {
			t.Errorf("logged\n%s", log)
		}
		// The others have been given back what they were charged.
		e.fail = func(string, string) error { return nil }
		s.want("200 200 200 429", "GET /")
	}
}

func TestStoreFailureAdmitsIfThatIsChosen(t *testing.T) {
	for _, verb := range []string{"Peek", "Take"} {
		s, e := failing(t, verb, func(c *httplimit.Config) { c.AdmitOnError = true })
		// The other two still hold.
		s.want("200 200 200 429 429", "GET /")
		for key, l := range e.limiters {
			if strings.Contains(key, "rate 1") && l.Peek(0).Remaining != 4 {
				t.Errorf("%s: %s has %d left", verb, key, l.Peek(0).Remaining)
			}
		}
	}
}

// A Store that fails to give back keeps the charge; it is not tried again.
func TestStoreFailureToRefundIsLogged(t *testing.T) {
	logger, log := newLog()
	s, e := failing(t, "Refund", func(c *httplimit.Config) {
		c.Logger = logger
		c.Defaults[0].CountWhen = func(httplimit.Response) bool { return false }
	})
	s.want("200 200 200 200 429", "GET /")
	if strings.Count(log.String(), "no connection") != 4 {
		t.Errorf("logged\n%s", log)
	}
	refunds := 0
	for _, call := range e.calls {
		if strings.HasPrefix(call, "Refund") {
			refunds++
		}
	}
	if refunds != 12 {
		t.Errorf("%d refunds, want 4 of each limit", refunds)
	}
}

func TestStoreFailureInResultForTheOwnAnswer(t *testing.T) {
	var got error
	s, _ := failing(t, "Peek", func(c *httplimit.Config) {
		c.Refuse = func(w http.ResponseWriter, _ *http.Request, res httplimit.Result) { got = res.Err; w.WriteHeader(500) }
	})
	s.want("500", "GET /")
	if got == nil || got.Error() != "no connection" {
		t.Error(got)
	}
}

func TestStoreFailureOfTheOnlyLimit(t *testing.T) {
	e := newElsewhere(clock.NewFake())
	var res httplimit.Result
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day"), Store: e.store, AdmitOnError: true, Ban: httplimit.Ban{Refusals: "1/d", For: 1e9}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { res, _ = httplimit.FromContext(r.Context()) }))
	e.fail = func(string, string) error { return errors.New("no connection") }
	w := s.do("GET /")
	if w.Code != 200 || len(w.Header()) != 0 || res.Err == nil || res.Allowed {
		t.Errorf("%d, %v, %+v", w.Code, w.Header(), res)
	}
	if err := s.limits.Reset(t.Context(), "192.0.2.1"); err == nil || !strings.Contains(err.Error(), `Reset of "192.0.2.1": no connection`) {
		t.Error(err)
	}
	e.fail = func(verb, key string) error {
		if verb == "Peek" {
			return errors.New("no connection")
		}
		return nil
	}
	s.want("200 429", "GET /") // bans are not known, and limits hold
}

// A client that has gone is no failure of the Store, and is charged nothing.
func TestStoreIsNotBlamedForAClientThatHasGone(t *testing.T) {
	logger, log := newLog()
	e := newElsewhere(clock.NewFake())
	for _, in := range []struct {
		admit     bool
		verb, key string
	}{{false, "Take", "rate 1"}, {true, "Take", "rate 1"}, {false, "Peek", "Ban.For"}, {true, "Peek", "Ban.For"}} {
		called := false
		s := newServer(t, httplimit.Config{
			Defaults: rate("2 per day; 9 per week"), Ban: httplimit.Ban{Refusals: "1/d", For: time.Hour},
			Store: e.store, Logger: logger, AdmitOnError: in.admit,
		},
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { called = true }))
		ctx, cancel := context.WithCancel(t.Context())
		e.fail = func(verb, key string) error {
			if verb == in.verb && strings.Contains(key, in.key) {
				cancel() // in the middle of it
				return context.Canceled
			}
			return nil
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, request("GET /").WithContext(ctx))
		if w.Code != http.StatusServiceUnavailable || called || log.Len() > 0 {
			t.Errorf("%d, called %v, logged %s", w.Code, called, log)
		}
	}
	for key, l := range e.limiters {
		if d := l.Peek(0); d.ResetAfter != 0 {
			t.Errorf("%s: %+v", key, d)
		}
	}
}

// What an outcome does not count is given back also if the client has gone.
func TestRefundDoesNotEndWithTheRequest(t *testing.T) {
	e := newElsewhere(clock.NewFake())
	ctx, cancel := context.WithCancel(t.Context())
	s := newServer(t, httplimit.Config{Defaults: failures("1 per day"), Store: e.store},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { cancel() }))
	s.ServeHTTP(httptest.NewRecorder(), request("GET /").WithContext(ctx))
	s.want("200", "GET /")
}

// hasty refuses a few times and says that it need not be waited for.
type hasty struct{ takes *int }

func (h hasty) Take(context.Context, string, int) (ratelimit.Decision, error) {
	*h.takes++
	return ratelimit.Decision{N: 1, Limit: 1, Allowed: *h.takes > 3}, nil
}
func (h hasty) Peek(context.Context, string, int) (ratelimit.Decision, error) {
	return ratelimit.Decision{}, nil
}
func (h hasty) Refund(context.Context, string, ratelimit.Decision) error { return nil }
func (h hasty) Reset(context.Context, string) error                      { return nil }

// stepping is a clock on which whoever sleeps has slept.
type stepping struct{ *clock.Fake }

func (c stepping) Sleep(_ context.Context, d time.Duration) error {
	c.Advance(d)
	return nil
}

// A Store that gives no time to wait is not asked again at once.
func TestStoreThatRefusesForNoTime(t *testing.T) {
	takes := 0
	fake := clock.NewFake()
	h := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per second", MaxWait: time.Minute}},
		Store:    func(httplimit.Spec) (httplimit.Store, error) { return hasty{&takes}, nil },
		Clock:    stepping{fake},
	}).Middleware(status(200))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("GET /"))
	if w.Code != 200 || takes != 4 || fake.Now() < 2*time.Millisecond {
		t.Errorf("status %d after asking %d times in %v", w.Code, takes, fake.Now())
	}
}
