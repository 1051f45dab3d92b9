package httplimit_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
)

// The same middleware twice around a handler counts a request once.
func TestNestedMiddlewaresCountOnce(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    rate("3 per day"),
		Application: rate("4 per day"),
		Routes:      map[string]httplimit.Route{"login": {Limits: rate("1 per day"), AddDefaults: true}},
	}, nil)
	s.Handler = s.limits.Middleware(s.limits.Middleware(s.limits.Middleware(status(200))))
	s.want("200 200 200 429", "GET /")

	// Further in, what is new is charged, and what is not is not.
	s.Handler = s.limits.Middleware(s.limits.Route("login")(status(200)))
	s.want("200 429", "GET /", "from 192.0.2.2:1")
}

// A refusal further in leaves no charge further out, and nothing more to settle.
func TestNestedRefusalChargesNothing(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: []httplimit.Limit{
			{Rate: "3 per day", CountWhen: func(resp httplimit.Response) bool { return resp.Status == 200 }},
			{Rate: "4 per day"},
		},
		Routes: map[string]httplimit.Route{"once": {Limits: rate("1 per day")}},
	}, nil)
	s.Handler = s.limits.Middleware(s.limits.Route("once")(status(200)))
	s.want("200 429 429 429 429", "GET /")
	wantHeader(t, s.do("GET /").Header(), "Retry-After", "86400")
	s.Handler = s.limits.Middleware(status(200))
	s.want("200 200 429", "GET /") // had the refusals been charged, or given back twice, it would not be two
}

// The header fields are of the nearest limit of all, and list them all.
func TestNestedHeadersAreOfAll(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("2 per day"),
		Routes:   map[string]httplimit.Route{"in": {Limits: rate("9 per day")}},
		Headers:  httplimit.XRateLimitDelta | httplimit.IETFDraft11,
	}, nil)
	inner := ""
	s.Handler = s.limits.Middleware(s.limits.Route("in")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, _ := httplimit.FromContext(r.Context())
		inner = fmt.Sprint(res.Policy, " ", res.Remaining)
	})))
	h := s.do("GET /").Header()
	wantHeader(t, h, "X-RateLimit-Limit", "2")
	wantHeader(t, h, "RateLimit", `"2 per day";r=1;t=43200`)
	wantHeader(t, h, "RateLimit-Policy", `"9 per day";q=9;w=86400, "2 per day";q=2;w=86400`)
	if inner != "2 per day 1" {
		t.Errorf("the handler reads %s", inner)
	}
}

// Limiters do not know of one another: what one refuses counts with another.
func TestNestedLimitersAreIndependent(t *testing.T) {
	inner := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, nil)
	outer := newServer(t, httplimit.Config{Defaults: rate("3 per day")}, inner.Handler)
	outer.want("200 429", "GET /")
	inner.want("429", "GET /")
	outer.Handler = outer.limits.Middleware(status(200))
	outer.want("200 429", "GET /")
}

// Whether a client is banned is asked once for a request.
func TestNestedBanIsCheckedOnce(t *testing.T) {
	e := newElsewhere(clock.NewFake())
	s := newServer(t, httplimit.Config{Defaults: rate("2 per day"), Ban: httplimit.Ban{Refusals: "1 per day", For: time.Second}, Store: e.store}, nil)
	s.Handler = s.limits.Middleware(s.limits.Middleware(status(200)))
	s.do("GET /")
	want := []string{"Peek Ban.For||addr|192.0.2.1", "Take Defaults[0]|||addr|192.0.2.1"}
	if !slices.Equal(e.calls, want) {
		t.Errorf("asked %q, want %q", e.calls, want)
	}
}

// within is a response of its own inside another, which it unwraps to.
type within struct {
	*httptest.ResponseRecorder
	outer http.ResponseWriter
}

func (w within) Unwrap() http.ResponseWriter { return w.outer }

// A handler that asks others and answers itself has been served, whatever they
// say.
func TestNestedRefusalOfAnotherResponseKeepsTheCharge(t *testing.T) {
	s := newServer(t, httplimit.Config{Routes: map[string]httplimit.Route{
		"/batch": {Limits: rate("3 per day")},
		"item":   {Limits: rate("1 per day")},
	}}, nil)
	item := s.limits.Route("item")(status(200))
	s.Handler = s.limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		item.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
	}))
	s.want("200 200 200 429 429", "POST /batch")
}

// Nor is the charge given back once a part of the same response has been served.
func TestNestedRefusalAfterAPartKeepsTheCharge(t *testing.T) {
	for _, counts := range []bool{false, true} {
		outer := rate("3 per day")
		if counts {
			outer[0].CountWhen = func(httplimit.Response) bool { return true }
		}
		s := newServer(t, httplimit.Config{Routes: map[string]httplimit.Route{
			"/page": {Limits: outer},
			"part":  {Limits: rate("1 per second")},
		}}, nil)
		part := s.limits.Route("part")(status(200))
		s.Handler = s.limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			part.ServeHTTP(w, r)
			part.ServeHTTP(w, r)
		}))
		for range 3 {
			s.want("200", "GET /page")
			s.clock.Advance(time.Second)
		}
		s.want("429", "GET /page")
	}
}

// A refusal through a ResponseWriter that has another inside is that one's.
func TestNestedRefusalThroughAWrapperChargesNothing(t *testing.T) {
	for _, counts := range []bool{false, true} {
		outer := rate("2 per day")
		if counts {
			outer[0].CountWhen = func(httplimit.Response) bool { return true }
		}
		s := newServer(t, httplimit.Config{Defaults: outer, Routes: map[string]httplimit.Route{"once": {Limits: rate("1 per day")}}}, nil)
		once := s.limits.Route("once")(status(200))
		s.Handler = s.limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/once" {
				w = struct{ within }{within{httptest.NewRecorder(), w}}
				once.ServeHTTP(w, r)
			}
		}))
		s.want("200 200 200 200", "GET /once") // of which the first has a charge
		s.want("200 429", "GET /")
	}
}

// What requests inside of one give back at the same time is given back once.
func TestNestedRefusalsAtATimeGiveBackOnce(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "100 per day", CountWhen: func(resp httplimit.Response) bool { return resp.Request.URL.Path != "/many" }}},
		Routes:   map[string]httplimit.Route{"none": {Limits: []httplimit.Limit{{Rate: "1 per day", Cost: func(*http.Request) int { return 2 }}}}},
	}, nil)
	none := s.limits.Route("none")(status(200))
	var wg sync.WaitGroup
	s.Handler = s.limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			return
		}
		for range 4 { // which go on when this one has returned
			wg.Go(func() { none.ServeHTTP(within{httptest.NewRecorder(), w}, r.Clone(r.Context())) })
		}
	}))
	for range 50 {
		s.do("GET /")
	}
	for range 200 {
		s.do("GET /many")
		wg.Wait()
	}
	wantHeader(t, s.do("GET /").Header(), "X-RateLimit-Remaining", "49")
}

// A handler that http.TimeoutHandler has given up on may be refused when its
// request has been answered. Each charge is given back once at most.
func TestNestedRefusalAfterATimeout(t *testing.T) {
	s := newServer(t, httplimit.Config{Routes: map[string]httplimit.Route{
		"/":    {Limits: failures("2 per day")},
		"none": {Limits: []httplimit.Limit{{Rate: "1 per day", Cost: func(*http.Request) int { return 2 }}}},
	}}, nil)
	none := s.limits.Route("none")(status(200))
	answered, refused := make(chan bool), make(chan bool)
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-answered
		none.ServeHTTP(w, r)
		refused <- true
	})
	s.Handler = s.limits.Middleware(http.TimeoutHandler(slow, 0, "late"))
	for range 2 {
		s.want("503", "GET /")
		answered <- true
		<-refused
	}
	s.want("429", "GET /")
}

// What is given back for a refusal does not wait for what is done about it.
func TestNestedRefusalThatPanicsChargesNothing(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:  rate("2 per day"),
		Routes:    map[string]httplimit.Route{"none": {Limits: []httplimit.Limit{{Rate: "1 per day", Cost: func(*http.Request) int { return 2 }}}}},
		OnRefusal: func(*http.Request, httplimit.Result) { panic("boom") },
	}, nil)
	s.Handler = s.limits.Middleware(s.limits.Route("none")(status(200)))
	for range 5 {
		func() {
			defer func() { recover() }()
			s.do("GET /")
		}()
	}
	s.Handler = s.limits.Middleware(status(200))
	s.want("200 200", "GET /")
}
