package httplimit

import (
	"context"
	"net/http"

	"github.com/ratekeep/ratelimit"
)

// Result is what became of a request.
type Result struct {
	// Decision is that of the limit closest to exhaustion. A Limiter that found
	// somebody banned has a RetryAfter until the end of the ban.
	ratelimit.Decision

	Route  string // the key in Config.Routes or else the pattern; "" if not known
	Limit  string // the name of the limit that decided
	Banned bool   // the Config's Ban refused
	DryRun bool   // the request is let through whatever the Decision
	Err    error  // of the Store that did not decide; there is no Decision then

	key  key
	rate *rate // nil for a ban
}

// Key is who the request was counted for: what the Key function returned, or
// the address with its host bits cleared. It is "unknown" for a client without
// an address, and the hash of a key that is longer than 128 bytes.
func (res Result) Key() string { return res.key.who() }

// FromContext returns what the innermost middleware decided on the request
// that a handler serves. It is not ok for a request that no limit applies to.
func FromContext(ctx context.Context) (res Result, ok bool) {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return Result{}, false
	}
	res = v.nearest.result()
	res.Route, res.DryRun = v.route.name, v.limiter.config.DryRun
	return res, true
}

// visit is the context of a request that was let through. It is all that is
// allocated for one, but for the copy of the request that carries it.
type visit struct {
	context.Context
	limiter *Limiter
	route   *route
	outer   *visit
	charges []charge
	nearest *charge // to exhaustion; maybe one of outer's
	one     [1]charge
	fields  fields
}

type visitKey struct{}

// Value is the visit itself, for FromContext under visitKey and for the same
// Limiter's middlewares further in under the Limiter.
func (v *visit) Value(key any) any {
	switch key := key.(type) {
	case visitKey:
		return v
	case *Limiter:
		if key == v.limiter {
			return v
		}
	}
	return v.Context.Value(key)
}

// undo gives back all that was taken for the request, because it was refused
// further in.
func (v *visit) undo() {
	for ; v != nil; v = v.outer {
		v.limiter.refund(v.Context, v.charges)
	}
}

// settle gives back what was taken by limits that do not count the response.
func (v *visit) settle(r *http.Request, rec *recorder, returned bool) {
	if !returned {
		return // the handler panicked: nobody knows what came of the request, so it counts
	}
	resp := Response{Request: r, Status: rec.finalStatus(), Header: rec.Header()}
	for i := range v.charges {
		c := &v.charges[i]
		if c.taken && c.limit.given.CountWhen != nil && !c.limit.given.CountWhen(resp) {
			v.limiter.refund(v.Context, v.charges[i:i+1])
		}
	}
}
