package httplimit

import (
	"context"
	"math"
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

func (c *charge) line() lineKey { return lineKey{c.limit.usual, c.key} }

// busy returns a charge for which somebody waits who came earlier, or nil.
func (ls *lines) busy(charges []charge) *charge {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i := range charges {
		if c := &charges[i]; c.limit.given.MaxWait > 0 && c.n > 0 && ls.lines[c.line()] != nil {
			return c
		}
	}
	return nil
}

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
func (ls *lines) wake(k lineKey) {
	if ls.empty() {
		return
	}
	ls.mu.Lock()
	ln := ls.lines[k]
	ls.mu.Unlock()
	if ln != nil {
		ln.Wake()
	}
}

// mayWait reports whether some limits refuse, and each of those would have the
// request wait for it.
func (v *visit) mayWait() (may bool) {
	for i := range v.charges {
		c := &v.charges[i]
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
func (v *visit) waitBehind(c *charge) error {
	if err := v.peekAll(v.Context); err != nil {
		return err
	}
	if !c.failed {
		c.refuseFor(c.decision.RetryAfter)
	}
	v.nearest = nearest(v.charges)
	if !v.mayWait() {
		return nil
	}
	return v.wait(c)
}

// refuseFor makes c a refusal, whatever was decided.
func (c *charge) refuseFor(d time.Duration) {
	c.failed, c.decision.Allowed, c.decision.RetryAfter = false, false, max(d, 1)
}

// wait waits in line for a charge that is refused, and returns what decide does.
func (v *visit) wait(c *charge) error {
	k := c.line()
	ln := v.lines.join(k)
	if ln == nil {
		return nil
	}
	defer v.lines.leave(k, ln)
	ctx, cancel := context.WithTimeout(v.Context, c.limit.given.MaxWait)
	defer cancel()

	var failure error
	err := ln.Wait(ctx, fifo.Request{
		Events: c.n,
		Serve: func(int) (time.Duration, bool) {
			failure = v.takeAll(ctx)
			switch {
			case failure != nil:
				return 0, true // there is nothing to wait for
			case v.nearest.refused() && !v.mayWait():
				return ratelimit.Never, false
			}
			if v.nearest.refused() && v.nearest.decision.RetryAfter <= 0 {
				// Only a Store can say so. It is not to be asked all the while.
				return time.Millisecond, false
			}
			return v.nearest.decision.RetryAfter, !v.nearest.refused()
		},
		Delay: func(ahead, n int) time.Duration {
			c.refuseFor(c.behind(ahead, n))
			return c.decision.RetryAfter
		},
		Sleep: v.config.Clock.Sleep,
	})
	switch {
	case v.Context.Err() != nil:
		v.undo()
		return v.Context.Err()
	case failure != nil && ctx.Err() == nil:
		return failure
	case failure != nil || err != nil:
		// The time is up. Whatever was asked last, nothing has been taken.
		v.nearest.refuseFor(v.nearest.decision.RetryAfter)
	}
	return nil
}

// behind is a lower bound on the wait of n events with some ahead of them, of
// which each limit's worth takes a window.
func (c *charge) behind(ahead, n int) time.Duration {
	windows := uint64(ahead+n-1) / uint64(max(c.decision.Limit, 1))
	if windows > uint64((math.MaxInt64-c.decision.RetryAfter)/c.rate.Window) {
		return ratelimit.Never
	}
	return c.decision.RetryAfter + time.Duration(windows)*c.rate.Window
}
