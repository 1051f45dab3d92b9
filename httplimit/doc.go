// Package httplimit is net/http middleware that limits how often clients may
// call a server, route by route: limits are written as people say them, and a
// client that exceeds one is answered 429 Too Many Requests.
//
//	limits, err := httplimit.New(httplimit.Config{
//		Defaults: []httplimit.Limit{{Rate: "100 per minute; 5 per second"}},
//		Routes: map[string]httplimit.Route{
//			"POST /login": {Limits: []httplimit.Limit{{Rate: "5 per minute", Strategy: httplimit.SlidingLog, CountWhen: failed}}},
//			"/healthz":    {Exempt: true},
//		},
//	})
//	if err != nil {
//		return err
//	}
//	http.ListenAndServe(addr, limits.Middleware(mux))
//
// # Promise
//
// A request is charged to every limit that applies to it, or to none: if one of
// them refuses, the others have not counted it. (Of requests that one key makes
// at the same instant, one may be refused for the sake of another which in the
// end is refused too.) Each limit counts a request once, however many
// middlewares of one Limiter it passes. A client that waits as long as
// Retry-After says is admitted, if nobody else uses the same key meanwhile.
// Whoever cannot be told apart from others shares their limits, and is never let
// through for it. What a client sends can make no limit's memory grow beyond
// [Config.Memory].
//
// If a middleware further in refuses a request, what was charged further out is
// given back when the handler out there returns. That takes a ResponseWriter
// inside that is the one outside, or leads to it by Unwrap methods as
// [http.ResponseController] has them; a refusal that a handler gets for a
// response of another kind, to make its own of, is not its client's. And it takes
// that no other middleware inside let something through. What a handler writes
// before or after such a refusal is not known here.
//
// # Routes
//
// A route has the Defaults, which it counts by itself, or limits of its own in
// place of them or besides them. All routes together have the Application's
// limits. Limits with a Scope count together in the routes that have them. What
// is Exempt has no limits at all. [Limiter.Middleware] says how the route of a
// request is found, and [Limiter.Route] puts a handler on one; both are a
// func(http.Handler) http.Handler, for any router. Printing a Limiter shows all
// routes with their limits.
//
// # Clients
//
// Requests are counted by the client's address, IPv6 by its /64. Behind a proxy
// that is the proxy's, unless the Config's [Client] names the proxies that are
// believed about whom they speak for. A Key function counts by something else,
// such as a user; it should be something that has been verified, because a
// client who may choose its key has as many limits as it likes. For requests of
// which it returns "" it is the address again. A function that returns the same
// for all makes a limit on everybody together.
//
// # Browsers
//
// A page from another origin can read none of the header fields that tell of
// limits unless a response exposes them:
//
//	Access-Control-Expose-Headers: Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy
//
// Put the middleware that says so around this one, because a refused request
// goes no further, and have preflight requests answered there, or exempt them:
//
//	ExemptWhen: func(r *http.Request) bool { return r.Method == http.MethodOptions }
//
// # What a refusal costs
//
// A refusal charges nothing: a client that keeps asking does not keep itself
// out. It still costs the server a look-up and an answer. A [Ban] makes both as
// cheap as they can be here; what is cheaper happens before the request arrives.
//
// # For those who know Flask-Limiter
//
//	default_limits, application_limits      Config.Defaults, Config.Application
//	@limiter.limit("1 per day")             Config.Routes, Route.Limits
//	override_defaults=False                 Route.AddDefaults
//	@limiter.exempt                         Route.Exempt
//	shared_limit(…, scope="name")           Limit.Scope
//	key_func, exempt_when, cost             Limit.Key, Limit.ExemptWhen, Limit.Cost
//	per_method, deduct_when                 Limit.PerMethod, Limit.CountWhen
//	limits from a function                  Limit.Plan and Limit.Plans
//	meta_limits                             Config.Ban
//	on_breach, errorhandler(429)            Config.OnRefusal, Config.Refuse
//	RATELIMIT_SWALLOW_ERRORS                Config.AdmitOnError
//	flask limiter limits, limiter clear     fmt.Println(limits), Limiter.Reset
//
// The strings mean the same, and these differ: a request that is refused by one
// of its limits is charged to none; what CountWhen judges is counted while it is
// under way, so that no number of requests at a time gets past it; the strategy
// is a token bucket, unless a limit says FixedWindow; a Ban lasts for a time of
// its own; and a limit that is not understood is an error when it is made.
//
// # Several servers
//
// The counts are kept in the memory of the process. With a [Config.Store]
// servers share them. The Store of package redislimit, which is a module of its
// own, keeps them on a Redis or Valkey server:
//
//	Store: redislimit.Store(client, redislimit.Options{}),
package httplimit
