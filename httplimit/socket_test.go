package httplimit_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
)

// listen serves a handler on a real socket. When the test is done no goroutine
// may be left in this package's code.
func listen(t *testing.T, h http.Handler, http2 bool) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that tests break off
	if server.EnableHTTP2 = http2; http2 {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() {
		server.Client().CloseIdleConnections()
		server.Close()
		for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
			var stacks bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			if !strings.Contains(stacks.String(), "httplimit.(*") {
				return
			}
			if time.Now().After(deadline) {
				t.Errorf("goroutines are left:\n%s", &stacks)
				return
			}
		}
	})
	return server
}

// fetch returns the status of a request and what connection it came by.
func fetch(t *testing.T, ctx context.Context, server *httptest.Server, path string) (status int, proto string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, resp.Proto
}

// A connection that is kept alive is the same client, and is still good after a
// refusal.
func TestKeepAlive(t *testing.T) {
	fake := clock.NewFake()
	limits := httplimit.MustNew(httplimit.Config{Defaults: rate("2 per minute"), Clock: fake})
	limited := limits.Middleware(status(200))
	ports := make(map[string]int)
	server := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ports[r.RemoteAddr]++
		limited.ServeHTTP(w, r)
	}), false)
	for i, want := range []int{200, 200, 429, 429} {
		if got, proto := fetch(t, t.Context(), server, "/"); got != want || proto != "HTTP/1.1" {
			t.Errorf("request %d: %d over %s, want %d", i, got, proto, want)
		}
	}
	server.Client().CloseIdleConnections()
	if got, _ := fetch(t, t.Context(), server, "/"); got != 429 || len(ports) != 2 {
		t.Errorf("another connection, from another port: %d, ports %v", got, ports)
	}
	fake.Advance(30 * time.Second)
	if got, _ := fetch(t, t.Context(), server, "/"); got != 200 {
		t.Errorf("after half a minute: %d", got)
	}
}

func TestHTTP2(t *testing.T) {
	limits := httplimit.MustNew(httplimit.Config{Defaults: failures("20 per day"), Clock: clock.NewFake()})
	server := listen(t, limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/fail" {
			w.WriteHeader(401)
		}
	})), true)
	var refused, failed atomic.Int64
	var wg sync.WaitGroup
	for i := range 100 { // as many streams of one connection
		path := "/fail"
		if i%2 == 0 {
			path = "/"
		}
		wg.Go(func() {
			switch got, proto := fetch(t, t.Context(), server, path); {
			case proto != "HTTP/2.0":
				t.Errorf("%s", proto)
			case got == 401:
				failed.Add(1)
			case got == 429:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() > 20 {
		t.Errorf("%d failed, want at most 20", failed.Load())
	}
	for failed.Load() < 20 { // those that were refused for the sake of others under way
		if got, _ := fetch(t, t.Context(), server, "/fail"); got != 401 {
			t.Fatalf("%d after %d failures: what did not fail has been counted", got, failed.Load())
		}
		failed.Add(1)
	}
	if got, _ := fetch(t, t.Context(), server, "/fail"); got != 429 {
		t.Errorf("%d after 20 failures", got)
	}
}

// Requests that are cancelled while they wait take nothing and leave nothing.
func TestCancelledRequests(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		fake := clock.NewFake()
		limits := httplimit.MustNew(httplimit.Config{
			Defaults: []httplimit.Limit{{Rate: "1 per minute", MaxWait: time.Hour}},
			Clock:    fake,
		})
		server := listen(t, limits.Middleware(status(200)), http2)
		if got, _ := fetch(t, t.Context(), server, "/"); got != 200 {
			t.Fatalf("status %d", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { fetch(t, ctx, server, "/") })
		}
		for httplimit.Waiting(limits) < 8 {
			runtime.Gosched()
		}
		cancel()
		wg.Wait()
		for httplimit.Waiting(limits) > 0 { // until the server has noticed
			runtime.Gosched()
		}
		fake.Advance(time.Minute)
		if got, _ := fetch(t, t.Context(), server, "/"); got != 200 {
			t.Errorf("status %d: a cancelled request has taken the place", got)
		}
	}
}

// A handler that aborts the connection counts once and takes nobody down.
func TestAbortedHandlers(t *testing.T) {
	limits := httplimit.MustNew(httplimit.Config{Defaults: failures("3 per day"), Clock: clock.NewFake()})
	server := listen(t, limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		panic(http.ErrAbortHandler)
	})), false)
	for i, want := range []int{0, 0, 0, 429} {
		r, err := http.NewRequest("POST", server.URL, strings.NewReader("x")) // is not sent again by the client
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		got := 0
		if err == nil {
			got = resp.StatusCode
			resp.Body.Close()
		}
		if got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
}

// A flood of many clients at once: each gets exactly what it may have.
func TestFloodIsCountedExactly(t *testing.T) {
	const clients, each, limit = 20, 50, 7
	limits := httplimit.MustNew(httplimit.Config{
		Defaults: []httplimit.Limit{{Rate: fmt.Sprint(limit, " per day")}, {Rate: "30 per day", Name: "more"}},
		Client:   httplimit.Client{Header: "X-Forwarded-For", TrustedProxies: []string{"127.0.0.0/8", "::1"}},
		Clock:    clock.NewFake(),
	})
	var served [clients]atomic.Int64
	server := listen(t, limits.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var i int
		fmt.Sscanf(r.URL.Path, "/%d", &i)
		served[i].Add(1)
	})), false)
	server.Client().Transport.(*http.Transport).MaxConnsPerHost = 32
	var answered, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		for range 4 {
			wg.Go(func() {
				for range each / 4 {
					r, err := http.NewRequest("GET", fmt.Sprint(server.URL, "/", i), nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("X-Forwarded-For", fmt.Sprint("198.51.100.", i))
					resp, err := server.Client().Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					answered.Add(1)
					if resp.StatusCode == 429 {
						refused.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	for i := range served {
		if n := served[i].Load(); n != limit {
			t.Errorf("client %d was served %d times, want %d", i, n, limit)
		}
	}
	if want := answered.Load() - clients*limit; refused.Load() != want {
		t.Errorf("%d refused, want %d", refused.Load(), want)
	}
}
