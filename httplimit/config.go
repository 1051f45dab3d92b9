package httplimit

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
)

// Config says what is limited, to what, and what a refused client is told.
// There must be a limit in it somewhere: New refuses a Config that limits
// nothing.
type Config struct {
	// Defaults are the limits of every route that has none of its own. Each
	// route counts them by itself.
	Defaults []Limit

	// Application are limits on all routes together, besides those that the
	// routes have.
	Application []Limit

	// Routes are the routes that differ from the rest. A key with a slash in it
	// is a pattern as [http.ServeMux] reads it, such as "POST /login" or
	// "/users/{id}", and of several that match a request the most specific
	// applies. A key without one is a name for [Limiter.Route].
	Routes map[string]Route

	// Key is who a request is counted for. If it is nil or returns "", that is
	// the client's address. A limit may have a Key of its own.
	Key func(*http.Request) string

	// Client says how the client's address is found.
	Client Client

	// Headers are the fields that tell a client where it stands. 0 means
	// [XRateLimitDelta].
	Headers Headers

	// Refuse answers a request that is not let through, after the header
	// fields have been set. nil means [Answer].
	Refuse func(http.ResponseWriter, *http.Request, Result)

	// OnRefusal, if not nil, is called for each request that is refused, or
	// would be but for DryRun, before it is answered.
	OnRefusal func(*http.Request, Result)

	// Logger is told of refusals (Info), of bans (Warn) and of a Store that
	// fails (Error). nil means that nothing is logged. Set it if there is a
	// Store: nothing else says why it failed, but OnRefusal's Result.Err.
	Logger *slog.Logger

	// DryRun counts, logs and calls OnRefusal, and lets everything through.
	// Clients see no sign of it.
	DryRun bool

	// Ban refuses everything to a client that is refused too often.
	Ban Ban

	// MaxWaiting is how many requests may wait at a time for limits that have
	// a MaxWait: 1 to a million. 0 means 1000.
	MaxWaiting int

	// Store makes the place where a limit's counts are kept. nil means the
	// memory of this process.
	Store func(Spec) (Store, error)

	// AdmitOnError lets a request through if a Store fails to decide. The
	// other limits still hold. Without it such a request is refused with 503
	// Service Unavailable.
	AdmitOnError bool

	// Memory bounds how many keys each limit keeps in the memory of this
	// process, and says what happens to a new one when all are in use. A Ban
	// keeps as many again, twice: who has been refused, and who is banned. Of
	// clients that it has no place for, none is banned.
	Memory keyed.Options

	// Clock is what time is read from. nil means a system clock.
	Clock clock.Clock
}

// Route is what one route has in place of the Defaults. The zero Route has the
// Defaults, and counts them apart from other routes.
type Route struct {
	// Limits are the route's own. They replace the Defaults.
	Limits []Limit

	// AddDefaults keeps the Defaults too.
	AddDefaults bool

	// Exempt takes the route out of everything: its requests are let through,
	// are counted nowhere, and are served to clients that are banned.
	Exempt bool
}

// Limit is a rate, or several, and whom and what it counts. Only Rate is needed.
type Limit struct {
	// Rate is what is allowed, in the notation of package notation:
	// "5 per minute; 20 per hour".
	Rate string

	// Name is what clients and logs see the limit as: up to 64 printable ASCII
	// characters. "" means the rate. With several rates, each is called by the
	// Name and the rate.
	Name string

	// Strategy is the algorithm. The zero Strategy is [TokenBucket].
	Strategy Strategy

	// Burst is the most that a [TokenBucket] or a [LeakyBucket] admits at once:
	// the Burst of the one and the Capacity of the other. 0 means the rate's
	// count.
	Burst int

	// Scope, if not "", is a name under which several routes count together.
	// All limits of one Scope must have the same Rate, Name, Strategy, Burst,
	// Plans and PerMethod.
	Scope string

	// PerMethod counts each method of HTTP by itself.
	PerMethod bool

	// Key is who a request is counted for. nil means the Config's Key. If it
	// returns "", that is the client's address. A key that is longer than 128
	// bytes is kept as its hash.
	Key func(*http.Request) string

	// Cost is how much a request counts. nil means 1 for each. What costs 0 is
	// let through; what costs less, or more than can ever be admitted at once,
	// is refused.
	Cost func(*http.Request) int

	// ExemptWhen, if not nil, takes requests out of this limit.
	ExemptWhen func(*http.Request) bool

	// CountWhen, if not nil, counts only requests whose responses it says yes
	// to. The request is counted when it comes, so that no more than the limit
	// are under way at a time, as the header fields say; and what it took is
	// given back if CountWhen says no. It is not asked, and the request counts,
	// if the handler panics.
	CountWhen func(Response) bool

	// Plan, if not nil, names the plan that a request is under, one of Plans.
	// Any other name, such as "", means Rate. What a client has used up under
	// one plan weighs on it under another too. With a Store each plan may count
	// for itself.
	Plan func(*http.Request) string

	// Plans are rates that take the place of Rate. Each has as many as that.
	Plans map[string]string

	// MaxWait, if not 0, holds back a request that this limit would refuse, if
	// it can be admitted in less than that time: up to an hour. Requests wait
	// in line for each key, and are served in order of arrival. A request for
	// which Config.MaxWaiting leaves no room is refused.
	MaxWait time.Duration
}

// Ban is a limit on refusals. The zero Ban is none.
type Ban struct {
	// Refusals is a single rate, in the notation of package notation. The
	// refusal that exceeds it is the one that a ban follows.
	Refusals string

	// For is how long a ban lasts. A banned client's requests are answered at
	// the cost of one look-up, and do not prolong it.
	For time.Duration
}

// Response is what [Limit.CountWhen] judges.
type Response struct {
	Request *http.Request // as it was given to the handler
	Status  int           // 200 if the handler wrote none, 101 if it took over the connection
	Header  http.Header   // as the handler left it
}

// Strategy is an algorithm. Each is a package of this module, which says what
// it promises.
//
// The default, TokenBucket, keeps its word for small counts and large ones: a
// client that was idle may use the whole count at once, and gets the next one
// when a count's share of the window has passed, so that "1 per day" is a day
// apart and "2 per minute" is one every 30 seconds in the long run. It needs one
// word of memory for each key, and clients do not all come back at the same
// instant. The price is that the first window may see nearly twice the count.
// Where a count must never be exceeded, as in failed logins, use SlidingLog,
// which needs 16 bytes for each admission.
type Strategy int

const (
	TokenBucket Strategy = iota
	LeakyBucket
	FixedWindow
	SlidingWindow
	SlidingLog
)

// String is the name of the strategy's package.
func (s Strategy) String() string {
	if s < 0 || int(s) >= len(strategies) {
		return "unknown strategy"
	}
	return strategies[s]
}

var strategies = [...]string{"tokenbucket", "leakybucket", "fixedwindow", "slidingwindow", "slidinglog"}

// Headers is a set of header fields, joined by |. Retry-After is part of every
// 429, whatever the set, except where no wait would help.
//
// Of several limits, the fields speak of the one that is closest to exhaustion:
// of those that refuse the one that refuses the longest, else the one with the
// least remaining.
type Headers uint

const (
	// XRateLimitDelta is X-RateLimit-Limit, the most that is admitted at once,
	// X-RateLimit-Remaining, what would be admitted after this request, and
	// X-RateLimit-Reset, the seconds until the whole limit is there again if the
	// client makes no more requests.
	XRateLimitDelta Headers = 1 << iota

	// XRateLimitEpoch is the same, with the Reset as a Unix time.
	XRateLimitEpoch

	// IETFDraft11 is RateLimit-Policy, which lists the limits, and RateLimit,
	// as draft-ietf-httpapi-ratelimit-headers-11 has them. In RateLimit, t is
	// X-RateLimit-Reset's time, but the time of Retry-After in a refusal.
	IETFDraft11

	// NoHeaders is none of them.
	NoHeaders
)
