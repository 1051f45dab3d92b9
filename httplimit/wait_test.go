package httplimit_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

// patient is a server whose requests wait up to 10 seconds for one a second.
func patient(t *testing.T, change func(*httplimit.Config), h http.Handler) *server {
	c := httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per second", MaxWait: 10 * time.Second}}}
	if change != nil {
		change(&c)
	}
	return newServer(t, c, h)
}

// started sends a request that is going to wait, and returns its status when it
// is answered. The context is the request's.
func (s *server) started(ctx context.Context, words ...string) <-chan int {
	done := make(chan int, 1)
	go func() {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, request(words...).WithContext(ctx))
		done <- w.Code
	}()
	return done
}

// asleep waits until some requests sleep on the clock: those that are the first
// of their lines.
func (s *server) asleep(n int) {
	s.t.Helper()
	if err := s.clock.BlockUntil(s.t.Context(), n); err != nil {
		s.t.Fatal(err)
	}
}

// inLine waits until requests are in line that cost as much in all.
func (s *server) inLine(n int) {
	s.t.Helper()
	for httplimit.Waiting(s.limits) != n {
		runtime.Gosched()
	}
}

func TestMaxWaitHoldsARequestBack(t *testing.T) {
	s := patient(t, nil, nil)
	s.want("200", "GET /")
	done := s.started(t.Context(), "GET /")
	s.asleep(1)
	select {
	case code := <-done:
		t.Fatalf("answered %d at once", code)
	default:
	}
	s.clock.Advance(time.Second)
	if code := <-done; code != 200 {
		t.Errorf("status %d", code)
	}
	s.inLine(0)
}

func TestMaxWaitRefusesWhatWouldWaitLonger(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per 10s", MaxWait: 9500 * time.Millisecond}}}, nil)
	s.want("200 429", "GET /")
	s.clock.Advance(time.Second)
	done := s.started(t.Context(), "GET /")
	s.asleep(1)
	// One that would come after it would wait for 19 seconds.
	w := s.do("GET /")
	if w.Code != 429 {
		t.Errorf("status %d", w.Code)
	}
	wantHeader(t, w.Header(), "Retry-After", "19")
	s.clock.Advance(9 * time.Second)
	if code := <-done; code != 200 {
		t.Errorf("status %d", code)
	}
}

// Requests are served in order of arrival, by key, and nobody overtakes.
func TestWaitingIsFair(t *testing.T) {
	var order []string
	s := patient(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		order = append(order, r.URL.Path)
	}))
	s.do("GET /0")
	var done []<-chan int
	for i := range 5 {
		done = append(done, s.started(t.Context(), fmt.Sprint("GET /", i+1)))
		s.asleep(1)
		s.inLine(i + 1)
	}
	s.want("200", "GET /other", "from 192.0.2.2:1") // another key, another line
	for i := range 5 {
		s.asleep(1)
		s.clock.Advance(time.Second)
		if code := <-done[i]; code != 200 {
			t.Errorf("request %d: status %d", i+1, code)
		}
	}
	if got := fmt.Sprint(order); got != "[/0 /other /1 /2 /3 /4 /5]" {
		t.Errorf("served in the order %s", got)
	}
}

// A newcomer waits behind those who came before, also if there is room by then.
func TestWaitingIsNotOvertaken(t *testing.T) {
	release := make(chan bool)
	s := patient(t, func(c *httplimit.Config) {
		c.Defaults[0].Cost = func(r *http.Request) int {
			if r.URL.Path == "/big" {
				return 3
			}
			return 1
		}
		c.Defaults[0].Rate = "3 per 3s"
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			<-release
		}
	}))
	s.want("200", "GET /small")
	big := s.started(t.Context(), "GET /big")
	s.asleep(1)
	small := s.started(t.Context(), "GET /small") // there are two left, but not for it
	s.inLine(3 + 1)
	select {
	case code := <-small:
		t.Fatalf("overtaken by a request that was answered %d", code)
	default:
	}
	s.clock.Advance(time.Second)
	s.asleep(1) // big is through, and small is the first
	s.clock.Advance(time.Second)
	if code := <-small; code != 200 {
		t.Errorf("small: status %d", code)
	}
	release <- true
	if code := <-big; code != 200 {
		t.Errorf("big: status %d", code)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	s := patient(t, func(c *httplimit.Config) { c.MaxWaiting = 2 }, nil)
	s.do("GET /")
	a := s.started(t.Context(), "GET /")
	s.asleep(1)
	s.want("200", "GET /", "from 192.0.2.2:1")
	b := s.started(t.Context(), "GET /", "from 192.0.2.2:1")
	s.asleep(2)
	s.want("429 429", "GET /")
	s.want("200 429", "GET /", "from 192.0.2.3:1")
	s.clock.Advance(time.Second)
	if x, y := <-a, <-b; x != 200 || y != 200 {
		t.Errorf("statuses %d and %d", x, y)
	}
	s.inLine(0)
}

// A client that gives up takes nothing, and those behind it move up.
func TestWaitingEndsWithTheRequest(t *testing.T) {
	s := patient(t, nil, nil)
	s.do("GET /")
	ctx, cancel := context.WithCancel(t.Context())
	first := s.started(ctx, "GET /")
	s.asleep(1)
	second := s.started(t.Context(), "GET /")
	s.inLine(2)
	cancel()
	if code := <-first; code != http.StatusServiceUnavailable {
		t.Errorf("status %d", code)
	}
	s.asleep(1)
	s.clock.Advance(time.Second)
	if code := <-second; code != 200 {
		t.Errorf("status %d", code)
	}
	s.inLine(0)
}

// The limits that would not have a request wait decide for all.
func TestWaitingForOneLimitOfTwo(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{
		{Rate: "1 per second", MaxWait: time.Minute},
		{Rate: "3 per hour"},
	}}, nil)
	s.want("200", "GET /")
	for range 2 {
		done := s.started(t.Context(), "GET /")
		s.asleep(1)
		s.clock.Advance(time.Second)
		if code := <-done; code != 200 {
			t.Errorf("status %d", code)
		}
	}
	s.want("429 429", "GET /")
}

// While a request waits, all of its limits are free: it charges them together.
func TestWaitingHoldsNothing(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    []httplimit.Limit{{Rate: "1 per second", MaxWait: time.Minute}},
		Routes:      map[string]httplimit.Route{"/free": {Limits: rate("9/s")}},
		Application: []httplimit.Limit{{Rate: "2 per 10s"}},
	}, nil)
	s.want("200", "GET /")
	done := s.started(t.Context(), "GET /")
	s.asleep(1)
	s.want("200 429", "GET /free") // takes the second of the ten seconds meanwhile
	s.want("429", "GET /")         // so that there is nothing to wait for any more
	s.clock.Advance(time.Second)
	if code := <-done; code != 429 {
		t.Errorf("status %d", code)
	}
}

// What is given back wakes the first in line.
func TestWaitingEndsWhenSomethingIsGivenBack(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{
		Rate: "1 per 30m", MaxWait: time.Hour,
		CountWhen: func(resp httplimit.Response) bool { return resp.Status != 200 },
	}}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { entered <- true; <-leave }))
	first := s.started(t.Context(), "GET /")
	<-entered
	second := s.started(t.Context(), "GET /")
	s.asleep(1)
	leave <- true
	<-entered // by the second, though no time has passed
	leave <- true
	if x, y := <-first, <-second; x != 200 || y != 200 {
		t.Errorf("statuses %d and %d", x, y)
	}

	third := s.started(t.Context(), "GET /")
	<-entered
	fourth := s.started(t.Context(), "GET /")
	s.asleep(1)
	if err := s.limits.Reset(t.Context(), "192.0.2.1"); err != nil {
		t.Error(err)
	}
	<-entered
	leave <- true
	leave <- true
	<-third
	<-fourth
}

// Everybody who waits is served at last, and no more than the limit lets through.
func TestWaitingInACrowd(t *testing.T) {
	const clients, each = 5, 20
	var mu sync.Mutex
	served := make(map[string][]time.Duration)
	var s *server
	s = newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per 100ms", MaxWait: time.Hour}}},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			served[r.RemoteAddr] = append(served[r.RemoteAddr], s.clock.Now())
		}))
	var wg sync.WaitGroup
	for i := range clients * each {
		wg.Go(func() { s.do("GET /", fmt.Sprint("from 192.0.2.", i%clients, ":1")) })
	}
	all := make(chan bool)
	go func() { wg.Wait(); close(all) }()
	for waiting := true; waiting; {
		select {
		case <-all:
			waiting = false
		default:
			s.clock.Advance(10 * time.Millisecond)
			runtime.Gosched()
		}
	}
	for client, times := range served {
		if len(times) != each {
			t.Errorf("%s was served %d times, want %d", client, len(times), each)
		}
		for i := range times[1:] {
			// Between a charge and the reading here the clock may have moved.
			if i > 0 && times[i+1] < times[0]+time.Duration(i)*100*time.Millisecond-time.Second {
				t.Errorf("%s was served too soon: %v", client, times)
			}
		}
	}
	s.inLine(0)
}
