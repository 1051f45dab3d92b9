package ratelimit

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/fifo"
)

// All returns a limiter that admits when every one of the limiters admits, and
// charges none of them otherwise: what was taken is refunded when a later one
// refuses. It asks them all before it takes from any, so it comes to that only
// when others take from them at the same time.
//
// Its decision is the one that refuses the longest, else the one with the least
// remaining; all fields are that limiter's own, so that Limit and ResetAfter say
// nothing of the others. An All is itself neither a [Refunder] nor a [Resetter]:
// keep and refund the limiters' own decisions where that is needed. An All of
// nothing admits everything. An All inside an All is flattened. The same limiter
// named twice is charged twice.
//
// A wait sleeps on the clock of the limiter that refuses, if that has a method
// Clock() clock.Clock, and else on a system clock. The limiters of this module
// have it, and a method Delay(ahead, n int) time.Duration, by which RetryAfter
// counts those who wait.
//
// Those who wait on one All are served in order of arrival. While they wait they
// are not in line at the limiters themselves, so who waits there, or asks there,
// may come first; and whatever frees room there, be it a Refund, a Reset or a
// waiter that gives up, is seen when the sleep ends. Of several Alls that share
// limiters and take from them at the same time, each may refuse because of what
// the other takes and refunds.
//
// All panics if one of the limiters is not a [Refunder]; the panic names its
// position.
func All(limiters ...Limiter) Limiter {
	a := &all{system: clock.System()}
	for i, l := range limiters {
		if nested, ok := l.(*all); ok {
			for _, m := range nested.members {
				a.add(m.limiter, m.times)
			}
			continue
		}
		r, ok := l.(refundLimiter)
		if !ok {
			panic(fmt.Sprintf("ratelimit: All: limiter %d, a %T, cannot refund", i, l))
		}
		a.add(r, 1)
	}
	return a
}

type all struct {
	members []member
	queue   fifo.Queue
	system  clock.Clock
}

// member is a limiter and how many times it was named.
type member struct {
	limiter refundLimiter
	times   int
}

type refundLimiter interface {
	Limiter
	Refunder
}

func (a *all) add(l refundLimiter, times int) {
	if reflect.ValueOf(l).Comparable() {
		for i := range a.members {
			if a.members[i].limiter == l {
				a.members[i].times += times
				return
			}
		}
	}
	a.members = append(a.members, member{l, times})
}

func (a *all) Allow() bool { return a.AllowN(1) }

func (a *all) AllowN(n int) bool { return a.Take(n).Allowed }

func (a *all) Take(n int) Decision {
	ahead := a.queue.Ahead()
	if n < 1 || ahead > 0 {
		return a.answer(n, ahead)
	}
	d, _ := a.take(n)
	return d
}

func (a *all) Peek(n int) Decision { return a.answer(n, a.queue.Ahead()) }

func (a *all) Wait(ctx context.Context) error { return a.WaitN(ctx, 1) }

func (a *all) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	if limit := a.limit(); n < 0 || n > limit {
		return fmt.Errorf("%w: n is %d, the lowest limit %d", ErrExceedsLimit, n, limit)
	}
	if a.queue.Empty() {
		if d, _ := a.take(n); d.Allowed {
			return nil
		}
	}
	return a.wait(ctx, n)
}

func (a *all) wait(ctx context.Context, n int) error {
	var refusing clock.Clock // of the limiter that the first in line sleeps for
	return a.queue.Wait(ctx, fifo.Request{
		Events: n,
		Serve: func(n int) (time.Duration, bool) {
			d, i := a.take(n)
			if !d.Allowed {
				refusing = a.clock(i)
			}
			return d.RetryAfter, d.Allowed
		},
		Delay: a.delay,
		Sleep: func(ctx context.Context, d time.Duration) error { return refusing.Sleep(ctx, d) },
	})
}

// limit is the most that all of the members can admit at once.
func (a *all) limit() int {
	limit := math.MaxInt
	for _, m := range a.members {
		limit = min(limit, m.peek(0).Limit)
	}
	return limit
}

// clock is what the i-th member waits on.
func (a *all) clock(i int) clock.Clock {
	if c, ok := a.members[i].limiter.(interface{ Clock() clock.Clock }); ok {
		return c.Clock()
	}
	return a.system
}

// answer is what take would answer, with some events ahead in line.
func (a *all) answer(n, ahead int) Decision {
	d, _ := a.peek(n)
	if ahead > 0 {
		d.Remaining = 0
		if n > 0 && d.RetryAfter != Never {
			d.Allowed = false
			d.RetryAfter = max(d.RetryAfter, a.delay(ahead, n), 1)
		}
	}
	return d
}

// delay is a lower bound on the wait for n events behind others in line.
func (a *all) delay(ahead, n int) (wait time.Duration) {
	for _, m := range a.members {
		wait = max(wait, m.delay(ahead, n))
	}
	return wait
}

// take takes n from every member, or from none. It returns the decision and
// which member made it.
func (a *all) take(n int) (d Decision, by int) {
	if d, by = a.peek(n); !d.Allowed {
		return d, by
	}
	return a.takeFrom(0, n)
}

// takeFrom takes n from member i and those after it, or from none of them.
func (a *all) takeFrom(i, n int) (d Decision, by int) {
	if i == len(a.members) {
		return unlimited(n), i
	}
	m := a.members[i]
	taken, d := m.take(n)
	if !d.Allowed {
		return d, i
	}
	rest, by := a.takeFrom(i+1, n)
	switch {
	case !rest.Allowed:
		m.limiter.Refund(taken)
		a.queue.Wake() // the first in line may have found this limiter charged
		return rest, by
	case rest.Remaining < d.Remaining:
		return rest, by
	}
	return d, i
}

// peek is the decision on n events as things stand, and which member makes it.
func (a *all) peek(n int) (d Decision, by int) {
	d, by = unlimited(n), len(a.members)
	for i, m := range a.members {
		if p := m.peek(n); i == 0 || p.before(d) {
			d, by = p, i
		}
	}
	return d, by
}

// before reports whether d decides, rather than e.
func (d Decision) before(e Decision) bool {
	if d.Allowed && e.Allowed {
		return d.Remaining < e.Remaining
	}
	return !d.Allowed && (e.Allowed || d.RetryAfter > e.RetryAfter)
}

// unlimited is the decision of an All of nothing.
func unlimited(n int) Decision {
	d := Decision{Allowed: n >= 0, N: n, Limit: math.MaxInt, Remaining: math.MaxInt}
	if n < 0 {
		d.RetryAfter = Never
	}
	return d
}

// take takes n from the limiter as many times as it was named, in one go. It
// returns its decision as it was made, and put as if it had been named once.
func (m *member) take(n int) (taken, d Decision) {
	if n > math.MaxInt/m.times {
		return Decision{}, m.peek(n)
	}
	taken = m.limiter.Take(n * m.times)
	return taken, m.once(taken, n)
}

// peek is take, without the taking.
func (m *member) peek(n int) Decision {
	if n > math.MaxInt/m.times {
		d := m.once(m.limiter.Peek(0), n)
		d.Allowed, d.RetryAfter = false, Never
		return d
	}
	if n < 0 {
		return m.once(m.limiter.Peek(n), n)
	}
	return m.once(m.limiter.Peek(n*m.times), n)
}

// delay is a lower bound on the wait for n events with others ahead of them.
func (m *member) delay(ahead, n int) time.Duration {
	l, ok := m.limiter.(interface {
		Delay(ahead, n int) time.Duration
	})
	if !ok || n > math.MaxInt/m.times {
		return m.peek(n).RetryAfter
	}
	return l.Delay(min(ahead, math.MaxInt/m.times)*m.times, n*m.times)
}

func (m *member) once(d Decision, n int) Decision {
	d.N = n
	d.Limit /= m.times
	d.Remaining /= m.times
	return d
}
