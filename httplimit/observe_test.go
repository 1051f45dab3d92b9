package httplimit_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

// newLog is a Logger without times, and what it has written.
func newLog() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), &b
}

func TestHandlersReadTheDecision(t *testing.T) {
	var got []string
	s := newServer(t, httplimit.Config{
		Defaults: rate("3 per minute; 100 per hour"),
		Routes:   map[string]httplimit.Route{"/exempt": {Exempt: true}, "/zero": {Limits: []httplimit.Limit{{Rate: "1/s", ExemptWhen: func(*http.Request) bool { return true }}}}},
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, ok := httplimit.FromContext(r.Context())
		got = append(got, fmt.Sprint(ok, res.Allowed, res.Remaining, " ", res.Policy, " ", res.Route, " ", res.ResetAfter))
	}))
	s.want("200 200", "GET /")
	s.want("200", "GET /exempt")
	s.want("200", "GET /zero")
	if want := "[true true 2 3 per minute  20s true true 1 3 per minute  40s false false 0   0s false false 0   0s]"; fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if _, ok := httplimit.FromContext(context.Background()); ok {
		t.Error("a decision in an empty context")
	}
}

// The request's own context is still there.
func TestHandlersKeepTheirContext(t *testing.T) {
	type k struct{}
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(k{}) != "v" || r.Context().Err() != context.Canceled {
			w.WriteHeader(500)
		}
	}))
	r := request("GET /")
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), k{}, "v"))
	cancel()
	w := &response{header: make(http.Header), status: 200}
	s.ServeHTTP(w, r.WithContext(ctx))
	if w.status != 200 {
		t.Error("the context was lost")
	}
}

func TestOnRefusalIsCalledForRefusals(t *testing.T) {
	var got []string
	s := newServer(t, httplimit.Config{
		Defaults:  rate("1 per minute"),
		OnRefusal: func(r *http.Request, res httplimit.Result) { got = append(got, r.Method+" "+res.Policy+" "+res.Key()) },
	}, nil)
	s.want("200 429", "GET /")
	s.want("429", "POST /")
	if want := []string{"GET 1 per minute 192.0.2.1", "POST 1 per minute 192.0.2.1"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEvents(t *testing.T) {
	logger, log := newLog()
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per minute"),
		Logger:   logger,
		Ban:      httplimit.Ban{Refusals: "1 per hour", For: time.Hour},
	}, muxOf("/a"))
	s.want("200 429 429 429", "GET /a")
	want := `level=INFO msg="rate limit exceeded" method=GET route=/a limit="1 per minute" key=192.0.2.1 retry_after=1m0s banned=false dry_run=false
level=WARN msg="client banned" key=192.0.2.1 for=1h0m0s dry_run=false
level=INFO msg="rate limit exceeded" method=GET route=/a limit="1 per minute" key=192.0.2.1 retry_after=1m0s banned=false dry_run=false
level=INFO msg="rate limit exceeded" method=GET route=/a limit=ban key=192.0.2.1 retry_after=1h0m0s banned=true dry_run=false
`
	if log.String() != want {
		t.Errorf("got\n%s\nwant\n%s", log, want)
	}
}

// A dry run counts what a real one would, says so, and refuses nothing.
func TestDryRun(t *testing.T) {
	logger, log := newLog()
	called := 0
	var results []string
	s := newServer(t, httplimit.Config{
		Defaults:  rate("2 per minute"),
		DryRun:    true,
		Logger:    logger,
		OnRefusal: func(_ *http.Request, res httplimit.Result) { called++ },
		Ban:       httplimit.Ban{Refusals: "1 per hour", For: time.Minute},
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, _ := httplimit.FromContext(r.Context())
		results = append(results, fmt.Sprint(res.Allowed, res.DryRun))
	}))
	s.want("200 200 200 200 200", "GET /")
	if want := "[true true true true false true false true false true]"; fmt.Sprint(results) != want {
		t.Errorf("results %v, want %s", results, want)
	}
	// Three by the limit, of which the second brings a ban on, and one more by that.
	if got := strings.Count(log.String(), "dry_run=true"); called != 4 || got != 5 {
		t.Errorf("called %d times, want 4, and\n%s", called, log)
	}
	if h := s.do("GET /").Header(); len(h) > 0 {
		t.Errorf("clients see %v", h)
	}
	s.clock.Advance(time.Minute)
	results = nil
	s.want("200 200 200", "GET /")
	if want := "[true true true true false true]"; fmt.Sprint(results) != want {
		t.Errorf("a minute later: %v, want %s", results, want)
	}
}

// A dry run lets a request through also if a Store fails.
func TestDryRunWithoutAStore(t *testing.T) {
	s, _ := failing(t, "Peek", func(c *httplimit.Config) { c.DryRun = true })
	s.want("200 200 200 200 200", "GET /")
}
