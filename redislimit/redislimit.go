package redislimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/span"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Config is what to limit to: that of one of the five algorithms. Its Clock is
// only slept on, and read to tell how long ago the server was asked; what is
// decided is decided by the server's time.
type Config interface {
	tokenbucket.Config | leakybucket.Config | fixedwindow.Config | slidingwindow.Config | slidinglog.Config
}

// Limiter limits each of any number of keys, together with all other Limiters
// of the same Config and Prefix on the same server. All methods are safe for
// concurrent use. It is made by [New] or [All], and must not be copied.
type Limiter struct {
	limits  []limit
	most    int   // the lowest of theirs
	paces   bool  // whether Wait spaces its events
	locals  []any // the Configs of the fallback
	client  redis.UniversalClient
	bounded bool // whether the client heeds a context's deadline
	options Options
	space   string // in the keys, what is before the limits
	clock   clock.Clock
	scripts scripts
	one     []any // the arguments of takeOne

	timeouts timeouts
	health   *health
	refusals *refusals // nil if none are remembered
	leases   *leases   // nil if none are taken
	fallback *fallback // nil unless there is one
	lines    lines
}

// New returns a limiter. Its error names the field, the value and the range.
func New[C Config](config C, client redis.UniversalClient, options Options) (*Limiter, error) {
	return newIn("", nil, config, client, options)
}

// newIn is New, for limits that are apart from those of other spaces, and may know
// how the server is from others.
func newIn[C Config](space string, h *health, config C, client redis.UniversalClient, options Options) (*Limiter, error) {
	if v := reflect.ValueOf(client); client == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("redislimit: the client is nil")
	}
	l := &Limiter{client: client, space: space, health: h}
	var (
		events int
		window time.Duration
		most   int64 = maxLimit
		paces  bool
		make   func() (limit, error)
	)
	switch c := any(config).(type) {
	case tokenbucket.Config:
		events, window, l.clock = c.Limit, c.Window, c.Clock
		make = func() (limit, error) { return newBucket("t", false, c.Limit, c.Window, c.Burst, "Burst") }
	case leakybucket.Config:
		events, window, l.clock, paces = c.Limit, c.Window, c.Clock, true
		make = func() (limit, error) { return newBucket("q", true, c.Limit, c.Window, c.Capacity, "Capacity") }
	case fixedwindow.Config:
		events, window, l.clock = c.Limit, c.Window, c.Clock
		make = func() (limit, error) { return newFixed(c.Limit, c.Window, c.Offset) }
	case slidingwindow.Config:
		events, window, l.clock, most = c.Limit, c.Window, c.Clock, maxSliding
		make = func() (limit, error) { return newSliding(c.Limit, c.Window), nil }
	case slidinglog.Config:
		events, window, l.clock = c.Limit, c.Window, c.Clock
		make = func() (limit, error) { return newLog(c.Limit, c.Window), nil }
	}
	if err := check(events, window, most); err != nil {
		return nil, fmt.Errorf("redislimit: %w", err)
	}
	of, err := make()
	if err != nil {
		return nil, fmt.Errorf("redislimit: %w", err)
	}
	if l.clock == nil {
		l.clock = clock.System()
	}
	if l.options, err = options.complete(of.most()); err != nil {
		return nil, err
	}
	return l.complete([]limit{of}, paces, []any{config})
}

// All returns a limiter that admits when every one of the limiters does, and
// charges none of them otherwise, for each key in one round trip. They must
// have been made with the same client and the same Options; its clock is that of
// the first. Events that it admits count in theirs, and theirs in it.
//
// Its decision is the one that refuses the longest, else the one with the least
// remaining; all fields are that limiter's own.
func All(limiters ...*Limiter) (*Limiter, error) {
	if len(limiters) == 0 {
		return nil, errors.New("redislimit: All: there are no limiters")
	}
	for i, m := range limiters {
		if m == nil {
			return nil, fmt.Errorf("redislimit: All: limiter %d is nil", i)
		}
	}
	first := limiters[0]
	l := &Limiter{client: first.client, clock: first.clock, options: first.options, health: first.health}
	var limits []limit
	var locals []any
	var paces bool
	for i, m := range limiters {
		if m.client != l.client || m.options != l.options {
			return nil, fmt.Errorf("redislimit: All: limiter %d has another client or other Options than limiter 0", i)
		}
		for _, of := range m.limits {
			if slices.ContainsFunc(limits, func(o limit) bool { return o.id() == of.id() }) {
				return nil, fmt.Errorf("redislimit: All: limiter %d is the same as one before it", i)
			}
			if l.options.Lease > of.most() {
				return nil, fmt.Errorf("redislimit: All: Lease %d is out of range [0, %d] of limiter %d", l.options.Lease, of.most(), i)
			}
			limits = append(limits, of)
		}
		locals = append(locals, m.locals...)
		paces = paces || m.paces
	}
	return l.complete(limits, paces, locals)
}

func (l *Limiter) complete(limits []limit, paces bool, locals []any) (*Limiter, error) {
	l.limits, l.paces, l.locals = limits, paces, locals
	l.most = math.MaxInt
	for _, of := range limits {
		l.most = min(l.most, of.most())
	}
	if l.health == nil {
		l.health = newHealth(l.client)
	}
	l.bounded = bounded(l.client)
	l.timeouts.after = l.options.Timeout
	l.scripts = newScripts(clockLua, limits)
	l.one = l.takeArgs(nil, takeOne)
	if l.options.Refusals != NoRefusals {
		l.refusals = newRefusals(l.options.Refusals)
	}
	if l.options.Lease > 1 {
		l.leases = newLeases()
	}
	if l.options.WhenDown == Fallback {
		var err error
		if l.fallback, err = newFallback(locals, l.options.Share, l.clock); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Allow is AllowN(ctx, key, 1).
func (l *Limiter) Allow(ctx context.Context, key string) (bool, error) {
	return l.AllowN(ctx, key, 1)
}

// AllowN admits all n events, or none of them.
func (l *Limiter) AllowN(ctx context.Context, key string, n int) (bool, error) {
	d, err := l.Take(ctx, key, n)
	return d.Allowed, err
}

// Take is AllowN with the reasons. An n of 0 is allowed, and takes nothing; one
// below that, or above the Decision's Limit, is refused with a RetryAfter of Never.
// If it returns an error nothing is allowed. It may have been counted even so, if
// the error is not the context's from before the call.
func (l *Limiter) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	if err := ctx.Err(); err != nil {
		return ratelimit.Decision{N: n, Limit: l.most}, err
	}
	ahead := l.lines.ahead(key)
	if ahead > 0 || !possible(n, l.most) {
		return l.settle(ctx, key, question{n: n, ahead: ahead})
	}
	return l.settle(ctx, key, question{n: n, take: true})
}

// Peek answers what Take would, and takes nothing. Remaining is what n would leave:
// Peek(ctx, key, 0) tells what is left, here and on the server.
func (l *Limiter) Peek(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	if err := ctx.Err(); err != nil {
		return ratelimit.Decision{N: n, Limit: l.most}, err
	}
	return l.settle(ctx, key, question{n: n, ahead: l.lines.ahead(key)})
}

// Refund undoes what d admitted to a key, as far as it still counts. It does
// nothing for a decision that was refused, and for one that the server did not
// make. Each decision may be refunded once, to the key and by a Limiter of the
// Config that it is of; this is not checked. If it returns an error it may have
// been refunded even so.
func (l *Limiter) Refund(ctx context.Context, key string, d ratelimit.Decision) error {
	if !d.Allowed || !possible(d.N, l.most) {
		return nil
	}
	if !decidedByServer(d) {
		if l.fallback != nil {
			l.fallback.refund(key, d)
			l.lines.wake(key)
		}
		return nil
	}
	_, err := l.change(ctx, key, l.refundCommand(ctx, key, d))
	return err
}

// Reset returns a key to its fresh state.
func (l *Limiter) Reset(ctx context.Context, key string) error {
	if l.fallback != nil {
		l.fallback.reset(key)
		l.lines.wake(key)
	}
	if l.leases != nil && len(key) <= maxKept {
		var stop func()
		ctx, stop = l.timeouts.within(ctx)
		defer stop()
		m, err := l.leases.enter(ctx, key, l.clock.Now())
		if err != nil {
			return err
		}
		if m != nil {
			// Until it is done, or it hands out events that are forgotten.
			defer m.exit()
			m.left = 0
		}
	}
	_, err := l.change(ctx, key, l.resetCommand(ctx, key))
	return err
}

// Err is why the server did not make the last decision that this Limiter, or an
// All of which it is the first, asked it for; nil if it did.
func (l *Limiter) Err() error {
	if err := l.health.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Close gives back what is left of the leases, with a call for each key. What it
// does not come to, because ctx is done or the server is left alone, another Close
// gives back. The limiter can be used on. It does not close the client.
func (l *Limiter) Close(ctx context.Context) error {
	if l.leases == nil {
		return nil
	}
	var errs []error
	for _, key := range l.leases.all() {
		errs = append(errs, l.giveBack(ctx, key))
	}
	return errors.Join(errs...)
}

// giveBack ends the lease of a key.
func (l *Limiter) giveBack(ctx context.Context, key string) error {
	ctx, stop := l.timeouts.within(ctx)
	defer stop()
	m, err := l.leases.enter(ctx, key, l.clock.Now())
	if m == nil {
		return err
	}
	defer m.exit()
	if m.left == 0 {
		return nil
	}
	d := m.taken
	d.N = m.left
	sent, err := l.change(ctx, key, l.refundCommand(ctx, key, d))
	if sent {
		m.left = 0
	}
	return err
}

// settle answers a question, by the options' choice if the server does not.
func (l *Limiter) settle(ctx context.Context, key string, q question) (ratelimit.Decision, error) {
	d, err := l.decide(ctx, key, q)
	if err == nil || !errors.Is(err, ErrUnavailable) {
		return d, err
	}
	return l.withoutServer(key, q, err)
}

// decide answers a question from a lease, from what is remembered, or by the
// server.
func (l *Limiter) decide(ctx context.Context, key string, q question) (ratelimit.Decision, error) {
	if l.leases != nil && q.ahead == 0 && !q.paced && 0 <= q.n && q.n <= l.options.Lease && len(key) <= maxKept {
		return l.leased(ctx, key, q)
	}
	return l.request(ctx, key, q)
}

// request is decide without leases.
func (l *Limiter) request(ctx context.Context, key string, q question) (ratelimit.Decision, error) {
	if d, ok := l.recall(key, q); ok {
		return d, nil
	}
	return l.ask(ctx, key, q)
}

// ask has the server answer a question.
func (l *Limiter) ask(ctx context.Context, key string, q question) (ratelimit.Decision, error) {
	sent := clock.Refreshed(l.clock) // a refusal's age is told from it
	b := l.breaker(key)
	if !b.lets(sent, l.options.Cooldown) {
		return ratelimit.Decision{N: q.n, Limit: l.most}, l.tooSoon(b, sent)
	}
	hurried := l.timeouts.hurried(ctx)
	ctx, stop := l.timeouts.within(ctx)
	defer stop()
	commands := [1]*command{l.takeCommand(ctx, key, q)}
	err := l.send(ctx, commands[:])
	d, came, err := l.hear(ctx, key, q, sent, commands[0], hurried, err)
	l.tell(ctx, b, came, sent)
	return d, err
}

// hear turns what came of a call, sent at a reading of the clock, into a
// decision.
func (l *Limiter) hear(ctx context.Context, key string, q question, sent time.Duration, c *command, hurried bool, err error) (ratelimit.Decision, outcome, error) {
	var a answer
	if err == nil {
		a, err = c.answer(len(l.limits))
	}
	came, err := l.judge(ctx, hurried, err)
	if err != nil {
		return ratelimit.Decision{N: q.n, Limit: l.most}, came, err
	}
	d := l.decision(a, q)
	if !d.Allowed {
		l.remember(key, q, sent, a, d)
	}
	return d, came, nil
}

// outcome is what a call tells of the server. Of the commands of one call the
// greatest counts.
type outcome int

const (
	notAsked outcome = iota
	abandoned
	noAnswer
	answered
)

// judge returns what a command tells of the server, and what the caller is told.
func (l *Limiter) judge(ctx context.Context, hurried bool, err error) (outcome, error) {
	if err == nil {
		l.health.decided(l.options.Logger)
		return answered, nil
	}
	var spoken redis.Error
	came := answered
	switch {
	case errors.As(err, &spoken):
	case callersErr(ctx) != nil:
		return abandoned, callersErr(ctx)
	case late(ctx) && hurried:
		came = abandoned
	default:
		came = noAnswer
	}
	switch {
	case came == answered:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	case late(ctx):
		err = fmt.Errorf("%w: no answer within the Timeout of %v", ErrUnavailable, l.options.Timeout)
	case errors.Is(err, context.DeadlineExceeded):
		// The client's own, for dialing. Wrapped, it would look like the caller's.
		err = fmt.Errorf("%w: %v", ErrUnavailable, err)
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	l.health.failed(err, l.options.Logger, l.clock.Now(), l.options.Cooldown)
	return came, err
}

// tell tells a breaker what came of a call, sent at a reading of the clock.
func (l *Limiter) tell(ctx context.Context, b *breaker, came outcome, sent time.Duration) {
	switch came {
	case answered:
		b.answered(sent)
	case abandoned:
		now := l.clock.Now()
		if b.abandoned(sent, now, l.options.Timeout/4, l.options.Cooldown) || b.openFor.Load() != 0 {
			l.health.failed(fmt.Errorf("%w: no answer to callers who did not wait for the Timeout", ErrUnavailable), l.options.Logger, now, l.options.Cooldown)
		}
	case noAnswer:
		b.failed(sent, l.clock.Now(), l.options.Cooldown)
		if c, ok := l.client.(*redis.ClusterClient); ok {
			// It may be another server's by now.
			c.ReloadState(ctx)
		}
	}
}

// tooSoon is the error of a call that is not made.
func (l *Limiter) tooSoon(b *breaker, now time.Duration) error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w; it is asked again in %v", err, b.left(now))
	}
	return fmt.Errorf("%w: it is asked again in %v", ErrUnavailable, b.left(now))
}

func (l *Limiter) breaker(key string) *breaker { return &l.health.breakers[l.guard(key)] }

// guard is the number of a key's breaker.
func (l *Limiter) guard(key string) int {
	breakers := len(l.health.breakers)
	if breakers == 1 {
		return 0
	}
	tag, _, _ := strings.Cut(l.options.Prefix+":"+key, "}")
	return slot(tag) * breakers / 16384
}

// change runs a command that makes room for a key, and tells whether it was sent.
func (l *Limiter) change(ctx context.Context, key string, c *command) (sent bool, err error) {
	if err := callersErr(ctx); err != nil {
		return false, err
	}
	b, now := l.breaker(key), l.clock.Now()
	if !b.lets(now, l.options.Cooldown) {
		return false, l.tooSoon(b, now)
	}
	hurried := l.timeouts.hurried(ctx)
	ctx, stop := l.timeouts.within(ctx)
	defer stop()
	commands := []*command{c}
	err = l.send(ctx, commands)
	if err == nil {
		err = commands[0].Err()
	}
	if l.refusals != nil {
		l.refusals.forget(key, l.clock.Now())
	}
	l.lines.wake(key)
	came, err := l.judge(ctx, hurried, err)
	l.tell(ctx, b, came, now)
	return true, err
}

// remember notes what the server refused.
func (l *Limiter) remember(key string, q question, sent time.Duration, a answer, d ratelimit.Decision) {
	if l.refusals == nil || q.ahead > 0 || !possible(q.n, l.most) || len(key) > maxKept {
		return
	}
	n := q.n
	if q.paced {
		n = math.MaxInt // it refuses those only who are behind others
	}
	// The server decided after the call was sent, so until this reading it
	// refuses, too. A Never is a wait that is too long to tell.
	until := sent + min(d.RetryAfter, span.MaxWindow)
	l.refusals.add(&refusal{key: key, n: n, until: until, sent: sent, answer: a})
}

// recall answers a question from what the server has refused before.
func (l *Limiter) recall(key string, q question) (ratelimit.Decision, bool) {
	if l.refusals == nil || !possible(q.n, l.most) || len(key) > maxKept {
		return ratelimit.Decision{}, false
	}
	n := q.n
	if q.ahead > 0 {
		n = math.MaxInt // whoever is behind others is refused
	}
	now := l.clock.Now()
	f := l.refusals.find(key, n, now)
	if coarse, late := l.clock.(*clock.Coarse); late && f != nil {
		// Nobody is refused for the clock's lateness.
		now = coarse.Refresh()
		f = l.refusals.find(key, n, now)
	}
	if f == nil {
		return ratelimit.Decision{}, false
	}
	a := f.answer
	a.now += (now - f.sent).Microseconds()
	return l.decision(a, q), true
}

// decidedByServer tells a decision of the server's from one of this process's: by
// its time, which is either since 1970 or since the process began.
func decidedByServer(d ratelimit.Decision) bool { return d.At > span.MaxNow }
