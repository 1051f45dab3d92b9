package keyed

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// maxPlans is the most plans for the same keys.
const maxPlans = 64

// plan is a config. Of word and record one is nil.
type plan struct {
	number uint8
	limit  int
	room   int
	span   time.Duration // for which an admission counts
	salt   uint64        // a key has another id under each plan
	word   algorithm.Word
	record algorithm.Record
}

func newPlan(a algorithm.Algorithm, number int) *plan {
	const golden = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio: spreads small numbers
	p := &plan{number: uint8(number), limit: a.Limit(), room: a.Room(), span: a.Span(), salt: uint64(number) * golden}
	switch a := a.(type) {
	case algorithm.Word:
		p.word = a
	case algorithm.Record:
		p.record = a
	}
	return p
}

// words is the size of the records under the plan.
func (p *plan) words() int {
	if p.record == nil {
		return 0
	}
	return p.record.Words()
}

// used is how many events of a decision's limit are used.
func used(d *ratelimit.Decision) int { return d.Limit - d.Remaining }

// since is the reading of d, or the earliest one at which the state can have
// been reached of which d tells, if that is later.
func (p *plan) since(d *ratelimit.Decision) time.Duration {
	if d.ResetAfter == ratelimit.Never || d.ResetAfter <= p.span {
		return d.At
	}
	return after(d.At, d.ResetAfter-p.span)
}

// asked is how many events another plan must have left for n to be left of p.
func (p *plan) asked(n int, other *plan) int { return max(other.limit-p.limit+n, 1) }

// translate puts in terms of p what another plan said of as many events as must
// be left of it, for n that are refused.
func (p *plan) translate(d ratelimit.Decision, n int) ratelimit.Decision {
	d.Allowed = false
	d.N = n
	d.Remaining = max(d.Remaining-(d.Limit-p.limit), 0)
	d.Limit = p.limit
	d.RetryAfter = max(d.RetryAfter, 1)
	return d
}

// With returns a limiter of the same keys under another plan, such as that of
// those who pay:
//
//	free := keyed.MustNew[string](tokenbucket.Config{Limit: 10, Window: time.Minute}, keyed.Options{})
//	paid, err := free.With(tokenbucket.Config{Limit: 1000, Window: time.Minute})
//
// Who asks for a key chooses the plan by choosing the limiter, at no cost. A key
// comes under another plan than before when something is admitted under it, and
// takes along the events that it has used then, as if they had been admitted at
// that moment: so a change of plan neither loses them nor gives a fresh burst,
// however often. A key that has used as much as the new limit, or more, is
// refused until, by the old plan, it has not.
//
// The plans of a table have the same clock, and states of the same size: the
// buckets, fixedwindow and slidingwindow go together, but not with slidinglog, nor
// with a slidingwindow whose counts do not fit into one word. There may be 64 of
// them; the error names what does not fit. Make them once, not for each request.
func (l *Limiter[K]) With(config Config) (*Limiter[K], error) {
	if config == nil {
		return nil, errors.New("keyed: the config is nil; want the Config of an algorithm, such as tokenbucket.Config")
	}
	a, c, err := config.Algorithm(l.clock)
	if err != nil {
		return nil, fmt.Errorf("keyed: %w", err)
	}
	if !sameClock(c, l.clock) {
		return nil, errors.New("keyed: the Clock of the new plan is not that of the others; leave it nil")
	}
	l.keys.mu.Lock()
	defer l.keys.mu.Unlock()
	plans := l.keys.plans()
	if len(plans) == maxPlans {
		return nil, fmt.Errorf("keyed: there are %d plans already, which is the most", maxPlans)
	}
	p := newPlan(a, len(plans))
	if first := plans[0]; p.words() != first.words() {
		return nil, fmt.Errorf("keyed: a %T has larger or smaller states than the table's first plan; the buckets and the windows go together, slidinglog only with itself", config)
	}
	plans = append(plans[:len(plans):len(plans)], p)
	l.keys.planned.Store(&plans)
	return &Limiter[K]{keys: l.keys, plan: p, clock: l.clock}, nil
}

// MustWith is With for a config that is known to be good. It panics with With's
// error.
func (l *Limiter[K]) MustWith(config Config) *Limiter[K] {
	with, err := l.With(config)
	if err != nil {
		panic(err)
	}
	return with
}

func sameClock(a, b clock.Clock) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.ValueOf(a).Comparable() && a == b
}
