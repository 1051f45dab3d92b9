package httplimit_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
)

func TestDefaultsApplyToEveryRouteByItself(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("2 per minute")}, muxOf("/a", "/b", "/users/{id}"))
	s.want("200 200 429", "GET /a")
	s.want("200 200 429", "GET /b")
	s.want("200", "GET /users/1") // a pattern is one route
	s.want("200 429", "GET /users/2")
	s.want("404 404 429", "GET /nowhere") // so is what is on none
	s.want("429", "GET /elsewhere")
	s.clock.Advance(30 * time.Second)
	s.want("200 429", "GET /a")
}

// Around each handler, and around the mux, it is the same route.
func TestDefaultsAreCountedByPatternInsideTheRouterToo(t *testing.T) {
	var inside func(http.Handler) http.Handler
	mux := http.NewServeMux()
	for _, p := range []string{"/a", "/b"} {
		mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) { inside(status(200)).ServeHTTP(w, r) })
	}
	s := newServer(t, httplimit.Config{Defaults: rate("2 per minute")}, mux)
	inside = s.limits.Middleware
	s.Handler = mux
	s.want("200 200 429", "GET /a")
	s.want("200 200 429", "GET /b")
	s.Handler = s.limits.Middleware(mux)
	s.want("429", "GET /a")
}

func TestOwnLimitsReplaceTheDefaults(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per minute"),
		Routes:   map[string]httplimit.Route{"/own": {Limits: rate("3 per minute")}},
	}, muxOf("/own", "/other"))
	s.want("200 200 200 429", "GET /own")
	s.want("200 429", "GET /other")
}

func TestOwnLimitsAreAddedToTheDefaults(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("2 per minute"),
		Routes: map[string]httplimit.Route{
			"/wider":    {Limits: rate("3 per day"), AddDefaults: true},
			"/narrower": {Limits: rate("1 per second"), AddDefaults: true},
		},
	}, nil)
	s.want("200 200 429", "GET /wider")
	s.clock.Advance(time.Minute)
	s.want("200 429", "GET /wider") // the third of the day
	s.want("200 429", "GET /narrower")
}

func TestExemptRoutesHaveNoLimits(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    rate("1 per day"),
		Application: rate("1 per day"),
		Routes:      map[string]httplimit.Route{"/ping": {Exempt: true}},
	}, nil)
	s.want("200 200 200", "GET /ping")
	s.want("200 429", "GET /")
	wantHeader(t, s.do("GET /ping").Header(), "X-RateLimit-Limit", "")
}

func TestTheMostSpecificPatternApplies(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/":           {Limits: rate("1 per minute")},
			"/api/":       {Limits: rate("2 per minute")},
			"POST /api/x": {Limits: rate("3 per minute")},
			"/api/ping":   {Exempt: true},
		},
	}, nil)
	s.want("200 429", "GET /x")
	s.want("200", "GET /api/a") // a subtree counts together
	s.want("200 429", "GET /api/b")
	s.want("200 200 200 429", "POST /api/x")
	s.want("200 200 200 200", "GET /api/ping")
}

// What one of several limits refuses is charged to none of them.
func TestAllOrNothing(t *testing.T) {
	s := newServer(t, httplimit.Config{Defaults: rate("3 per minute; 1 per second")}, nil)
	s.want("200 429 429 429 429", "GET /")
	s.clock.Advance(time.Second)
	// Had the four refusals been charged to the minute, it would refuse now.
	s.want("200 429", "GET /")
	s.clock.Advance(time.Second)
	s.want("200 429", "GET /")
	s.clock.Advance(time.Second)
	s.want("429", "GET /")
}

func TestApplicationLimitsAreSharedByAllRoutes(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    rate("2 per minute"),
		Application: rate("4 per day"),
		Routes:      map[string]httplimit.Route{"/own": {Limits: rate("10 per minute")}},
	}, muxOf("/a", "/b", "/own"))
	s.want("200 200 429", "GET /a")
	s.want("200", "GET /b")
	s.want("200 429", "GET /own")
	s.want("429", "GET /b")
	s.want("200", "GET /b", "from 192.0.2.77:1") // of each client
}

func TestScopeIsSharedByItsRoutes(t *testing.T) {
	shared := httplimit.Limit{Rate: "3 per hour", Scope: "database"}
	s := newServer(t, httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/a": {Limits: []httplimit.Limit{shared}},
			"/b": {Limits: []httplimit.Limit{shared, {Rate: "1 per hour"}}},
			"/c": {Limits: rate("3 per hour")},
		},
	}, nil)
	s.want("200 200", "GET /a")
	s.want("200 429", "GET /b")
	s.want("429", "GET /a")
	s.want("200 200 200 429", "GET /c")
}

// The Application may have a part in a Scope, too.
func TestScopeOfTheApplication(t *testing.T) {
	shared := httplimit.Limit{Rate: "3 per hour", Scope: "x", PerMethod: true}
	s := newServer(t, httplimit.Config{
		Application: []httplimit.Limit{shared},
		Routes:      map[string]httplimit.Route{"alone": {Limits: []httplimit.Limit{shared}}},
	}, nil)
	s.want("200 200", "GET /")
	s.Handler = s.limits.Route("alone")(status(200))
	s.want("200 429", "GET /")
	s.want("200 200 200 429", "POST /")
}

// A limit that is named twice for a route counts once.
func TestScopeNamedTwiceCountsOnce(t *testing.T) {
	shared := httplimit.Limit{Rate: "2 per hour", Scope: "x"}
	s := newServer(t, httplimit.Config{Defaults: []httplimit.Limit{shared, shared}, Application: []httplimit.Limit{shared}}, nil)
	s.want("200 200 429", "GET /")
}

func TestPerMethodAndAcrossMethods(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Routes: map[string]httplimit.Route{
			"/across": {Limits: rate("2 per minute")},
			"/per":    {Limits: []httplimit.Limit{{Rate: "2 per minute", PerMethod: true}}},
		},
		Application: []httplimit.Limit{{Rate: "6 per minute", PerMethod: true, Name: "app"}},
	}, nil)
	s.want("200", "GET /across")
	s.want("200 429", "POST /across")
	s.want("200 200 429", "GET /per")
	s.want("200 200 429", "POST /per")
	s.want("200", "PURGE /per") // methods that nobody knows are one
	s.want("200 429", "XYZZY /per")
}

func TestRouteNamesARouteInsideAnyRouter(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per minute"),
		Routes: map[string]httplimit.Route{
			"login":  {Limits: rate("2 per minute")},
			"/users": {},
		},
	}, nil)
	login := s.limits.Route("login")(status(200))
	s.Handler = login
	s.want("200 200 429", "GET /whatever/the/path")
	s.Handler = s.limits.Route("/users")(status(200))
	s.want("200 429", "GET /Users/")
	defer func() {
		if p := recover(); p == nil {
			t.Error("a Route that is not there did not panic")
		}
	}()
	s.limits.Route("logn")
}

// Where a mux has mounted the middleware makes no difference to what is inside.
func TestRoutesBehindAnotherMux(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("2 per minute"),
		Routes:   map[string]httplimit.Route{"/": {Limits: rate("9 per minute")}, "/login": {Limits: rate("1 per minute")}, "/app/{x}": {}},
	}, nil)
	mux := http.NewServeMux()
	mux.Handle("/", s.limits.Middleware(status(200)))
	s.Handler = mux
	s.want("200 429", "GET /login")
	s.want("200 200 429", "GET /app/x")
	s.want("200 200 200", "GET /x")

	s = newServer(t, httplimit.Config{Defaults: rate("1 per minute")}, muxOf("/a", "/b"))
	mux = http.NewServeMux()
	mux.Handle("/", s.Handler)
	s.Handler = mux
	s.want("200 429", "GET /a")
	s.want("200 429", "GET /b")
}

func TestEveryRouteIsListed(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults:    rate("100 per minute; 5/s"),
		Application: []httplimit.Limit{{Rate: "10000 per day", Name: "quota"}},
		Routes: map[string]httplimit.Route{
			"POST /login": {Limits: []httplimit.Limit{{
				Rate: "5/m", Strategy: httplimit.SlidingLog, MaxWait: time.Second, PerMethod: true,
				Key:        func(*http.Request) string { return "" },
				Cost:       func(*http.Request) int { return 1 },
				ExemptWhen: func(*http.Request) bool { return false },
				CountWhen:  func(httplimit.Response) bool { return true },
			}}, AddDefaults: true},
			"/export": {Limits: []httplimit.Limit{{
				Rate: "1/h", Scope: "db", Burst: 3,
				Plan:  func(*http.Request) string { return "" },
				Plans: map[string]string{"paid": "9/h", "free": "2/h"},
			}}},
			"/healthz": {Exempt: true},
		},
		Ban: httplimit.Ban{Refusals: "100 per hour", For: time.Hour},
	}, muxOf("/seen", "/unseen"))
	s.do("GET /seen")
	const defaults = "├── 100 per minute, tokenbucket\n├── 5 per second, tokenbucket\n"
	const app = "└── quota: 10000 per day, tokenbucket, shared by all routes\n"
	want := "/export\n├── 1 per hour, 2 per hour if free, 9 per hour if paid, tokenbucket, burst 3, shared as db\n" + app +
		"/healthz\n└── exempt\n" +
		"POST /login\n├── 5 per minute, slidinglog, per method, own key, by cost, with exemptions, by outcome, waits up to 1s\n" + defaults + app +
		"/seen\n" + defaults + app +
		"every other route\n" + defaults + app +
		"ban of 1h0m0s\n└── after more than 100 per hour refusals\n"
	if got := s.limits.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRouteWithoutLimitsIsListedAsSuch(t *testing.T) {
	s := newServer(t, httplimit.Config{Routes: map[string]httplimit.Route{"/a": {Limits: rate("1/s")}}}, nil)
	if got, want := s.limits.String(), "/a\n└── 1 per second, tokenbucket\nevery other route\n└── no limits\n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestResetClearsOneKeyEverywhere(t *testing.T) {
	shared := httplimit.Limit{Rate: "1 per day", Scope: "s"}
	s := newServer(t, httplimit.Config{
		Defaults: rate("1 per day"),
		Routes: map[string]httplimit.Route{
			"/shared": {Limits: []httplimit.Limit{shared}},
			"/method": {Limits: []httplimit.Limit{{Rate: "1 per day", PerMethod: true}}},
			"/user":   {Limits: []httplimit.Limit{{Rate: "1 per day", Key: headerKey("User")}}},
		},
	}, muxOf("/", "/learned"))
	paths := []string{"GET /", "GET /learned", "GET /shared", "GET /method", "BREW /method", "GET /user"}
	reset := func(key string) {
		t.Helper()
		if err := s.limits.Reset(t.Context(), key); err != nil {
			t.Error(err)
		}
	}
	for _, p := range paths {
		s.want("200 429", p, "from [2001:db8::1]:1")
		s.want("200 429", p, "from 192.0.2.1:1")
	}
	reset("2001:db8::abcd") // of the same /64
	for _, p := range paths {
		s.want("200 429", p, "from [2001:db8::1]:1")
		s.want("429", p, "from 192.0.2.1:1")
	}
	s.want("200 429", "GET /user", "User: alice")
	s.want("200 429", "GET /user", "User: bob")
	reset("alice")
	s.want("200 429", "GET /user", "User: alice")
	s.want("429", "GET /user", "User: bob")
}

// Whatever Result.Key says can be given to Reset.
func TestResetTakesWhatKeySays(t *testing.T) {
	var key string
	s := newServer(t, httplimit.Config{
		Defaults:  rate("1 per day"),
		Key:       headerKey("User"),
		OnRefusal: func(_ *http.Request, res httplimit.Result) { key = res.Key() },
	}, nil)
	for _, from := range []string{"from 192.0.2.1:1", "from [2001:db8::1%eth0]:1", "from nowhere", "User: alice", "User: unknown", "User: " + long} {
		s.want("200 429", "GET /", from)
		if err := s.limits.Reset(t.Context(), key); err != nil {
			t.Error(err)
		}
		s.want("200", "GET /", from)
	}
}

// A path that is not clean is read as it stands too, because that is how next
// may read it. It has the limits of both routes, and neither's exemption.
func TestUncleanPathIsBothRoutes(t *testing.T) {
	config := httplimit.Config{
		Defaults: rate("4 per day"),
		Routes: map[string]httplimit.Route{
			"/static/":        {Exempt: true},
			"/static/public/": {Exempt: true},
			"/api/":           {Limits: rate("2 per day")},
			"GET /login":      {Limits: rate("1 per day")},
		},
	}
	for path, want := range map[string]string{
		"/static/x":             "200 200 200 200 200",
		"/static/./x":           "200 200 200 200 200",
		"/static//x":            "200 200 200 200 200",
		"/static/public/../x":   "200 200 200 200 200",
		"/static/.well-known/x": "200 200 200 200 200",
		"/api/../static/x":      "200 200 429 429 429", // as in /api/
		"/api//../static/x":     "200 200 429 429 429",
		"/static/../api/x":      "200 200 429 429 429",
		"/api/./x":              "200 200 429 429 429",
		"/other/../static/x":    "200 200 200 200 429", // as in no route
		"//static/x":            "200 200 200 200 429",
		"/static/..":            "200 200 200 200 429",
		"/static/public/../../": "200 200 200 200 429",
		"/api/../login":         "200 429 429 429 429", // as both
		"//login":               "200 429 429 429 429",
		"/./login":              "200 429 429 429 429",
		"/login/.":              "200 429 429 429 429",
		"/x/../y":               "200 200 200 200 429",
		"/api/%2e%2e/static/x":  "200 200 429 429 429", // clean, as ServeMux has it
		"/api%2F../static/x":    "200 200 200 200 429",
	} {
		newServer(t, config, nil).want(want, "GET "+path)
	}
	// A mux answers them with a redirect, to the one route.
	s := newServer(t, config, muxOf("/static/", "/api/", "/login"))
	s.want("307 307 307 307 307", "GET /api/../static/x")
	s.want("307 429", "GET /api/../login")
	s.want("307 307 429", "GET //api/x")
}

// To CONNECT, http.ServeMux may answer a path of the client's, decoded, which is
// no pattern.
func TestConnectFindsItsRoute(t *testing.T) {
	s := newServer(t, httplimit.Config{
		Defaults: rate("2 per day"),
		Routes: map[string]httplimit.Route{
			"/users/{id}/": {Limits: rate("1 per day")},
			"/users/a/b/":  {Exempt: true},
		},
	}, nil)
	s.want("200 200 429", "CONNECT /users/a%2Fb")
	s.want("200 429", "CONNECT /users/a%2Fb/")
	s.want("200 200 200", "CONNECT /users/a/b/")
	s.want("200 429", "GET /users/a%2Fb", "from 192.0.2.2:1")
}

func TestNameIsListedAsSuch(t *testing.T) {
	s := newServer(t, httplimit.Config{Routes: map[string]httplimit.Route{"admin": {Limits: rate("1/s")}}}, nil)
	if got, want := s.limits.String(), "admin (where Limiter.Route puts it)\n└── 1 per second, tokenbucket\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
