package main

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
)

// newLimits is what the example is about: all limits of the server.
func newLimits(c clock.Clock, logger *slog.Logger) (*httplimit.Limiter, error) {
	return httplimit.New(httplimit.Config{
		// Every route that is not named below, such as /fast.
		Defaults: []httplimit.Limit{{Rate: "2 per minute"}, {Rate: "1 per second"}},

		Routes: map[string]httplimit.Route{
			"/slow": {Limits: []httplimit.Limit{{Rate: "1 per day"}}},
			"/ping": {Exempt: true},

			// Only logins that fail count, and never more of them than this.
			"POST /login": {Limits: []httplimit.Limit{{
				Rate:      "5 per minute; 20 per hour",
				Strategy:  httplimit.SlidingLog,
				CountWhen: failed,
			}}},

			// Another rate for each role.
			"/dynamic": {Limits: []httplimit.Limit{{
				Rate:  "2 per minute",
				Plan:  role,
				Plans: map[string]string{"member": "5 per minute", "admin": "10 per minute"},
			}}},

			// By user, wherever that user is; by address without one.
			"/export": {Limits: []httplimit.Limit{{Rate: "2 per hour", Key: user}}},
		},

		Headers: httplimit.XRateLimitDelta | httplimit.IETFDraft11,
		Refuse:  refuse,
		Logger:  logger,
		Clock:   c,
	})
}

// failed reports whether a response counts as a failed login.
func failed(resp httplimit.Response) bool { return resp.Status == http.StatusUnauthorized }

// role is what the client says it is. A real server would look it up in the
// session: whoever may choose a role chooses the one with the highest limit.
func role(r *http.Request) string { return r.Header.Get("X-Role") }

// user is who the client says it is; the same goes for it.
func user(r *http.Request) string { return r.Header.Get("X-User") }

// refuse answers a request that is refused with JSON.
func refuse(w http.ResponseWriter, r *http.Request, res httplimit.Result) {
	status, message := http.StatusTooManyRequests, "rate limit exceeded: "+res.Policy
	if res.Err != nil {
		status, message = http.StatusServiceUnavailable, "the limits cannot be checked"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message})
}
