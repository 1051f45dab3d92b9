package httplimit

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/fifo"
)

// lines are the requests that wait: a line for each key of each limit. There
// are lines only while somebody waits.
type lines struct {
	room    int // for how many, in all
	waiting atomic.Int64

	mu    sync.Mutex
	lines map[lineKey]*line
}

type lineKey struct {
	limit *rate // the usual one: plans do not part a line
	key   key
}

type line struct {
	fifo.Queue
	users int // of this entry in lines; guarded by lines.mu
}

func (ls *lines) empty() bool { return ls.waiting.Load() == 0 }

// busy returns a charge for which somebody waits who came earlier, or -1.
func (ls *lines) busy(charges []charge) int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return slices.IndexFunc(charges, func(c charge) bool {
		return c.limit.given.MaxWait > 0 && c.n > 0 && ls.lines[c.line()] != nil
	})
}

func (c *charge) line() lineKey { return lineKey{c.limit.usual, c.key} }

// join returns the line of the key, or nil if there is no room.
func (ls *lines) join(k lineKey) *line {
	if ls.waiting.Add(1) > int64(ls.room) {
		ls.waiting.Add(-1)
		return nil
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ln := ls.lines[k]
	if ln == nil {
		if ls.lines == nil {
			ls.lines = make(map[lineKey]*line)
		}
		ln = new(line)
		ls.lines[k] = ln
	}
	ln.users++
	return ln
}

func (ls *lines) leave(k lineKey, ln *line) {
	ls.mu.Lock()
	if ln.users--; ln.users == 0 {
		delete(ls.lines, k)
	}
	ls.mu.Unlock()
	ls.waiting.Add(-1)
}

// wake makes the first in a line ask again, because something was given back.
func (ls *lines) wake(m *limit, k key) {
	if ls.empty() {
		return
	}
	ls.mu.Lock()
	ln := ls.lines[lineKey{m.usual, k}]
	ls.mu.Unlock()
	if ln != nil {
		ln.Wake()
	}
}

// mayWait reports whether some limits refuse, and each of those would have the
// request wait for it.
func mayWait(charges []charge) (may bool) {
	for i := range charges {
		c := &charges[i]
		if !c.refused() {
			continue
		}
		if c.limit.given.MaxWait == 0 || c.decision.RetryAfter > c.limit.given.MaxWait {
			return false
		}
		may = true
	}
	return may
}

// waitBehind waits in line for a charge that others wait for already.
func (q *request) waitBehind(at int) (decisive int, err error) {
	if err := peekAll(q.Context(), q.Limiter, q.charges); err != nil {
		return at, err
	}
	d := &q.charges[at].decision
	d.Allowed, d.RetryAfter = false, max(d.RetryAfter, 1)
	if !mayWait(q.charges) {
		return mostDecisive(q.charges), nil
	}
	return q.wait(at)
}

// wait waits in line for the charge that decides, and returns what decide does.
func (q *request) wait(decisive int) (int, error) {
	// Nothing that the line is given may point to q, which would then be
	// allocated for every request.
	l, parent, charges := q.Limiter, q.Context(), slices.Clone(q.charges)
	c := &charges[decisive]
	k := c.line()
	ln := l.line.join(k)
	if ln == nil {
		return decisive, nil
	}
	defer l.line.leave(k, ln)
	ctx, cancel := context.WithTimeout(parent, c.limit.given.MaxWait)
	defer cancel()

	var failure error
	err := ln.Wait(ctx, fifo.Request{
		Events: c.n,
		Serve: func(int) (time.Duration, bool) {
			if decisive, failure = takeAll(ctx, l, charges); failure != nil {
				return 0, true // there is nothing to wait for
			}
			d := &charges[decisive]
			if d.refused() && !mayWait(charges) {
				return ratelimit.Never, false
			}
			return d.decision.RetryAfter, !d.refused()
		},
		Delay: func(ahead, n int) time.Duration {
			c.decision.RetryAfter = c.behind(ahead, n)
			return c.decision.RetryAfter
		},
		Sleep: l.config.Clock.Sleep,
	})
	copy(q.charges, charges)
	switch {
	case parent.Err() != nil:
		if err == nil {
			l.refund(parent, q.charges)
		}
		return decisive, parent.Err()
	case failure != nil && ctx.Err() == nil:
		return decisive, failure
	case failure != nil || err != nil:
		// Its time is up. Whatever was asked last, nothing has been taken.
		d := &q.charges[decisive]
		d.err, d.decision.Allowed, d.decision.RetryAfter = nil, false, max(d.decision.RetryAfter, 1)
	}
	return decisive, nil
}

// behind is a lower bound on the wait of n events with some ahead of them, of
// which each limit's worth takes a window.
func (c *charge) behind(ahead, n int) time.Duration {
	windows := uint64(ahead+n-1) / uint64(max(c.decision.Limit, 1))
	wait := max(c.decision.RetryAfter, 1)
	if windows > uint64((math.MaxInt64-wait)/c.rate.Window) {
		return ratelimit.Never
	}
	return wait + time.Duration(windows)*c.rate.Window
}
