package httplimit_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

// A client that waits as long as it is told is admitted, whatever the strategy,
// and one that waits a second less is not if that is a whole second or more.
func TestRetryAfterIsEnoughAndNeverZero(t *testing.T) {
	for strategy := httplimit.TokenBucket; strategy <= httplimit.SlidingLog; strategy++ {
		for _, r := range []string{"1 per 100ms", "3/s", "7/10s", "2 per minute", "13 per hour", "1 per day", "5/s; 7/m"} {
			s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: r, Strategy: strategy}}}, nil)
			s.clock.Advance(12345 * time.Microsecond)
			for range 20 {
				var w *httptest.ResponseRecorder
				for w = s.do("GET /"); w.Code == 200; w = s.do("GET /") {
				}
				seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
				if err != nil || seconds < 1 {
					t.Fatalf("%v, %s: Retry-After %q", strategy, r, w.Header().Get("Retry-After"))
				}
				if seconds > 1 {
					s.clock.Advance(time.Duration(seconds-1) * time.Second)
					if s.do("GET /").Code == 200 {
						t.Fatalf("%v, %s: admitted after %d seconds, and Retry-After is %d", strategy, r, seconds-1, seconds)
					}
					seconds = 1
				}
				s.clock.Advance(time.Duration(seconds) * time.Second)
				if code := s.do("GET /").Code; code != 200 {
					t.Fatalf("%v, %s: %d after the Retry-After", strategy, r, code)
				}
			}
		}
	}
}

func TestXRateLimitFields(t *testing.T) {
	for _, tc := range []struct {
		headers httplimit.Headers
		reset   []string
	}{
		{0, []string{"15", "30", "60", "60", "26"}},
		{httplimit.XRateLimitDelta, []string{"15", "30", "60", "60", "26"}},
		// Since 2000-01-01, rounded up.
		{httplimit.XRateLimitEpoch, []string{"946684816", "946684831", "946684861", "946684861", "946684861"}},
	} {
		s := newServer(t, httplimit.Config{
			Defaults: []httplimit.Limit{{Rate: "4 per minute", Cost: func(r *http.Request) int { return len(r.URL.Path) }}},
			Headers:  tc.headers,
		}, nil)
		s.clock.Advance(500 * time.Millisecond)
		for i, want := range []struct{ path, remaining, retry string }{
			{"/", "3", ""}, {"/", "2", ""}, {"/x", "0", ""}, {"/", "0", "15"}, {"/xx", "2", "11"},
		} {
			if i == 4 {
				s.clock.Advance(34500 * time.Millisecond)
			}
			h := s.do("GET " + want.path).Header()
			wantHeader(t, h, "X-RateLimit-Limit", "4")
			wantHeader(t, h, "X-RateLimit-Remaining", want.remaining)
			wantHeader(t, h, "X-RateLimit-Reset", tc.reset[i])
			wantHeader(t, h, "Retry-After", want.retry)
			wantHeader(t, h, "RateLimit", "")
			wantHeader(t, h, "RateLimit-Policy", "")
		}
	}
}

func TestIETFDraft11Fields(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: []httplimit.Limit{
			{Rate: "2 per minute"},
			{Rate: "10 per 1500ms", Name: `say "hi" \o/`},
			{Rate: "5/s", Name: "preflight", ExemptWhen: func(r *http.Request) bool { return r.Method != "OPTIONS" }},
		},
		Application: []httplimit.Limit{{Rate: "100 per day", Name: "daily", Burst: 50}},
		Headers:     httplimit.IETFDraft11,
	}, nil)
	const policy = `"2 per minute";q=2;w=60, "say \"hi\" \\o/";q=10, "daily";q=100;w=86400`
	for _, want := range []struct{ retry, limit string }{
		{"", `"2 per minute";r=1;t=30`}, {"", `"2 per minute";r=0;t=60`},
		{"30", `"2 per minute";r=0;t=30`}, // not later than the Retry-After
	} {
		h := s.do("GET /").Header()
		wantHeader(t, h, "RateLimit-Policy", policy)
		wantHeader(t, h, "RateLimit", want.limit)
		wantHeader(t, h, "Retry-After", want.retry)
		wantHeader(t, h, "X-RateLimit-Limit", "")
	}
	h := s.do("OPTIONS /", "from 192.0.2.2:1").Header()
	wantHeader(t, h, "RateLimit-Policy", `"2 per minute";q=2;w=60, "say \"hi\" \\o/";q=10, "preflight";q=5;w=1, "daily";q=100;w=86400`)
}

func TestHeadersAreOfTheLimitClosestToExhaustion(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    rate("10 per minute; 5 per hour; 3 per second"),
		Application: rate("4 per day"),
	}, muxOf("/a", "/b"))
	for _, want := range []struct{ limit, remaining, retry string }{
		{"3", "2", ""}, {"3", "1", ""}, {"3", "0", ""}, {"3", "0", "1"},
	} {
		h := s.do("GET /a").Header()
		wantHeader(t, h, "X-RateLimit-Limit", want.limit)
		wantHeader(t, h, "X-RateLimit-Remaining", want.remaining)
		wantHeader(t, h, "Retry-After", want.retry)
	}
	wantHeader(t, s.do("GET /b").Header(), "X-RateLimit-Limit", "4") // the day's last
	// Of those that refuse, the one that refuses the longest.
	h := s.do("GET /a").Header()
	wantHeader(t, h, "X-RateLimit-Limit", "4")
	wantHeader(t, h, "Retry-After", "21600")
}

func TestNoHeaders(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("1 per minute"), Headers: httplimit.NoHeaders}, nil)
	for _, retry := range []string{"", "60"} {
		h := s.do("GET /").Header()
		wantHeader(t, h, "X-RateLimit-Limit", "")
		wantHeader(t, h, "RateLimit", "")
		wantHeader(t, h, "Retry-After", retry)
	}
}

// A handler may change the fields, and that has no effect on later responses.
func TestHeadersAreTheHandlersOwn(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("9 per day"), Headers: httplimit.XRateLimitDelta | httplimit.IETFDraft11},
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, values := range w.Header() {
				values[0] = "changed"
				w.Header()[name] = append(values, "more")
			}
		}))
	s.do("GET /")
	h := s.do("GET /").Header()
	wantHeader(t, h, "X-RateLimit-Limit", "changed / more")
	s.Handler = s.limits.Middleware(status(200))
	h = s.do("GET /").Header()
	wantHeader(t, h, "X-RateLimit-Limit", "9")
	wantHeader(t, h, "X-RateLimit-Remaining", "6")
	wantHeader(t, h, "RateLimit-Policy", `"9 per day";q=9;w=86400`)
}

func TestAnswerInText(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, nil)
	s.do("GET /")
	w := s.do("GET /")
	wantHeader(t, w.Header(), "Content-Type", "text/plain; charset=utf-8")
	wantHeader(t, w.Header(), "X-Content-Type-Options", "nosniff")
	wantBody(t, w.Body, "Too Many Requests: 1 per day\n")
}

func TestAnswerIsAProblemForWhoAcceptsOne(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per day", Name: `"quotes" \o/`}}}, nil)
	s.do("GET /")
	w := s.do("GET /", "Accept: application/problem+json")
	wantHeader(t, w.Header(), "Content-Type", "application/problem+json")
	wantHeader(t, w.Header(), "Retry-After", "86400")
	body := w.Body.String()
	if want := `{"type":"https://iana.org/assignments/http-problem-types#quota-exceeded","title":"Too Many Requests","status":429,` +
		`"detail":"\"quotes\" \\o/","violated-policies":["\"quotes\" \\o/"]}` + "\n"; body != want {
		t.Errorf("got %s\nwant %s", body, want)
	}
	var parsed struct {
		Detail   string   `json:"detail"`
		Policies []string `json:"violated-policies"`
	}
	if err := json.Unmarshal([]byte(body), &parsed); err != nil || parsed.Detail != `"quotes" \o/` || parsed.Policies[0] != parsed.Detail {
		t.Errorf("%+v, %v", parsed, err)
	}
}

func TestAcceptDecidesBetweenProblemAndText(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, nil)
	s.do("GET /")
	for accept, problem := range map[string]bool{
		"":                                  false,
		"*/*":                               false, // curl
		"application/problem+json":          true,
		"APPLICATION/Problem+JSON":          true,
		"application/json":                  true,
		"application/json, text/plain, */*": true, // axios
		"application/*":                     true,
		"application/xml":                   false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false, // browsers
		"text/plain": false,
		"text/plain;q=0.5, application/problem+json;q=1": true,
		"text/plain;q=1, application/problem+json;q=0.9": false,
		"text/plain, application/json;q=0.999":           false,
		"text/plain;q=0.001, application/json; q=0.002":  true,
		"text/plain;q=0, */*":                            true,
		"application/problem+json;q=0, application/json": false, // the closest range decides
		"application/problem+json;q=0, */*":              false,
		"application/json;q=0.000":                       false,
		"*/*;q=0.1, application/problem+json":            true,
		"application/json;charset=utf-8;q=0.7":           true,
		"application/json;Q=0.7, text/*;q=0.6":           true,
		"application/json;q=2":                           false, // malformed
		"application/json;q=1.001":                       false,
		"application/json;q=0.1234":                      false,
		"application/json;q=":                            false,
		"application/json;q=x":                           false,
		";;;,,,=":                                        false,
		"application/json;q=0.5;q=x":                     false,
	} {
		if got := s.do("GET /", "Accept: "+accept).Header().Get("Content-Type") == "application/problem+json"; got != problem {
			t.Errorf("%q: problem %v, want %v", accept, got, problem)
		}
	}
	// Several lines are one list.
	if w := s.do("GET /", "Accept: text/html", "Accept: application/json"); w.Header().Get("Content-Type") != "application/problem+json" {
		t.Error("the second line of Accept is not read")
	}
}

func TestOwnAnswer(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per day"),
		Refuse: func(w http.ResponseWriter, r *http.Request, res httplimit.Result) {
			if r.URL.Path == "/default" {
				httplimit.Answer(w, r, res)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, res.Policy, " for ", res.Key(), " on ", res.Route, ": ", res.RetryAfter, w.Header().Get("Retry-After"))
		},
	}, muxOf("/own", "/default"))
	s.want("200 503", "GET /own")
	wantBody(t, s.do("GET /own").Body, "1 per day for 192.0.2.1 on /own: 24h0m0s86400")
	s.want("200 429", "GET /default")
}

// A page of another origin is shown the fields if the CORS middleware, which
// stands outside, says so also for refusals.
func TestCORSExposesTheFieldsOfRefusals(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("1 per day")}, nil)
	limited := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After, X-RateLimit-Remaining")
		limited.ServeHTTP(w, r)
	})
	s.do("GET /")
	w := s.do("GET /")
	wantHeader(t, w.Header(), "Access-Control-Expose-Headers", "Retry-After, X-RateLimit-Remaining")
	wantHeader(t, w.Header(), "X-RateLimit-Remaining", "0")
}
