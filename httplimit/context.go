package httplimit

import (
	"context"

	"github.com/ratekeep/ratelimit"
)

// Result is what became of a request.
type Result struct {
	// Decision is that of the limit closest to exhaustion, or that of a ban,
	// which ends after RetryAfter.
	ratelimit.Decision

	Route  string // the key in Config.Routes or else the pattern; "" if not known
	Policy string // the name of the limit that decided, or "ban"
	Banned bool   // the Config's Ban refused
	DryRun bool   // the request is let through whatever the Decision
	Err    error  // of the Store that did not decide, or of a client that has gone; there is no Decision then

	key  key
	rate *rate
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
	return v.result(), true
}

func (v *visit) result() Result {
	c := v.nearest
	res := Result{Route: v.route.name, Policy: c.rate.name, DryRun: v.config.DryRun, key: c.key, rate: c.rate}
	if c.failed {
		res.Err = v.failure
	} else {
		res.Decision = c.decision
	}
	return res
}

type visitKey struct{}

// Value is the visit itself, for FromContext under visitKey and for the same
// Limiter's middlewares further in under the Limiter.
func (v *visit) Value(key any) any {
	switch key := key.(type) {
	case visitKey:
		return v
	case *Limiter:
		if key == v.Limiter {
			return v
		}
	}
	return v.Context.Value(key)
}
