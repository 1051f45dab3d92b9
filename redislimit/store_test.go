package redislimit

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// machine is a server of those that share a Config.
func machine(t *testing.T, c httplimit.Config) http.Handler {
	t.Helper()
	limits, err := httplimit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/users/{id}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	return limits.Middleware(mux)
}

// get is the status that a machine answers a user with.
func get(machine http.Handler, path, user string) int {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User", user)
	w := httptest.NewRecorder()
	machine.ServeHTTP(w, r)
	return w.Code
}

func wantStatus(t *testing.T, machine http.Handler, path, user string, want ...int) {
	t.Helper()
	for i, want := range want {
		if got := get(machine, path, user); got != want {
			t.Errorf("request %d of %s to %s: status %d, want %d", i+1, user, path, got, want)
		}
	}
}

func user(r *http.Request) string { return r.Header.Get("User") }

var strategies = []httplimit.Strategy{
	httplimit.TokenBucket, httplimit.LeakyBucket, httplimit.FixedWindow, httplimit.SlidingWindow, httplimit.SlidingLog,
}

// Two machines admit together what one would, whatever the strategy, and two
// limits that are equal but for their Names are each charged once.
func TestStoreIsSharedByMachines(t *testing.T) {
	for _, strategy := range strategies {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			const most = 40
			equal := func(name string) httplimit.Limit {
				return httplimit.Limit{Rate: fmt.Sprintf("%d per year", most), Name: name, Strategy: strategy}
			}
			config := func(refusals int) httplimit.Config {
				return httplimit.Config{
					Defaults: []httplimit.Limit{{Rate: "3 per year", Strategy: strategy}},
					Routes:   map[string]httplimit.Route{"/users/{id}": {Limits: []httplimit.Limit{equal("a"), equal("b")}}},
					Key:      user,
					Store:    Store(s.client(t), Options{Timeout: time.Minute, Refusals: refusals}),
				}
			}
			machines := []http.Handler{machine(t, config(NoRefusals)), machine(t, config(NoRefusals))}

			var admitted, refused atomic.Int64
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					for j := range 2 * most / 8 {
						switch status := get(machines[i%2], fmt.Sprintf("/users/%d", j), "alice"); status {
						case http.StatusOK:
							admitted.Add(1)
						case http.StatusTooManyRequests:
							refused.Add(1)
						default:
							t.Errorf("status %d", status)
						}
					}
				})
			}
			wg.Wait()
			if n := admitted.Load() + refused.Load(); n != 2*most {
				t.Errorf("%d answered, want %d", n, 2*most)
			}
			// Of two requests at the same instant one may be refused for the
			// sake of another, which is refused too. What they left is there.
			for i := 0; get(machines[i%2], "/users/7", "alice") == http.StatusOK; i++ {
				admitted.Add(1)
			}
			if n := admitted.Load(); n != most {
				t.Errorf("%d admitted, want %d", n, most)
			}

			machines = []http.Handler{machine(t, config(0)), machine(t, config(0))}
			for i := range most {
				wantStatus(t, machines[i%2], "/users/7", "{bob}", http.StatusOK)
			}
			wantStatus(t, machines[0], "/users/8", "{bob}", http.StatusTooManyRequests)
			wantStatus(t, machines[1], "/users/8", "{bob}", http.StatusTooManyRequests)
			wantStatus(t, machines[0], "/users/8", "bob", http.StatusOK)
			wantStatus(t, machines[0], "/", "{bob}", http.StatusOK, http.StatusOK)
			wantStatus(t, machines[1], "/", "{bob}", http.StatusOK, http.StatusTooManyRequests)
		})
	}
}

// Limits that are equal count apart if they stand in different places. A Cluster
// places each client by itself, and all limits of a client together.
func TestStoreKeysAreApart(t *testing.T) {
	ctx := context.Background()
	client := newServer(t).client(t)
	ids := []string{
		`Routes["/users/{id}"].Limits[0]`, `Routes["/users/%7Bid%7D"].Limits[0]`, `Routes["/users/%7bid}"].Limits[0]`,
		`Routes["/users/{id}"].Limits[1]`, `Routes["/users/(id)"].Limits[0]`, "a", "a:b", "a%3Ab", "", ":",
	}
	users := []string{"alice", "{alice}", "%7Balice%7D", "}", "b:alice", ":alice"}
	of := Store(client, Options{Timeout: time.Minute})
	for _, id := range ids {
		s, err := of(httplimit.Spec{ID: id, Count: 2, Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range users {
			d, err := s.Take(ctx, user, 2)
			if err != nil || !d.Allowed {
				t.Errorf("Take of %q in %q = %+v, %v", user, id, d, err)
			}
			if d, err := s.Peek(ctx, user, 1); err != nil || d.Allowed {
				t.Errorf("Peek of %q in %q = %+v, %v", user, id, d, err)
			}
		}
	}
	// A limiter of the same Prefix has other keys, whatever they are called.
	l, err := New(tokenbucket.Config{Limit: 2, Window: time.Hour}, client, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		for _, key := range []string{"alice}/" + id + "/", ":" + id + ":alice", "/" + id + "/alice", "alice/" + id + "/", id + ":alice"} {
			if d := take(t, l, key, 2); !d.Allowed {
				t.Errorf("Take of %q outside the Store = %+v", key, d)
			}
			if err := l.Reset(ctx, key); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil || len(keys) != len(ids)*len(users) {
		t.Fatalf("%d keys, %v; want %d", len(keys), err, len(ids)*len(users))
	}
	slices.Sort(keys)
	var tags []string
	for _, key := range keys {
		tag, _, _ := strings.Cut(key, "}")
		tags = append(tags, tag)
		if !strings.HasPrefix(key, "{ratelimit:") || strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 {
			t.Errorf("key %q", key)
		}
	}
	if slices.Sort(tags); len(slices.Compact(tags)) != len(users) {
		t.Errorf("%d clients have %q", len(users), keys)
	}

	// What is given back and reset is the same key.
	s, err := of(httplimit.Spec{ID: "{c}", Count: 2, Window: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Take(ctx, "{k}", 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Refund(ctx, "{k}", d); err != nil {
		t.Error(err)
	}
	if d, err := s.Take(ctx, "{k}", 2); err != nil || !d.Allowed {
		t.Errorf("after a Refund Take = %+v, %v", d, err)
	}
	if err := s.Reset(ctx, "{k}"); err != nil {
		t.Error(err)
	}
	if d, err := s.Take(ctx, "{k}", 2); err != nil || !d.Allowed {
		t.Errorf("after a Reset Take = %+v, %v", d, err)
	}
}

// Plans with different rates count each for itself.
func TestStorePlans(t *testing.T) {
	s := newServer(t)
	m := machine(t, httplimit.Config{
		Defaults: []httplimit.Limit{{
			Rate: "1 per year", Key: user,
			Plan:  func(r *http.Request) string { return strings.TrimPrefix(r.URL.Path, "/") },
			Plans: map[string]string{"paid": "2 per year"},
		}},
		Store: Store(s.client(t), Options{Timeout: time.Minute}),
	})
	wantStatus(t, m, "/paid", "alice", 200, 200, 429)
	wantStatus(t, m, "/", "alice", 200, 429)
}

// A Ban is one on every machine, until it is lifted.
func TestStoreBan(t *testing.T) {
	s := newServer(t)
	var limits [2]*httplimit.Limiter
	var machines [2]http.Handler
	for i := range limits {
		var err error
		limits[i], err = httplimit.New(httplimit.Config{
			Defaults: []httplimit.Limit{{Rate: "1 per year", Key: user}},
			Routes:   map[string]httplimit.Route{"/free": {Limits: []httplimit.Limit{{Rate: "100 per year", Key: user}}}},
			Key:      user,
			Ban:      httplimit.Ban{Refusals: "2 per hour", For: time.Hour},
			Store:    Store(s.client(t), Options{Timeout: time.Minute, Refusals: NoRefusals}),
		})
		if err != nil {
			t.Fatal(err)
		}
		machines[i] = limits[i].Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}
	wantStatus(t, machines[0], "/", "mallory", 200, 429, 429)
	wantStatus(t, machines[1], "/free", "mallory", 200)
	wantStatus(t, machines[0], "/", "mallory", 429)
	wantStatus(t, machines[1], "/free", "mallory", 429)
	if err := limits[0].Reset(context.Background(), "mallory"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, machines[1], "/free", "mallory", 200)
}

func TestStoreWhenTheServerIsDown(t *testing.T) {
	s := newServer(t)
	c := func(o Options, admit bool) httplimit.Config {
		o.Timeout, o.Cooldown = time.Second, time.Hour
		return httplimit.Config{
			Defaults:     []httplimit.Limit{{Rate: "2 per year"}},
			Ban:          httplimit.Ban{Refusals: "2 per hour", For: time.Hour},
			Store:        Store(s.client(t), o),
			AdmitOnError: admit,
		}
	}
	refuse := machine(t, c(Options{}, false))
	admitOnError := machine(t, c(Options{}, true))
	admit := machine(t, c(Options{WhenDown: Admit}, false))
	fallback := machine(t, c(Options{WhenDown: Fallback, Share: 2}, false))
	wantStatus(t, refuse, "/", "", 200)
	s.kill()
	wantStatus(t, refuse, "/", "", 503, 503, 503, 503, 503)
	wantStatus(t, admitOnError, "/", "", 200, 200, 200, 200, 200)
	wantStatus(t, admit, "/", "", 200, 200, 200, 200, 200)
	wantStatus(t, fallback, "/", "", 200, 429)
}

// What a server cannot enforce is an error of httplimit.New, which says where.
func TestStoreRefuses(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	for _, tt := range []struct {
		spec    httplimit.Spec
		options Options
		want    string
	}{
		{httplimit.Spec{Count: 1, Window: 1500 * time.Nanosecond}, Options{}, "Window 1.5µs is out of range"},
		{httplimit.Spec{Count: 1, Window: time.Second, Strategy: -1}, Options{}, "there is no Strategy -1"},
		{httplimit.Spec{Count: 1, Window: time.Second, Strategy: httplimit.SlidingLog, Burst: 2}, Options{}, "a slidinglog has no Burst, which is 2"},
		{httplimit.Spec{Count: 1, Window: time.Second}, Options{Prefix: "{"}, `Prefix "{" contains a brace`},
		{httplimit.Spec{Count: 1, Window: time.Second}, Options{Prefix: "a:b"}, `Prefix "a:b" contains a colon`},
		{httplimit.Spec{Count: 1, Window: time.Second}, Options{Lease: 2}, "Lease 2 is out of range [0, 1]"},
	} {
		s, err := Store(client, tt.options)(tt.spec)
		if s != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Store = %v, %v; want an error with %q", s, err, tt.want)
		}
	}
	_, err := httplimit.New(httplimit.Config{Defaults: []httplimit.Limit{{Rate: "1 per second"}}, Store: Store(nil, Options{})})
	if err == nil || err.Error() != `httplimit: Defaults[0]: "1 per second": Store: redislimit: the client is nil` {
		t.Error(err)
	}
}
