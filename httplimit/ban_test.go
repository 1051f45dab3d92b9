package httplimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/keyed"
)

func banning(t *testing.T) *server {
	return newServer(t, httplimit.Config{
		Defaults: rate("1 per second"),
		Routes:   map[string]httplimit.Route{"/ping": {Exempt: true}},
		Ban:      httplimit.Ban{Refusals: "2 per minute", For: 10 * time.Minute},
	}, muxOf("/a", "/b", "/ping"))
}

func TestBanFollowsTooManyRefusals(t *testing.T) {
	s := banning(t)
	s.want("200 429 429", "GET /a") // two refusals are allowed
	s.clock.Advance(time.Second)
	s.want("200 429", "GET /a") // the third is one too many
	w := s.do("GET /b")         // everything is refused
	if w.Code != 429 {
		t.Errorf("status %d", w.Code)
	}
	wantHeader(t, w.Header(), "Retry-After", "600")
	wantHeader(t, w.Header(), "X-RateLimit-Limit", "")
	wantBody(t, w.Body, "Too Many Requests: refused too often\n")
	wantBody(t, s.do("GET /b", "Accept: application/json").Body,
		`{"type":"https://iana.org/assignments/http-problem-types#abnormal-usage-detected","title":"Too Many Requests","status":429,"detail":"refused too often","violated-policies":["ban"]}`+"\n")
	s.want("200", "GET /b", "from 192.0.2.2:1") // to that client alone
	s.want("200", "GET /ping")                  // but for what is exempt
}

func TestBanEndsAndIsNotProlonged(t *testing.T) {
	s := banning(t)
	s.want("200 429 429 429", "GET /a")
	for range 10 {
		s.clock.Advance(time.Minute - 1)
		s.want("429 429 429 429", "GET /a")
	}
	s.clock.Advance(10)
	s.want("200", "GET /a")
}

func TestBanCountsRefusalsOfAllRoutesByClient(t *testing.T) {
	s := banning(t)
	s.want("200 429", "GET /a")
	s.want("200 429", "GET /b")
	s.want("429", "GET /b")
	s.clock.Advance(time.Second)
	s.want("429", "GET /a")
}

// Neither those who are admitted nor those who are refused seldom are banned.
func TestBanSparesWhoIsRefusedSeldom(t *testing.T) {
	s := banning(t)
	for range 20 {
		s.want("200 429", "GET /a")
		s.clock.Advance(30 * time.Second)
	}
}

func TestBanIsLiftedByReset(t *testing.T) {
	s := banning(t)
	s.want("200 429 429 429 429", "GET /a")
	if err := s.limits.Reset(t.Context(), "192.0.2.1"); err != nil {
		t.Error(err)
	}
	s.want("200 429 429 429 429", "GET /a")
}

// Whoever finds no place among those who are banned is not.
func TestBanSparesWhoHasNoPlaceAmongTheBanned(t *testing.T) {
	for _, full := range []keyed.WhenFull{keyed.Refuse, keyed.Share} {
		s := newServer(t, httplimit.Config{
			Defaults: rate("1 per second"),
			Ban:      httplimit.Ban{Refusals: "1 per second", For: time.Hour},
			Memory:   keyed.Options{MaxKeys: 10, WhenFull: full},
		}, nil)
		for i := range 20 {
			s.do("GET /", fmt.Sprintf("from 10.0.0.%d:1", i))
			s.statuses(3, "GET /", fmt.Sprintf("from 10.0.0.%d:1", i))
			s.clock.Advance(10 * time.Second)
		}
		banned := 0
		for i := range 20 {
			if s.do("GET /", fmt.Sprintf("from 10.0.0.%d:1", i)).Code == 429 {
				banned++
			}
			s.clock.Advance(10 * time.Second)
		}
		s.want("200 429", "GET /", "from 192.0.2.1:1")
		s.clock.Advance(10 * time.Second)
		s.want("200 429", "GET /", "from 192.0.2.1:1")
		if banned < 10 || banned == 20 {
			t.Errorf("%v: %d of 20 are banned, want as many as there is room for", full, banned)
		}
	}
}

// Nor is whoever finds no place among those who have been refused.
func TestBanSparesWhoHasNoPlaceAmongTheRefused(t *testing.T) {
	for _, full := range []keyed.WhenFull{keyed.Refuse, keyed.Share} {
		s := newServer(t, httplimit.Config{
			Defaults: rate("1 per second"),
			Ban:      httplimit.Ban{Refusals: "3 per hour", For: 24 * time.Hour},
			Memory:   keyed.Options{MaxKeys: 10, WhenFull: full},
		}, nil)
		for i := range 40 {
			s.want("200 429", "GET /", fmt.Sprintf("from 10.0.0.%d:1", i))
			s.clock.Advance(10 * time.Second)
		}
		for range 9 {
			s.want("200 429", "GET /", "from 192.0.2.1:1")
			s.clock.Advance(time.Second)
		}
	}
}
