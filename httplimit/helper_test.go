package httplimit_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
)

// server is a handler behind limits, on a clock that the test moves.
type server struct {
	t      *testing.T
	limits *httplimit.Limiter
	clock  *clock.Fake
	http.Handler
}

// newServer puts the limits around a handler, or around one that answers 200.
func newServer(t *testing.T, c httplimit.Config, h http.Handler) *server {
	t.Helper()
	fake := clock.NewFake()
	c.Clock = fake
	limits, err := httplimit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	if h == nil {
		h = status(http.StatusOK)
	}
	return &server{t, limits, fake, limits.Middleware(h)}
}

// status is a handler that answers with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

// muxOf answers 200 for each pattern.
func muxOf(patterns ...string) *http.ServeMux {
	mux := http.NewServeMux()
	for _, p := range patterns {
		mux.Handle(p, status(http.StatusOK))
	}
	return mux
}

// request is "GET /path", then "Field: value" or "from address".
func request(words ...string) *http.Request {
	method, path, _ := strings.Cut(words[0], " ")
	r := httptest.NewRequest(method, path, nil)
	for _, word := range words[1:] {
		if addr, ok := strings.CutPrefix(word, "from "); ok {
			r.RemoteAddr = addr
			continue
		}
		k, v, _ := strings.Cut(word, ": ")
		r.Header.Add(k, v)
	}
	return r
}

func (s *server) do(words ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, request(words...))
	return w
}

// statuses sends a request several times.
func (s *server) statuses(times int, words ...string) string {
	var b strings.Builder
	for range times {
		fmt.Fprint(&b, s.do(words...).Code, " ")
	}
	return strings.TrimSpace(b.String())
}

// want sends requests and compares the statuses.
func (s *server) want(statuses string, words ...string) {
	s.t.Helper()
	if got := s.statuses(len(strings.Fields(statuses)), words...); got != statuses {
		s.t.Errorf("%s: %s, want %s", strings.Join(words, ", "), got, statuses)
	}
}

// wantHeader compares a header field; "" stands for one that is not there.
func wantHeader(t *testing.T, h http.Header, name, want string) {
	t.Helper()
	if got := strings.Join(h.Values(name), " / "); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func wantBody(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != want {
		t.Errorf("body %q, %v, want %q", got, err, want)
	}
}

// rate is a list of one limit.
func rate(r string) []httplimit.Limit { return []httplimit.Limit{{Rate: r}} }
