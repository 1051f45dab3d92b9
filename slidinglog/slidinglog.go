// Package slidinglog limits a count per trailing window exactly: at most Limit
// events in every window of length Window, wherever it begins. Windows are half
// open: an event admitted at t no longer counts at t+Window.
//
// # Promise
//
// At most Limit events in any Window. There is no worse case: the log is the
// definition that the other algorithms approximate.
//
// # Cost
//
// The state is the admissions themselves: 16 bytes for each that still counts,
// up to twice that while the memory grows, and fewer where several were admitted
// at one reading of the clock. It grows as needed up to Limit entries, and is
// kept until Reset.
//
// An admission takes a short lock. Admissions are at most Limit per Window by
// definition; the flood is refusals, and they read the clock and one atomic
// word, write nothing and take no lock. Only those for more than one event look
// into the log under the lock, by a binary search: AllowN where there is room for
// fewer, Take and Peek to say how long to wait. Refund takes time linear in the
// admissions since. Nothing but a wait that blocks or fails allocates, the log's
// growth apart.
package slidinglog

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/fifo"
	"github.com/ratekeep/ratelimit/internal/span"
)

// Config says what to limit to.
type Config struct {
	// Limit is how many events are admitted in any window: at least 1, and at
	// most one per nanosecond.
	Limit int

	// Window is the length of a window: 1 ns to ten years.
	Window time.Duration

	// Clock is what time is read from. nil means a system clock of the
	// limiter's own.
	Clock clock.Clock
}

// Limiter is a sliding log. It implements [ratelimit.Limiter],
// [ratelimit.Refunder] and [ratelimit.Resetter]. All methods are safe for
// concurrent use. It is made by New, and must not be copied.
type Limiter struct {
	// What a refusal reads. Nothing is admitted before fullUntil, which is 0
	// unless the log is full; then the log is empty at emptyFrom. Written with
	// mu held.
	fullUntil atomic.Int64
	emptyFrom atomic.Int64
	published atomic.Uint64 // how many times

	mu  sync.Mutex
	log log // guarded by mu

	queue fifo.Queue

	// Set by New.
	clock  clock.Clock
	limit  int
	window time.Duration
}

// New returns a limiter that has admitted nothing. Its error names the field,
// the value and the range.
func New(c Config) (*Limiter, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return nil, fmt.Errorf("slidinglog: %w", err)
	}
	if c.Clock == nil {
		c.Clock = clock.System()
	}
	return &Limiter{clock: c.Clock, limit: c.Limit, window: c.Window}, nil
}

// MustNew is New for a Config that is known to be good. It panics with New's
// error.
func MustNew(c Config) *Limiter {
	l, err := New(c)
	if err != nil {
		panic(err)
	}
	return l
}

// Allow is AllowN(1).
func (l *Limiter) Allow() bool { return l.allow(1) }

// AllowN logs n events if there is room for all of them.
func (l *Limiter) AllowN(n int) bool {
	if n < 1 || n > l.limit {
		return n == 0
	}
	return l.allow(n)
}

// Take is AllowN with the reasons.
func (l *Limiter) Take(n int) (d ratelimit.Decision) {
	l.decide(n, l.queue.Ahead(), true, &d)
	return d
}

// Peek answers what Take would, and logs nothing.
func (l *Limiter) Peek(n int) (d ratelimit.Decision) {
	l.decide(n, l.queue.Ahead(), false, &d)
	return d
}

// Wait is WaitN(ctx, 1).
func (l *Limiter) Wait(ctx context.Context) error { return l.WaitN(ctx, 1) }

// WaitN blocks until there is room for n events, and logs them. Waiters are
// served in order of arrival.
func (l *Limiter) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > l.limit {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("slidinglog: %w: n is %d, Limit %d", ratelimit.ErrExceedsLimit, n, l.limit)
	}
	if l.allow(n) {
		return nil
	}
	return l.queue.Wait(ctx, fifo.Request{Events: n, Serve: l.serve, Delay: l.delay, Sleep: l.clock.Sleep})
}

// Refund takes what d logged out of the log again.
func (l *Limiter) Refund(d ratelimit.Decision) {
	if !d.Allowed || d.N < 1 || d.N > l.limit {
		return
	}
	l.mu.Lock()
	l.log.remove(loggedAt(d, l.window), uint64(d.N))
	l.publish()
	l.mu.Unlock()
	l.queue.Wake()
}

// Reset empties the log and frees its memory.
func (l *Limiter) Reset() {
	l.mu.Lock()
	l.log = log{}
	l.publish()
	l.mu.Unlock()
	l.queue.Wake()
}

// Clock is the clock that the limiter decides by.
func (l *Limiter) Clock() clock.Clock { return l.clock }

// Delay is the RetryAfter of a Take of n, if events that wait elsewhere were
// ahead of it besides those in line here. [ratelimit.All] asks for it.
func (l *Limiter) Delay(ahead, n int) time.Duration {
	// A sum that overflows is less than either.
	if ahead = max(ahead, l.queue.Ahead(), ahead+l.queue.Ahead()); ahead <= 0 {
		return l.Peek(n).RetryAfter
	}
	var d ratelimit.Decision
	l.decide(n, ahead, false, &d)
	return d.RetryAfter
}

// allow logs n events, if there is room for them and nobody waits for it.
func (l *Limiter) allow(n int) bool {
	if !l.queue.Empty() {
		return false
	}
	now := l.clock.Now()
	if !l.full(now) && l.admit(now, n) {
		return true
	}
	coarse, late := l.clock.(*clock.Coarse)
	if !late {
		return false
	}
	// A late reading may grant, but not refuse.
	now = coarse.Refresh()
	return !l.full(now) && l.admit(now, n)
}

// full reports whether nothing is admitted at now, without the lock.
func (l *Limiter) full(now time.Duration) bool { return int64(max(now, 0)) < l.fullUntil.Load() }

// admit logs n events if there is room for them.
func (l *Limiter) admit(now time.Duration, n int) bool {
	l.mu.Lock()
	t, gone := l.view(now)
	used := l.log.events(gone) + uint64(n)
	if used > uint64(l.limit) {
		l.mu.Unlock()
		return false
	}
	l.add(t, gone, n, used)
	l.mu.Unlock()
	return true
}

// decide answers for n events with others ahead of them, and logs those it
// allows if it is to take them.
func (l *Limiter) decide(n, ahead int, take bool, d *ratelimit.Decision) {
	l.decideAt(l.clock.Now(), n, ahead, take, d)
	if coarse, late := l.clock.(*clock.Coarse); late && !d.Allowed {
		*d = ratelimit.Decision{}
		l.decideAt(coarse.Refresh(), n, ahead, take, d)
	}
}

func (l *Limiter) decideAt(now time.Duration, n, ahead int, take bool, d *ratelimit.Decision) {
	d.N = n
	d.At = now
	d.Limit = l.limit
	if n == 1 && ahead == 0 {
		// Both words are of one state if nothing has been published meanwhile.
		published := l.published.Load()
		full, empty := l.fullUntil.Load(), l.emptyFrom.Load()
		if int64(max(now, 0)) < full && l.fullUntil.Load() == full && l.published.Load() == published {
			d.RetryAfter = span.Wait(now, uint64(full))
			d.ResetAfter = span.Wait(now, uint64(empty))
			return
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t, gone := l.view(now)
	used := l.log.events(gone)
	possible := n > 0 && n <= l.limit
	switch {
	case ahead > 0:
		d.ResetAfter = span.Wait(now, l.fits(t, gone, used, ahead, 0)+uint64(l.window))
	case possible && used+uint64(n) <= uint64(l.limit):
		used += uint64(n)
		d.Allowed = true
		d.Remaining = l.limit - int(used)
		d.ResetAfter = span.Wait(now, uint64(t+l.window))
		if take {
			l.add(t, gone, n, used)
		}
		return
	default:
		d.Remaining = l.limit - int(used)
		if used > 0 {
			d.ResetAfter = span.Wait(now, uint64(l.log.newest()+l.window))
		}
	}
	if n == 0 {
		d.Allowed = true
		return
	}
	d.RetryAfter = ratelimit.Never
	if possible {
		d.RetryAfter = max(span.Wait(now, l.fits(t, gone, used, ahead, n)), 1)
	}
}

// serve logs the n events of the first in line.
func (l *Limiter) serve(n int) (wait time.Duration, ok bool) {
	var d ratelimit.Decision
	l.decide(n, 0, true, &d)
	return d.RetryAfter, d.Allowed
}

// delay is the wait for n events behind others in line.
func (l *Limiter) delay(ahead, n int) time.Duration {
	var d ratelimit.Decision
	l.decide(n, ahead, false, &d)
	return d.RetryAfter
}

// view is the time at which an admission would be logged at a clock reading, and
// how many of the oldest entries no longer count. Time never goes back behind an
// admission, so readings may arrive in any order. It requires that mu is held.
func (l *Limiter) view(now time.Duration) (t time.Duration, gone int) {
	t = max(span.Clamp(now), l.log.latest)
	return t, l.log.expired(t - l.window)
}

// add logs n events at t, with which so many are used, and forgets the entries
// that no longer count. It requires that mu is held.
func (l *Limiter) add(t time.Duration, gone, n int, used uint64) {
	if gone > 0 {
		l.log.drop(gone)
	}
	l.log.add(t, uint64(n), l.limit)
	if used == uint64(l.limit) || l.fullUntil.Load() != 0 {
		l.publish()
	}
}

// fits is the time at which n events fit that have others ahead of them; a lower
// bound if there are any. It requires that mu is held.
func (l *Limiter) fits(t time.Duration, gone int, used uint64, ahead, n int) uint64 {
	// No window takes more than the limit, so what is beyond that comes whole
	// windows after the rest.
	limit, last := uint64(l.limit), uint64(ahead)+uint64(n)-1
	windows, rest := last/limit, last%limit+1
	if windows > span.MaxNow/uint64(l.window) {
		return span.MaxNow + 1
	}
	if used+rest > limit {
		t = l.log.reached(gone, used+rest-limit) + l.window
	}
	return uint64(t) + windows*uint64(l.window)
}

// publish tells those who refuse without the lock whether the log is full. It
// requires that mu is held.
func (l *Limiter) publish() {
	l.published.Add(1)
	if l.fullUntil.Load() != 0 {
		l.fullUntil.Store(0)
	}
	if l.log.events(0) == uint64(l.limit) {
		l.emptyFrom.Store(int64(l.log.newest() + l.window))
		l.fullUntil.Store(int64(l.log.oldest() + l.window))
	}
}

// loggedAt is the time at which what d admitted was logged.
func loggedAt(d ratelimit.Decision, window time.Duration) time.Duration {
	at := span.Clamp(d.At)
	if d.ResetAfter > window && d.ResetAfter < span.Never-max(d.At, 0) {
		// A late reading was logged at a later time than its own: the one
		// that counts until ResetAfter.
		at = max(at, d.At+d.ResetAfter-window)
	}
	return at
}
