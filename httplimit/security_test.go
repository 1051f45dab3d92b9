package httplimit_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/keyed"
)

// Nothing that a client sends comes back in a header field, and no line break
// that anybody writes.
func TestNothingIsInjectedIntoHeaders(t *testing.T) {
	evil := "x\r\nSet-Cookie: evil=1\r\n\r\n<script>"
	logger, log := newLog()
	s := newServer(t, httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: "1 per day", Name: `quo"te\`}},
		Key:      func(r *http.Request) string { return r.Header.Get("User") },
		Headers:  httplimit.XRateLimitDelta | httplimit.IETFDraft11,
		Logger:   logger,
		Ban:      httplimit.Ban{Refusals: "2 per day", For: 1e9},
	}, nil)
	for range 5 {
		r := request("GET /")
		r.Header["User"] = []string{evil}
		r.Header["Accept"] = []string{evil + ", application/json"}
		r.Header["X-Forwarded-For"] = []string{evil}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		var wire bytes.Buffer
		if err := w.Result().Header.Write(&wire); err != nil {
			t.Fatal(err)
		}
		if out := wire.String() + w.Body.String(); strings.Contains(out, "evil") || strings.Contains(out, "script") {
			t.Errorf("what the client sent comes back:\n%s", out)
		}
		for name, values := range w.Header() {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%s: %q", name, values)
			}
		}
	}
	for line := range strings.Lines(log.String()) {
		if !strings.HasPrefix(line, "level=") {
			t.Errorf("a log line of the client's: %s", line)
		}
	}
}

// By no header can a client that is not a proxy get a limit of its own.
func TestSpoofedForwardingHeadersAreNoWayOut(t *testing.T) {
	headers := []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP", "X-Forwarded", "Via"}
	configs := []httplimit.Client{
		{},
		{Header: "X-Forwarded-For", TrustedProxies: []string{"10.0.0.0/8"}},
		{Header: "Forwarded", TrustedProxies: []string{"10.0.0.0/8"}},
		{Header: "CF-Connecting-IP", TrustedProxies: []string{"10.0.0.0/8"}},
	}
	for _, c := range configs {
		s := newServer(t, httplimit.Config{Defaults: rate("1 per day"), Client: c}, nil)
		s.want("200", "GET /")
		for i := range 50 {
			for _, h := range headers {
				for _, value := range []string{"198.51.100.%d", "10.0.0.%d", "for=198.51.100.%d", "for=10.0.0.%[1]d, for=10.0.0.%[1]d", "10.0.0.1, 198.51.100.%d", "\"", "", ",,,", "unknown"} {
					if strings.Contains(value, "%") {
						value = fmt.Sprintf(value, i)
					}
					s.want("429", "GET /", h+": "+value)
				}
			}
		}
	}
}

// And through a proxy it is found where the proxy says, whatever it writes
// before that.
func TestSpoofedEntriesBeforeTheProxysAreNoWayOut(t *testing.T) {
	for header, own := range map[string]string{"X-Forwarded-For": "198.51.100.7", "Forwarded": `for="198.51.100.7:1234";proto=https`} {
		for _, c := range []httplimit.Client{
			{Header: header, TrustedProxies: []string{"10.0.0.0/8"}},
			{Header: header, TrustedHops: 1},
		} {
			s := newServer(t, httplimit.Config{Defaults: rate("1 per day"), Client: c}, nil)
			s.want("200", "GET /", proxy1, header+": "+own)
			for i := range 50 {
				for _, spoof := range []string{
					fmt.Sprint("203.0.113.", i), fmt.Sprint("for=203.0.113.", i), "10.0.0.1", "for=10.0.0.1", `"`, `for="`, `for="\`, `\"`, ";;;", ",", "for=1;for=2",
					strings.Repeat("1.1.1.1,", 1000), strings.Repeat(`"`, 9999), "\x00", "[::1",
				} {
					s.want("429", "GET /", proxy1, header+": "+spoof+", "+own)
					s.want("429", "GET /", proxy1, header+": "+spoof, header+": "+own)
				}
			}
		}
	}
}

// A million clients that were never seen, by addresses or by keys of any length,
// take no more memory than the Config allows, and give nobody a fresh limit.
func TestAMillionAddressesInBoundedMemory(t *testing.T) {
	for full, clients := range map[keyed.WhenFull]int{keyed.Refuse: 1_000_000, keyed.Share: 100_000} {
		if testing.Short() {
			clients /= 10
		}
		s := newServer(t, httplimit.Config{
			Defaults: rate("1 per day"),
			Key:      headerKey("User"),
			Client:   httplimit.Client{Header: "X-Forwarded-For", TrustedHops: 1},
			Memory:   keyed.Options{MaxKeys: 10_000, WhenFull: full},
			Ban:      httplimit.Ban{Refusals: "100000 per day", For: 1e9},
			Headers:  httplimit.NoHeaders,
		}, nil)
		s.want("200", "GET /", "X-Forwarded-For: 192.0.2.200")
		before := heap()
		r := request("GET /")
		addr := make([]string, 1)
		w := &response{header: make(http.Header)}
		served := 0
		for i := range clients {
			if i%4 == 0 {
				r.Header["User"] = []string{fmt.Sprint(i, long)}
			} else {
				delete(r.Header, "User")
			}
			addr[0] = fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff)
			r.Header["X-Forwarded-For"] = addr
			clear(w.header)
			w.status = 200
			s.ServeHTTP(w, r)
			if w.status == 200 {
				served++
			}
		}
		// Three tables of at most 24 bytes a key, and what happens to be around.
		if grown := int64(heap()) - int64(before); grown > 3*10_000*24+1<<20 {
			t.Errorf("%d clients took %d bytes", clients, grown)
		}
		if served > 10_001 {
			t.Errorf("%d of %d clients were served, and there are places for 10,000", served, clients)
		}
		s.want("429", "GET /", "X-Forwarded-For: 192.0.2.200")
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Whatever path or method a client thinks of, it makes no new limits.
func TestPathsAndMethodsMakeNoNewLimits(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "10 per day", PerMethod: true}}},
		muxOf("/users/{id}/", "GET /files/{path...}"))
	counted := 0
	for i := range 1000 {
		for _, what := range []string{"GET /users/%d/x", "GET /users/%d", "GET /files/%d", "GET /none/%d", "M%d /users/1/x", "CONNECT /users/%d", "GET //users//%d"} {
			if s.do(fmt.Sprintf(what, i)).Code != 429 {
				counted++
			}
		}
	}
	// By GET on three routes, by CONNECT, and by all other methods.
	if counted != 5*10 {
		t.Errorf("%d requests were let through, want 50", counted)
	}
	if got := strings.Count(s.limits.String(), "10 per day"); got != 3 {
		t.Errorf("%d routes:\n%s", got, s.limits)
	}
}

func TestOversizedAddressesAndKeys(t *testing.T) {
	huge := strings.Repeat("9", 1<<20)
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per day"),
		Key:      headerKey("User"),
		Client:   httplimit.Client{Header: "X-Forwarded-For", TrustedProxies: []string{"10.0.0.0/8"}},
	}, nil)
	s.want("200 429", "GET /", proxy1, "X-Forwarded-For: "+huge)
	s.want("429", "GET /", proxy1, "X-Forwarded-For: "+huge+huge) // the proxy's own limit
	s.want("429", "GET /", proxy1)
	s.want("200 429", "GET /", "from "+huge)
	s.want("200 429", "GET /", "User: "+huge)
	s.want("200 429", "GET /", "User: "+huge+"8") // longer keys are told apart
}
