package httplimit

import (
	"context"
	"net/http"

	"github.com/ratekeep/ratelimit"
)

// serve lets a request on a route through to next, or refuses it.
func (l *Limiter) serve(w http.ResponseWriter, r *http.Request, next http.Handler, rt *route) {
	if rt.exempt {
		next.ServeHTTP(w, r)
		return
	}
	var room [2]charge // on the stack, for as long as the request may yet be refused
	q := request{Limiter: l, Request: r, route: rt, charges: room[:0]}
	q.outer, _ = r.Context().Value(l).(*visit)

	if l.ban != nil && q.outer == nil {
		if d, err := q.banned(); err != nil {
			q.fail(w, err)
			return
		} else if !d.Allowed && !q.refuse(w, Result{Decision: d, Limit: l.ban.bans.name, Banned: true, key: q.sender()}) {
			return
		}
	}
	q.collect()
	if len(q.charges) == 0 {
		next.ServeHTTP(w, r)
		return
	}
	decisive, err := q.decide()
	if err != nil {
		q.fail(w, err)
		return
	}
	if c := &q.charges[decisive]; c.refused() && !q.refuse(w, c.result()) {
		return
	}
	q.admit(w, next, decisive)
}

// request is a request while it is decided on.
type request struct {
	*Limiter
	*http.Request
	route   *route
	outer   *visit // of the same Limiter's middleware further out; nil for none
	charges []charge

	client     key // the address, once it has been asked for
	haveClient bool
}

// charge is one limit's part in a request.
type charge struct {
	limit    *limit
	rate     *rate
	key      key
	n        int                // what the request costs
	decision ratelimit.Decision // of the limit
	taken    bool               // as decided, and not given back
	err      error              // of a Store that did not decide, if that is no reason to refuse
}

func (c *charge) refused() bool { return c.err == nil && !c.decision.Allowed }

func (c *charge) result() Result {
	if c.err != nil {
		return Result{Err: c.err, Limit: c.rate.name, key: c.key}
	}
	return Result{Decision: c.decision, Limit: c.rate.name, key: c.key, rate: c.rate}
}

// collect finds the limits that apply to the request, and that have not been
// charged for it further out.
func (q *request) collect() {
	for _, m := range q.route.limits {
		if q.charged(m) || m.given.ExemptWhen != nil && m.given.ExemptWhen(q.Request) {
			continue
		}
		q.charges = append(q.charges, charge{limit: m, rate: m.rateOf(q.Request), n: 1})
		c := &q.charges[len(q.charges)-1]
		if m.given.Key != nil {
			c.key = q.keyBy(m.given.Key)
		} else {
			c.key = q.sender()
		}
		c.key.scope = m.scopeOf(q.route, q.Request)
		if m.given.Cost != nil {
			c.n = m.given.Cost(q.Request)
		}
	}
}

// charged reports whether the limit has its charge. The limits of one Scope are
// one limit.
func (q *request) charged(m *limit) bool {
	for i := range q.charges {
		if q.charges[i].limit.usual == m.usual {
			return true
		}
	}
	for v := q.outer; v != nil; v = v.outer {
		for i := range v.charges {
			if v.charges[i].limit.usual == m.usual {
				return true
			}
		}
	}
	return false
}

// sender is who the request is counted for, unless a limit says otherwise.
func (q *request) sender() key {
	if q.config.Key != nil {
		return q.keyBy(q.config.Key)
	}
	return q.address()
}

func (q *request) keyBy(f func(*http.Request) string) key {
	if text := f(q.Request); text != "" {
		return textKey(text)
	}
	return q.address()
}

func (q *request) address() key {
	if !q.haveClient {
		q.client, q.haveClient = q.clients.key(q.Request), true
	}
	return q.client
}

// decide charges all limits, or none of them, after a wait if that is allowed.
// It returns which of them decides.
func (q *request) decide() (decisive int, err error) {
	if !q.line.empty() && !q.config.DryRun {
		if at := q.line.busy(q.charges); at >= 0 {
			return q.waitBehind(at)
		}
	}
	decisive, err = takeAll(q.Context(), q.Limiter, q.charges)
	if err != nil || q.config.DryRun || !mayWait(q.charges) {
		return decisive, err
	}
	return q.wait(decisive)
}

// takeAll charges all limits, or none if one of them refuses or fails. It
// returns which of them decides: the one that refuses the longest, else the one
// with the least remaining.
func takeAll(ctx context.Context, l *Limiter, charges []charge) (decisive int, err error) {
	if len(charges) > 1 {
		if err := peekAll(ctx, l, charges); err != nil {
			return 0, err
		}
		if decisive := mostDecisive(charges); charges[decisive].refused() {
			return decisive, nil
		}
	}
	for i := range charges {
		c := &charges[i]
		if c.err != nil {
			continue // Peek failed already
		}
		d, err := c.rate.take(ctx, c.key, c.n)
		if err = l.pass(ctx, c, err); err != nil {
			l.refund(ctx, charges)
			return i, err
		}
		c.decision, c.taken = d, d.Allowed && c.err == nil
		if c.refused() {
			l.refund(ctx, charges)
			return i, nil
		}
	}
	return mostDecisive(charges), nil
}

// peekAll asks all limits, and takes from none.
func peekAll(ctx context.Context, l *Limiter, charges []charge) error {
	for i := range charges {
		c := &charges[i]
		d, err := c.rate.peek(ctx, c.key, c.n)
		if err = l.pass(ctx, c, err); err != nil {
			return err
		}
		c.decision = d
	}
	return nil
}

// mostDecisive is the charge that a client is told of.
func mostDecisive(charges []charge) int {
	best := 0
	for i := range charges[1:] {
		if before(&charges[i+1], &charges[best]) {
			best = i + 1
		}
	}
	return best
}

// before reports whether a decides, rather than b.
func before(a, b *charge) bool {
	switch {
	case a.err != nil || b.err != nil:
		return a.err == nil
	case a.decision.Allowed != b.decision.Allowed:
		return b.decision.Allowed
	case a.decision.Allowed:
		return a.decision.Remaining < b.decision.Remaining
	}
	return a.decision.RetryAfter > b.decision.RetryAfter
}

// pass is what becomes of a Store's error: nil if the request goes on without
// that Store.
func (l *Limiter) pass(ctx context.Context, c *charge, err error) error {
	c.err = nil
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err() // the client has gone, and no Store has failed
	}
	l.logFailure(ctx, err)
	if l.config.AdmitOnError {
		c.err = err
		return nil
	}
	return err
}

// refund gives back what the charges took.
func (l *Limiter) refund(ctx context.Context, charges []charge) {
	for i := range charges {
		c := &charges[i]
		if !c.taken {
			continue
		}
		c.taken = false
		// What was taken goes back also if the client has gone.
		if err := c.rate.refund(context.WithoutCancel(ctx), c.key, c.decision); err != nil {
			l.logFailure(ctx, err)
		}
		l.line.wake(c.limit, c.key)
	}
}

// admit passes the request on.
func (q *request) admit(w http.ResponseWriter, next http.Handler, decisive int) {
	v := &visit{Context: q.Context(), limiter: q.Limiter, route: q.route, outer: q.outer}
	v.charges = append(v.one[:0], q.charges...)
	v.nearest = &v.charges[decisive]
	if q.outer != nil && before(q.outer.nearest, v.nearest) {
		v.nearest = q.outer.nearest
	}
	if !q.config.DryRun && v.nearest.err == nil {
		v.setHeaders(w.Header())
	}
	r := q.Request.WithContext(v)
	if !q.route.counts {
		next.ServeHTTP(w, r)
		return
	}
	rec := newRecorder(w)
	returned := false
	// Deferred, to be done when the handler panics too. The panic goes on.
	defer func() { v.settle(r, rec, returned) }()
	next.ServeHTTP(rec.writer(), r)
	returned = true
}

// refuse answers a request that is not let through. It reports whether it is let
// through nonetheless.
func (q *request) refuse(w http.ResponseWriter, res Result) (dry bool) {
	res.Route, res.DryRun = q.route.name, q.config.DryRun
	if q.outer != nil && !q.config.DryRun {
		q.outer.undo()
	}
	if q.ban != nil && !res.Banned {
		q.countRefusal()
	}
	q.logRefusal(&res)
	if q.config.OnRefusal != nil {
		q.config.OnRefusal(q.Request, res)
	}
	if q.config.DryRun {
		return true
	}
	q.setRefusalHeaders(w.Header(), res)
	q.config.Refuse(w, q.Request, res)
	return false
}

// fail answers a request that a Store could not decide on.
func (q *request) fail(w http.ResponseWriter, err error) {
	if q.outer != nil {
		q.outer.undo()
	}
	if q.Context().Err() != nil {
		// Nobody waits for an answer; but a handler that was left without one
		// would be taken for a success.
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	q.config.Refuse(w, q.Request, Result{Route: q.route.name, Err: err})
}
