package httplimit_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

// response is a ResponseWriter that costs next to nothing, as a server's is
// kept from request to request of a connection, and is not a part of what is
// measured.
type response struct {
	header http.Header
	status int
}

func (w *response) Header() http.Header         { return w.header }
func (w *response) WriteHeader(status int)      { w.status = status }
func (w *response) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkRequest is one request through a handler that does nothing: bare, and
// through one limit that grants or refuses.
func BenchmarkRequest(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	limited := func(c httplimit.Config) http.Handler { return httplimit.MustNew(c).Middleware(bare) }
	always := []httplimit.Limit{{Rate: "1000000000 per second"}}
	once := []httplimit.Limit{{Rate: "1 per day"}}
	twice := []httplimit.Limit{{Rate: "1000000000 per second"}, {Rate: "10000000000 per minute"}}
	user := func(*http.Request) string { return "alice" }

	for _, bc := range []struct {
		name    string
		handler http.Handler
		status  int
	}{
		{"path=bare", bare, 200},
		{"path=granted", limited(httplimit.Config{Defaults: always}), 200},
		{"path=granted/headers=none", limited(httplimit.Config{Defaults: always, Headers: httplimit.NoHeaders}), 200},
		{"path=granted/headers=epoch", limited(httplimit.Config{Defaults: always, Headers: httplimit.XRateLimitEpoch}), 200},
		{"path=granted/headers=ietf", limited(httplimit.Config{Defaults: always, Headers: httplimit.IETFDraft11}), 200},
		{"path=granted/key=user", limited(httplimit.Config{Defaults: always, Key: user}), 200},
		{"path=granted/limits=2", limited(httplimit.Config{Defaults: twice}), 200},
		{"path=granted/routes=1", limited(httplimit.Config{Defaults: always, Routes: map[string]httplimit.Route{"/x": {}}}), 200},
		{"path=granted/by=outcome", limited(httplimit.Config{Defaults: []httplimit.Limit{{
			Rate:      "1000000000 per second",
			CountWhen: func(resp httplimit.Response) bool { return resp.Status != 200 },
		}}}), 200},
		{"path=refused", limited(httplimit.Config{Defaults: once}), 429},
		{"path=refused/as=problem", limited(httplimit.Config{Defaults: once}), 429},
		{"path=banned", limited(httplimit.Config{Defaults: once, Ban: httplimit.Ban{Refusals: "1 per hour", For: time.Hour}}), 429},
	} {
		b.Run(bc.name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			if bc.name == "path=refused/as=problem" {
				r.Header.Set("Accept", "application/json")
			}
			w := &response{header: make(http.Header)}
			for range 3 {
				bc.handler.ServeHTTP(w, r) // until there is nothing left
			}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				bc.handler.ServeHTTP(w, r)
			}
			if w.status != bc.status {
				b.Fatalf("status %d, want %d", w.status, bc.status)
			}
		})
	}
}
