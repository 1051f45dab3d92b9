package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// said is what the server answers to the tries, in order: the status, the fields
// that tell of limits, and the body.
const said = `
/fast
200 | X-RateLimit: 0 of 1, 1 | RateLimit: "1 per second";r=0;t=1 | 42
429 | X-RateLimit: 0 of 1, 1 | RateLimit: "1 per second";r=0;t=1 | Retry-After: 1 | {"error":"rate limit exceeded: 1 per second"}
/slow
200 | X-RateLimit: 0 of 1, 86400 | RateLimit: "1 per day";r=0;t=86400 | 24
429 | X-RateLimit: 0 of 1, 86400 | RateLimit: "1 per day";r=0;t=86400 | Retry-After: 86400 | {"error":"rate limit exceeded: 1 per day"}
/ping
200 | PONG
200 | PONG
200 | PONG
200 | PONG
200 | PONG
200 | PONG
200 | PONG
200 | PONG
200 | PONG
/login
401 | X-RateLimit: 4 of 5, 60 | RateLimit: "5 per minute";r=4;t=60 | wrong password
401 | X-RateLimit: 3 of 5, 60 | RateLimit: "5 per minute";r=3;t=60 | wrong password
401 | X-RateLimit: 2 of 5, 60 | RateLimit: "5 per minute";r=2;t=60 | wrong password
401 | X-RateLimit: 1 of 5, 60 | RateLimit: "5 per minute";r=1;t=60 | wrong password
401 | X-RateLimit: 0 of 5, 60 | RateLimit: "5 per minute";r=0;t=60 | wrong password
429 | X-RateLimit: 0 of 5, 60 | RateLimit: "5 per minute";r=0;t=60 | Retry-After: 60 | {"error":"rate limit exceeded: 5 per minute"}
/dynamic
200 | X-RateLimit: 1 of 2, 30 | RateLimit: "2 per minute";r=1;t=30 | 1 of 2 left
200 | X-RateLimit: 0 of 2, 60 | RateLimit: "2 per minute";r=0;t=60 | 0 of 2 left
429 | X-RateLimit: 0 of 2, 60 | RateLimit: "2 per minute";r=0;t=30 | Retry-After: 30 | {"error":"rate limit exceeded: 2 per minute"}
/dynamic
200 | X-RateLimit: 7 of 10, 18 | RateLimit: "10 per minute";r=7;t=18 | 7 of 10 left
200 | X-RateLimit: 6 of 10, 24 | RateLimit: "10 per minute";r=6;t=24 | 6 of 10 left
200 | X-RateLimit: 5 of 10, 30 | RateLimit: "10 per minute";r=5;t=30 | 5 of 10 left
200 | X-RateLimit: 4 of 10, 36 | RateLimit: "10 per minute";r=4;t=36 | 4 of 10 left
200 | X-RateLimit: 3 of 10, 42 | RateLimit: "10 per minute";r=3;t=42 | 3 of 10 left
200 | X-RateLimit: 2 of 10, 48 | RateLimit: "10 per minute";r=2;t=48 | 2 of 10 left
200 | X-RateLimit: 1 of 10, 54 | RateLimit: "10 per minute";r=1;t=54 | 1 of 10 left
200 | X-RateLimit: 0 of 10, 60 | RateLimit: "10 per minute";r=0;t=60 | 0 of 10 left
429 | X-RateLimit: 0 of 10, 60 | RateLimit: "10 per minute";r=0;t=6 | Retry-After: 6 | {"error":"rate limit exceeded: 10 per minute"}
/export
200 | X-RateLimit: 1 of 2, 1800 | RateLimit: "2 per hour";r=1;t=1800 | id,name
200 | X-RateLimit: 0 of 2, 3600 | RateLimit: "2 per hour";r=0;t=3600 | id,name
429 | X-RateLimit: 0 of 2, 3600 | RateLimit: "2 per hour";r=0;t=1800 | Retry-After: 1800 | {"error":"rate limit exceeded: 2 per hour"}
`

// start serves the example on a socket and a clock of the test's own.
func start(t *testing.T) (*httptest.Server, *clock.Fake) {
	fake := clock.NewFake()
	limits, err := newLimits(fake, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(limits.Middleware(newMux()))
	t.Cleanup(server.Close)
	return server, fake
}

// answer is a line of what the server says.
func (t try) answer(server *httptest.Server) (string, error) {
	r, err := http.NewRequest(t.method, server.URL+t.path, strings.NewReader(t.form))
	if err != nil {
		return "", err
	}
	if t.form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if t.header[0] != "" {
		r.Header.Set(t.header[0], t.header[1])
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	h := resp.Header
	parts := []string{fmt.Sprint(resp.StatusCode)}
	if h.Get("X-RateLimit-Limit") != "" {
		parts = append(parts, fmt.Sprintf("X-RateLimit: %s of %s, %s", h.Get("X-RateLimit-Remaining"), h.Get("X-RateLimit-Limit"), h.Get("X-RateLimit-Reset")))
	}
	for _, name := range []string{"RateLimit", "Retry-After"} {
		if value := h.Get(name); value != "" {
			parts = append(parts, name+": "+value)
		}
	}
	if resp.StatusCode == http.StatusTooManyRequests && h.Get("Content-Type") != "application/json" {
		parts = append(parts, h.Get("Content-Type"))
	}
	return strings.Join(append(parts, strings.TrimSpace(string(body))), " | "), nil
}

func TestWhatTheServerSays(t *testing.T) {
	server, _ := start(t)
	var b strings.Builder
	for _, try := range tries {
		fmt.Fprintf(&b, "\n%s", try.path)
		for range try.times {
			line, err := try.answer(server)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n%s", line)
		}
	}
	got, want := strings.Split(b.String(), "\n"), strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	for i := range max(len(got), len(want)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d\ngot  %s\nwant %s", i, g, w)
		}
	}
}

// Whoever waits as told is served.
func TestTheServerKeepsItsWord(t *testing.T) {
	server, fake := start(t)
	for _, try := range tries {
		var line string
		for range try.times {
			line, _ = try.answer(server)
		}
		_, after, refused := strings.Cut(line, "Retry-After: ")
		if !refused {
			continue
		}
		var seconds int
		if _, err := fmt.Sscan(after, &seconds); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		fake.Advance(time.Duration(seconds) * time.Second)
		if line, _ = try.answer(server); strings.HasPrefix(line, "429") {
			t.Errorf("%s after %d seconds: %s", try.path, seconds, line)
		}
	}
}

// A login that succeeds counts neither for the minute nor for the hour.
func TestLoginsThatSucceedDoNotCount(t *testing.T) {
	server, fake := start(t)
	good := try{method: "POST", path: "/login", form: "password=secret"}
	bad := try{method: "POST", path: "/login", form: "password=guess"}
	statuses := func(t try, times int) (all []string) {
		for range times {
			line, err := t.answer(server)
			if err != nil {
				line = err.Error()
			}
			all = append(all, line[:3])
		}
		return all
	}
	for minute := range 4 {
		if got := slices.Compact(statuses(good, 9)); !slices.Equal(got, []string{"200"}) {
			t.Fatalf("minute %d: %v", minute, got)
		}
		if got := slices.Compact(statuses(bad, 5)); !slices.Equal(got, []string{"401"}) {
			t.Fatalf("minute %d: %v", minute, got)
		}
		fake.Advance(time.Minute)
	}
	if line, _ := bad.answer(server); !strings.Contains(line, "20 per hour") || !strings.Contains(line, "Retry-After: 3360") {
		t.Errorf("after 20 failures in an hour: %s", line)
	}
}

func TestPolicyNamesTheLimitsOfARoute(t *testing.T) {
	server, _ := start(t)
	resp, err := server.Client().Get(server.URL + "/fast")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got, want := resp.Header.Get("RateLimit-Policy"), `"2 per minute";q=2;w=60, "1 per second";q=1;w=1`; got != want {
		t.Errorf("RateLimit-Policy %s, want %s", got, want)
	}
}

// What is printed for curl is what the test does.
func TestCurl(t *testing.T) {
	want := []string{
		"curl -i 'http://x/fast?[1-2]'",
		"curl -i 'http://x/slow?[1-2]'",
		"curl -i 'http://x/ping?[1-9]'",
		"curl -i -d 'password=guess' 'http://x/login?[1-6]'",
		"curl -i 'http://x/dynamic?[1-3]'",
		"curl -i -H 'X-Role: admin' 'http://x/dynamic?[1-9]'",
		"curl -i -H 'X-User: alice' 'http://x/export?[1-3]'",
	}
	for i, try := range tries {
		if got := try.curl("http://x"); got != want[i] {
			t.Errorf("got %s, want %s", got, want[i])
		}
	}
}
