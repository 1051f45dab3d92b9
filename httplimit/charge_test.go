package httplimit_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

// Each strategy is known by how many of many requests it admits, at times since
// the start of a window.
func TestStrategyOfEachLimit(t *testing.T) {
	at := []time.Duration{59 * time.Second, 60 * time.Second, 80 * time.Second, 118900 * time.Millisecond, 119 * time.Second}
	for strategy, want := range map[httplimit.Strategy][]int{
		httplimit.TokenBucket:   {3, 0, 1, 1, 1}, // one flows in every 20 seconds
		httplimit.LeakyBucket:   {3, 0, 1, 1, 1}, // or leaks out
		httplimit.FixedWindow:   {3, 3, 0, 0, 0}, // a new window begins at 60
		httplimit.SlidingWindow: {3, 0, 1, 1, 0}, // and covers less and less of the one before
		httplimit.SlidingLog:    {3, 0, 0, 0, 3}, // until they are a minute old, to the nanosecond
	} {
		s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "3 per minute", Strategy: strategy}}}, nil)
		var got []int
		for _, now := range at {
			s.clock.Set(now)
			got = append(got, strings.Count(s.statuses(5, "GET /"), "200"))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", strategy, got, want)
		}
	}
	if got := httplimit.Strategy(9).String(); got != "unknown strategy" {
		t.Error(got)
	}
}

func TestBurst(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/token": {Limits: []httplimit.Limit{{Rate: "60 per minute", Burst: 2}}},
			"/leaky": {Limits: []httplimit.Limit{{Rate: "60 per minute", Burst: 3, Strategy: httplimit.LeakyBucket}}},
		},
	}, nil)
	s.want("200 200 429", "GET /token")
	s.want("200 200 200 429", "GET /leaky")
	s.clock.Advance(time.Second)
	s.want("200 429", "GET /token")
	wantHeader(t, s.do("GET /leaky").Header(), "X-RateLimit-Limit", "3")
}

func TestPlansOfClients(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{
		Rate:  "2 per minute; 100 per hour",
		Plan:  headerKey("Plan"),
		Plans: map[string]string{"paid": "5 per minute; 100 per hour"},
	}}}, nil)
	s.want("200 200 429", "GET /", "from 192.0.2.1:1")
	s.want("429", "GET /", "from 192.0.2.1:1", "Plan: nonsense") // a plan that is not there is no way out
	s.want("200 200 200 429", "GET /", "from 192.0.2.1:1", "Plan: paid")
	s.want("200 200 200 200 200 429", "GET /", "from 192.0.2.2:1", "Plan: paid")
	s.want("429", "GET /", "from 192.0.2.2:1")
	wantHeader(t, s.do("GET /", "Plan: paid").Header(), "X-RateLimit-Limit", "5")
}

func TestCostOfARequest(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{
		Rate: "10 per minute",
		Cost: func(r *http.Request) int { n, _ := strconv.Atoi(r.Header.Get("Cost")); return n },
	}}}, nil)
	s.want("200", "GET /", "Cost: 7")
	s.want("429", "GET /", "Cost: 4")
	s.want("200", "GET /", "Cost: 3")
	s.want("200 200", "GET /", "Cost: 0")
	s.want("429", "GET /", "Cost: -1")
	wantHeader(t, s.do("GET /", "Cost: 2").Header(), "Retry-After", "12")
	// What can never be admitted is not worth a retry.
	wantHeader(t, s.do("GET /", "Cost: 11").Header(), "Retry-After", "")
	s.clock.Advance(time.Hour)
	s.want("429 429", "GET /", "Cost: 11")
	s.want("200", "GET /", "Cost: 10")
}

func TestExemptWhen(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{
		{Rate: "1 per minute", ExemptWhen: func(r *http.Request) bool { return r.Method == "OPTIONS" }},
		{Rate: "3 per minute"},
	}}, nil)
	s.want("200 200", "OPTIONS /")
	s.want("200 429", "GET /")
	s.want("429", "OPTIONS /")
}

// failures counts responses from 400 on.
func failures(r string) []httplimit.Limit {
	return []httplimit.Limit{{Rate: r, CountWhen: func(resp httplimit.Response) bool { return resp.Status >= 400 }}}
}

func TestCountWhenCountsByOutcome(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: failures("2 per minute; 9 per hour")},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if code, err := strconv.Atoi(r.Header.Get("Status")); err == nil {
				w.WriteHeader(code)
			}
		}))
	s.want("200 200 200 200", "GET /")
	s.want("204 204 204", "GET /", "Status: 204")
	s.want("401", "GET /", "Status: 401")
	s.want("200 200 200", "GET /")
	s.want("500", "GET /", "Status: 500")
	s.want("429 429", "GET /") // refused before it is known what would come of them
	s.clock.Advance(30 * time.Second)
	s.want("200 200 200 200", "GET /")
}

// While a request is under way it counts: the limit bounds those at a time, too.
func TestCountWhenReservesBeforeAndSettlesAfter(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	s := newServer(t, httplimit.Config{Defaults: failures("2 per day")},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { entered <- true; <-leave }))
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { s.do("GET /") })
		<-entered
	}
	s.want("429 429", "GET /")
	close(leave)
	wg.Wait()
	wg.Go(func() { <-entered; <-entered })
	s.want("200 200", "GET /")
	wg.Wait()
}

func TestCountWhenSeesTheResponse(t *testing.T) {
	var got []string
	see := func(resp httplimit.Response) bool {
		_, ok := httplimit.FromContext(resp.Request.Context())
		got = append(got, fmt.Sprint(resp.Status, resp.Header.Get("X-Outcome"), resp.Request.URL.Path, " ", ok))
		return false
	}
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per day", CountWhen: see}}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Outcome", "+")
			switch r.URL.Path {
			case "/nothing":
			case "/write":
				io.WriteString(w, "x")
				w.WriteHeader(500) // too late
			case "/bytes":
				w.Write([]byte("x"))
			case "/early":
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusTeapot)
			case "/twice":
				w.WriteHeader(http.StatusCreated)
				w.WriteHeader(http.StatusTeapot)
			case "/flush":
				http.NewResponseController(w).Flush()
				w.WriteHeader(http.StatusTeapot)
			case "/flusher":
				w.(http.Flusher).Flush()
				w.WriteHeader(http.StatusTeapot)
			case "/copy":
				io.Copy(w, strings.NewReader("x"))
			}
		}))
	paths := []string{"/nothing", "/write", "/bytes", "/early", "/twice", "/flush", "/flusher", "/copy"}
	for _, p := range paths {
		s.do("GET " + p)
	}
	want := []string{"200+/nothing true", "200+/write true", "200+/bytes true", "418+/early true", "201+/twice true",
		"200+/flush true", "200+/flusher true", "200+/copy true"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A panic says nothing of the outcome: the request counts, once, and the panic
// goes on to the server.
func TestCountWhenTheHandlerPanics(t *testing.T) {
	for _, what := range []any{"boom", http.ErrAbortHandler} {
		s := newServer(t, httplimit.Config{Defaults: failures("2 per day")},
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(200)
				panic(what)
			}))
		for range 2 {
			func() {
				defer func() {
					if p := recover(); p != what {
						t.Errorf("recovered %v, want %v", p, what)
					}
				}()
				s.do("GET /")
			}()
		}
		s.want("429", "GET /")
	}
}

// A client that goes away is settled like any other.
func TestCountWhenTheClientGoesAway(t *testing.T) {
	answer := 200
	s := newServer(t, httplimit.Config{Defaults: failures("1 per day")},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Gone") != "" {
				<-r.Context().Done()
			}
			w.WriteHeader(answer)
		}))
	gone := func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.ServeHTTP(httptest.NewRecorder(), request("GET /", "Gone: yes").WithContext(ctx))
	}
	gone()
	gone()
	s.want("200", "GET /")
	answer = 401
	gone()
	s.want("429", "GET /")
}

// What a handler may ask of its ResponseWriter is still there.
func TestCountWhenKeepsTheResponseWriter(t *testing.T) {
	type readerFrom interface {
		ReadFrom(io.Reader) (int64, error)
	}
	var statuses []int
	limits := httplimit.MustNew(httplimit.Config{Defaults: []httplimit.Limit{{
		Rate: "100 per day",
		CountWhen: func(resp httplimit.Response) bool {
			statuses = append(statuses, resp.Status)
			return true
		},
	}}})
	mux := http.NewServeMux()
	mux.HandleFunc("/methods", func(w http.ResponseWriter, r *http.Request) {
		_, flushes := w.(http.Flusher)
		_, hijacks := w.(http.Hijacker)
		_, pushes := w.(http.Pusher)
		_, reads := w.(readerFrom)
		rc := http.NewResponseController(w)
		fmt.Fprint(w, flushes, hijacks, pushes, reads, rc.SetReadDeadline(time.Time{}), rc.EnableFullDuplex() == nil)
	})
	hijack := func(w http.ResponseWriter, take func() (net.Conn, *bufio.ReadWriter, error)) {
		conn, _, err := take()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 299 Mine\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		conn.Close()
	}
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) { hijack(w, w.(http.Hijacker).Hijack) })
	mux.HandleFunc("/controller", func(w http.ResponseWriter, r *http.Request) {
		hijack(w, http.NewResponseController(w).Hijack)
	})
	var settled sync.WaitGroup // a hijacked response comes before its handler is done
	limited := limits.Middleware(mux)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer settled.Done()
		limited.ServeHTTP(w, r)
	})
	http1 := httptest.NewServer(h)
	defer http1.Close()
	http2 := httptest.NewUnstartedServer(h)
	http2.EnableHTTP2 = true
	http2.StartTLS()
	defer http2.Close()

	for _, tc := range []struct {
		server       *httptest.Server
		path, answer string
		status, sees int
	}{
		{http1, "/methods", "true true false true <nil> true", 200, 200},
		{http2, "/methods", "true false true false <nil> true", 200, 200},
		{http1, "/hijack", "", 299, 101},
		{http1, "/controller", "", 299, 101},
	} {
		statuses = nil
		settled.Add(1)
		resp, err := tc.server.Client().Get(tc.server.URL + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		settled.Wait()
		if resp.StatusCode != tc.status || string(body) != tc.answer || len(statuses) != 1 || statuses[0] != tc.sees {
			t.Errorf("%s over %s: %d %s, seen as %v; want %d %s, seen as %d", tc.path, resp.Proto, resp.StatusCode, body, statuses, tc.status, tc.answer, tc.sees)
		}
	}

	// A ResponseWriter that can do nothing does not pretend to.
	settled.Add(1)
	w := httptest.NewRecorder()
	h.ServeHTTP(struct{ http.ResponseWriter }{w}, request("GET /methods"))
	wantBody(t, w.Body, "false false false false feature not supported false")
}

// A proxy flushes, copies and passes trailers through it.
func TestCountWhenAroundAProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, "no")
	}))
	defer backend.Close()
	u, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, httplimit.Config{Defaults: failures("2 per day")}, httputil.NewSingleHostReverseProxy(u))
	s.want("401 401 429", "GET /")
}

// unwrapping is a ResponseWriter as middleware makes them, with the one method
// more that it needs.
type unwrapping struct{ http.ResponseWriter }

func (w unwrapping) Flush()                      { w.ResponseWriter.(http.Flusher).Flush() }
func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// onlyUnwraps has not even that.
type onlyUnwraps struct{ http.ResponseWriter }

func (w onlyUnwraps) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// What CountWhen sees is what the client saw, whichever way the handler took to
// the connection.
func TestCountWhenSeesWhatTheClientSees(t *testing.T) {
	hijack := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: close\r\n\r\n")
		conn.Close()
	}
	copyOf := func(src io.Reader) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if n, err := io.Copy(w, struct{ io.Reader }{src}); n == 0 || err != nil {
				w.WriteHeader(http.StatusBadGateway)
			}
		}
	}
	flush := func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusBadGateway) // too late
	}
	nothing := func(w http.ResponseWriter) http.ResponseWriter { return w }
	flushes := func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{w} }
	unwraps := func(w http.ResponseWriter) http.ResponseWriter { return onlyUnwraps{w} }
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		wrap func(http.ResponseWriter) http.ResponseWriter
		want int
	}{
		{"a copy of nothing", copyOf(strings.NewReader("")), nothing, 502},
		{"a copy that fails", copyOf(iotest.ErrReader(io.ErrUnexpectedEOF)), nothing, 502},
		{"a copy that fails late", copyOf(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF))), nothing, 200},
		{"hijacked", hijack, nothing, 101},
		{"hijacked through a Flusher", hijack, flushes, 101},
		{"hijacked through Unwrap", hijack, unwraps, 101},
		{"flushed", flush, nothing, 200},
		{"flushed through Unwrap", flush, unwraps, 200},
	} {
		saw := make(chan int, 1)
		limited := httplimit.MustNew(httplimit.Config{Defaults: []httplimit.Limit{{
			Rate:      "9 per day",
			CountWhen: func(resp httplimit.Response) bool { saw <- resp.Status; return true },
		}}}).Middleware(tc.h)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			limited.ServeHTTP(tc.wrap(w), r)
		}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.Start()
		resp, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if counted := <-saw; resp.StatusCode != tc.want || counted != tc.want {
			t.Errorf("%s: the client saw %d and CountWhen %d, want %d", tc.name, resp.StatusCode, counted, tc.want)
		}
		server.Close()
	}
}
