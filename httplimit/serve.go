package httplimit

import (
	"context"
	"net/http"
	"reflect"
	"sync/atomic"

	"github.com/ratekeep/ratelimit"
)

// visit is one request at one middleware, and the context of the request if it
// is let through. It is all that is allocated for that, but for the copy of the
// request that carries it.
type visit struct {
	context.Context
	*Limiter
	route   *route
	outer   *visit // at the same Limiter's middleware further out; nil for none
	charges []charge
	nearest *charge // to exhaustion; maybe one of outer's
	failure error   // of the last Store that failed, if that is no reason to refuse

	w      http.ResponseWriter // as it came to the middleware
	inside atomic.Uint32       // what came of requests inside this one

	one    [1]charge // where charges are, if there are no more
	fields fields
}

// What can come of requests inside a request, which may be many at a time.
const (
	refusedInside = 1 << iota // one was refused, and that was the response
	servedInside              // one was served
)

// charge is one limit's part in a request.
type charge struct {
	limit    *limit
	rate     *rate
	key      key
	n        int                // what the request costs
	decision ratelimit.Decision // of the limit
	taken    bool               // as decided, and not given back
	failed   bool               // the Store did not decide, and is passed over
}

func (c *charge) refused() bool { return !c.decision.Allowed && !c.failed }

// serve lets a request on a route through to next, or refuses it.
func (l *Limiter) serve(w http.ResponseWriter, r *http.Request, next http.Handler, rt *route) {
	if rt.exempt {
		next.ServeHTTP(w, r)
		return
	}
	v := &visit{Context: r.Context(), Limiter: l, route: rt, w: w}
	v.outer, _ = v.Context.Value(l).(*visit)
	from := sender{limiter: l, request: r}

	if l.ban != nil && v.outer == nil {
		banned, err := v.banned(&from)
		if err != nil {
			v.fail(w, r, err)
			return
		}
		if banned && !v.refuse(w, r, Result{Decision: v.one[0].decision, Banned: true, key: v.one[0].key, rate: l.ban.bans}) {
			return
		}
	}
	v.collect(r, &from)
	if len(v.charges) == 0 {
		next.ServeHTTP(w, r)
		return
	}
	if err := v.decide(); err != nil {
		v.fail(w, r, err)
		return
	}
	if v.nearest.refused() {
		if l.ban != nil {
			v.countRefusal(&from)
		}
		if !v.refuse(w, r, v.result()) {
			return
		}
	}
	v.admit(w, r, next)
}

// collect finds the limits that apply to the request, and that it has not been
// charged for further out.
func (v *visit) collect(r *http.Request, from *sender) {
	v.charges = v.one[:0]
	if n := len(v.route.limits); n > 1 {
		v.charges = make([]charge, 0, n)
	}
	for _, m := range v.route.limits {
		if v.charged(m) || m.given.ExemptWhen != nil && m.given.ExemptWhen(r) {
			continue
		}
		v.charges = v.charges[:len(v.charges)+1] // there is room for all
		c := &v.charges[len(v.charges)-1]
		c.limit = m
		c.rate = m.rateOf(r)
		from.key(&c.key, m.given.Key)
		c.key.scope = m.scopeOf(v.route, r)
		c.n = 1
		if m.given.Cost != nil {
			c.n = m.given.Cost(r)
		}
	}
}

// charged reports whether the limit has its charge. The limits of one Scope are
// one limit.
func (v *visit) charged(m *limit) bool {
	for ; v != nil; v = v.outer {
		for i := range v.charges {
			if v.charges[i].limit.usual == m.usual {
				return true
			}
		}
	}
	return false
}

// decide charges all limits, or none of them, after a wait if that is allowed.
func (v *visit) decide() (err error) {
	if !v.lines.empty() && !v.config.DryRun {
		if c := v.lines.busy(v.charges); c != nil {
			return v.waitBehind(c)
		}
	}
	err = v.takeAll(v.Context)
	if err != nil || !v.nearest.refused() || v.config.DryRun || !v.mayWait() {
		return err
	}
	return v.wait(v.nearest)
}

// takeAll charges all limits, or none if one of them refuses or fails. It
// finds the nearest: the one that refuses the longest, else the one with the
// least remaining.
func (v *visit) takeAll(ctx context.Context) error {
	if len(v.charges) > 1 {
		if err := v.peekAll(ctx); err != nil || v.nearest.refused() {
			return err
		}
	}
	for i := range v.charges {
		c := &v.charges[i]
		if c.failed {
			continue // it did so when it was asked to Peek
		}
		err := c.rate.take(ctx, &c.key, c.n, &c.decision)
		c.taken = c.decision.Allowed && err == nil
		if err != nil {
			err = v.pass(ctx, c, err)
		}
		if err != nil || c.refused() {
			v.nearest = c
			v.undo()
			return err
		}
	}
	v.nearest = nearest(v.charges)
	return nil
}

// peekAll asks all limits, and takes from none.
func (v *visit) peekAll(ctx context.Context) error {
	for i := range v.charges {
		c := &v.charges[i]
		c.failed = false
		err := c.rate.peek(ctx, &c.key, c.n, &c.decision)
		if err != nil {
			err = v.pass(ctx, c, err)
		}
		if err != nil {
			return err
		}
	}
	v.nearest = nearest(v.charges)
	return nil
}

// pass is what becomes of the error of a charge's Store: nil if the request goes
// on without it.
func (v *visit) pass(ctx context.Context, c *charge, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // nobody waits any more, and no Store has failed
	}
	v.logFailure(ctx, err)
	if !v.config.AdmitOnError {
		return err
	}
	c.failed, v.failure = true, err
	return nil
}

// undo gives back what was taken for the request.
func (v *visit) undo() {
	for i := range v.charges {
		v.refund(&v.charges[i])
	}
}

func (v *visit) refund(c *charge) {
	if !c.taken {
		return
	}
	c.taken = false
	// It is given back also if the client has gone.
	ctx := context.WithoutCancel(v.Context)
	if err := c.rate.refund(ctx, &c.key, &c.decision); err != nil {
		v.logFailure(ctx, err)
	}
	v.lines.wake(c.line())
}

// nearest is the charge that a client is told of.
func nearest(charges []charge) *charge {
	c := &charges[0]
	for i := range charges[1:] {
		if d := &charges[i+1]; d.before(c) {
			c = d
		}
	}
	return c
}

// before reports whether c is nearer to exhaustion than d.
func (c *charge) before(d *charge) bool {
	switch {
	case c.failed || d.failed:
		return d.failed && !c.failed
	case c.decision.Allowed != d.decision.Allowed:
		return d.decision.Allowed
	case c.decision.Allowed:
		return c.decision.Remaining < d.decision.Remaining
	}
	return c.decision.RetryAfter > d.decision.RetryAfter
}

// admit passes the request on.
func (v *visit) admit(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if v.outer != nil && v.outer.nearest.before(v.nearest) {
		v.nearest = v.outer.nearest
	}
	if !v.config.DryRun && !v.nearest.failed {
		v.setHeaders(w.Header(), v.nearest.rate, &v.nearest.decision)
	}
	r = r.WithContext(v)
	var rec *recorder
	if v.route.counts {
		rec = newRecorder(w)
		w = rec.writer()
	}
	returned := false
	// Deferred, to be done when the handler panics too. The panic goes on.
	defer func() {
		switch {
		case v.inside.Load() == refusedInside:
			v.undo()
			v.tellOuter(refusedInside)
			return
		case returned && rec != nil:
			v.settle(Response{Request: r, Status: rec.finalStatus(), Header: rec.Header()})
		}
		// Else nobody knows what came of the request, so it counts.
		v.tellOuter(servedInside)
	}()
	next.ServeHTTP(w, r)
	returned = true
}

// tellOuter says further out what came of the request. Only the middleware out
// there gives back what it took, when its handler has returned: by then the whole
// response is known, and nobody else is at its charges.
func (v *visit) tellOuter(what uint32) {
	if v.outer != nil && (what == servedInside || isPartOf(v.w, v.outer.w)) {
		v.outer.inside.Or(what)
	}
}

// isPartOf reports whether what is written to w goes to another ResponseWriter,
// as far as those in between say by their Unwrap methods.
func isPartOf(w, other http.ResponseWriter) bool {
	for {
		if reflect.ValueOf(w).Comparable() && w == other {
			return true
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}

// settle gives back what was taken by limits that do not count the response.
func (v *visit) settle(resp Response) {
	for i := range v.charges {
		c := &v.charges[i]
		if when := c.limit.given.CountWhen; c.taken && when != nil && !when(resp) {
			v.refund(c)
		}
	}
}

// refuse answers a request that is not let through. It reports whether it is let
// through nonetheless.
func (v *visit) refuse(w http.ResponseWriter, r *http.Request, res Result) (dry bool) {
	res.Route, res.Policy, res.DryRun = v.route.name, res.rate.name, v.config.DryRun
	if !v.config.DryRun {
		v.tellOuter(refusedInside) // first, because what is called next may panic
	}
	v.logRefusal(r, &res)
	if v.config.OnRefusal != nil {
		v.config.OnRefusal(r, res)
	}
	if v.config.DryRun {
		return true
	}
	v.setRefusalHeaders(w.Header(), &res)
	v.config.Refuse(w, r, res)
	return false
}

// fail answers a request that a Store could not decide on, or that nobody waits
// for any more.
func (v *visit) fail(w http.ResponseWriter, r *http.Request, err error) {
	v.tellOuter(refusedInside)
	v.config.Refuse(w, r, Result{Route: v.route.name, Err: err})
}
