package httplimit_test

import (
	"fmt"
	"net/http"
	"slices"
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
