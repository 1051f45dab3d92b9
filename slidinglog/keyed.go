package slidinglog

import (
	"fmt"
	"math"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/span"
)

// Algorithm is for package keyed, which keeps a log for each key, of a Limit of
// at most 2^32-1. The clock is the given one if c has none.
func (c Config) Algorithm(own clock.Clock) (algorithm.Algorithm, clock.Clock, error) {
	if err := span.Check(c.Limit, c.Window); err != nil {
		return nil, nil, fmt.Errorf("slidinglog: %w", err)
	}
	if uint64(c.Limit) > math.MaxUint32 {
		return nil, nil, fmt.Errorf("slidinglog: Limit %d is out of range [1, %d] of a log per key", c.Limit, uint32(math.MaxUint32))
	}
	if c.Clock == nil {
		c.Clock = own
	}
	return &recordRule{limit: c.Limit, window: c.Window}, c.Clock, nil
}

// recordRule is the log of a key in a table. It implements [algorithm.Record]:
//
//	63        32 31         0   63        0
//	[  events   |   newest   ] [  latest  ]
//
// newest is the entry of the newest admission, and each entry links to the next
// newer one, the newest to the oldest. latest is the time of the newest
// admission; it outlives its entry, since time never goes back behind it.
type recordRule struct {
	limit  int
	window time.Duration
}

func (r *recordRule) Limit() int { return r.limit }

func (r *recordRule) Room() int { return 0 }

func (r *recordRule) Span() time.Duration { return r.window }

func (r *recordRule) Words() int { return 2 }

func (r *recordRule) Start(record []uint64, now time.Duration) {
	record[0], record[1] = 0, uint64(span.Clamp(now))
}

func (r *recordRule) Decide(record []uint64, h *algorithm.Heap, now time.Duration, n, ahead int, take bool) (d ratelimit.Decision) {
	d.N = n
	d.At = now
	d.Limit = r.limit
	g := r.load(record, h)
	t := max(span.Clamp(now), g.latest)
	used, oldest := g.trailing(t - r.window)
	possible := n > 0 && n <= r.limit
	switch {
	case ahead > 0:
		d.ResetAfter = span.Wait(now, r.fits(&g, t, oldest, used, ahead, 0)+uint64(r.window))
	case possible && n <= r.limit-used: // used+n may overflow
		d.Allowed = true
		d.Remaining = r.limit - used - n
		d.ResetAfter = span.Wait(now, uint64(t+r.window))
		if take {
			g.drop(g.events - used)
			g.add(t, n)
			g.store(record)
		}
		return d
	default:
		d.Remaining = r.limit - used
		if used > 0 {
			d.ResetAfter = span.Wait(now, uint64(g.newestAt()+r.window))
		}
	}
	if n == 0 {
		d.Allowed = true
		return d
	}
	d.RetryAfter = ratelimit.Never
	if possible {
		d.RetryAfter = max(span.Wait(now, r.fits(&g, t, oldest, used, ahead, n)), 1)
	}
	return d
}

func (r *recordRule) Until(record []uint64, h *algorithm.Heap, _ time.Duration) time.Duration {
	g := r.load(record, h)
	if g.events < r.limit {
		return 0
	}
	return g.oldest() + r.window
}

func (r *recordRule) Fresh(record []uint64, h *algorithm.Heap, now time.Duration) bool {
	g := r.load(record, h)
	return span.Clamp(now) >= g.latest && (g.events == 0 || g.newestAt()+r.window <= span.Clamp(now))
}

func (r *recordRule) Refund(record []uint64, h *algorithm.Heap, d ratelimit.Decision) {
	g := r.load(record, h)
	g.remove(loggedAt(d, r.window), d.N)
	g.store(record)
}

func (r *recordRule) Free(record []uint64, h *algorithm.Heap) {
	g := r.load(record, h)
	g.drop(g.events)
	clear(record)
}

func (r *recordRule) End(record []uint64, h *algorithm.Heap) time.Duration {
	g := r.load(record, h)
	if g.events == 0 {
		return g.latest
	}
	return max(g.latest, g.newestAt()+r.window)
}

// fits is the time at which n events fit that have others ahead of them; a lower
// bound if there are any.
func (r *recordRule) fits(g *list, t time.Duration, oldest uint32, used, ahead, n int) uint64 {
	// No window takes more than the limit, so what is beyond that comes whole
	// windows after the rest.
	limit, last := uint64(r.limit), uint64(ahead)+uint64(n)-1
	windows, rest := last/limit, last%limit+1
	if windows > span.MaxNow/uint64(r.window) {
		return span.MaxNow + 1
	}
	if over := uint64(used) + rest; over > limit {
		t = g.reached(oldest, int(over-limit)) + r.window
	}
	return uint64(t) + windows*uint64(r.window)
}

// list is a log while it is worked on.
type list struct {
	heap   *algorithm.Heap
	events int // that its entries hold, those that no longer count included
	newest uint32
	latest time.Duration
}

func (r *recordRule) load(record []uint64, h *algorithm.Heap) list {
	return list{heap: h, events: int(record[0] >> 32), newest: uint32(record[0]), latest: time.Duration(record[1])}
}

func (g *list) store(record []uint64) {
	record[0], record[1] = uint64(g.events)<<32|uint64(g.newest), uint64(g.latest)
}

// oldest and newestAt require that there are entries.
func (g *list) oldest() time.Duration {
	return time.Duration(g.heap.At(g.heap.At(g.newest).Next).At)
}
func (g *list) newestAt() time.Duration { return time.Duration(g.heap.At(g.newest).At) }

// trailing is how many events were admitted after a time, and the entry of the
// oldest of them.
func (g *list) trailing(t time.Duration) (events int, oldest uint32) {
	if g.events == 0 || g.newestAt() <= t {
		return 0, 0
	}
	events = g.events
	for oldest = g.heap.At(g.newest).Next; ; {
		e := g.heap.At(oldest)
		if time.Duration(e.At) > t {
			return events, oldest
		}
		events -= int(e.N)
		oldest = e.Next
	}
}

// reached is when the n-th event from an entry on was admitted.
func (g *list) reached(from uint32, n int) time.Duration {
	for {
		e := g.heap.At(from)
		if n -= int(e.N); n <= 0 {
			return time.Duration(e.At)
		}
		from = e.Next
	}
}

// drop removes the oldest entries, which hold so many events.
func (g *list) drop(events int) {
	if g.events -= events; g.events == 0 {
		if g.newest > 0 {
			g.heap.FreeRing(g.newest)
			g.newest = 0
		}
		return
	}
	for events > 0 {
		newest := g.heap.At(g.newest)
		oldest := newest.Next
		e := g.heap.At(oldest)
		events -= int(e.N)
		newest.Next = e.Next
		g.heap.Free(oldest)
	}
}

// add admits n events at a time that is not before the latest.
func (g *list) add(t time.Duration, n int) {
	g.latest = t
	if g.events > 0 {
		if e := g.heap.At(g.newest); time.Duration(e.At) == t {
			e.N += uint32(n)
			g.events += n
			return
		}
	}
	number := g.heap.New()
	e := g.heap.At(number)
	*e = algorithm.Entry{At: int64(t), N: uint32(n), Next: number}
	if g.events > 0 {
		newest := g.heap.At(g.newest)
		e.Next, newest.Next = newest.Next, number
	}
	g.newest = number
	g.events += n
}

// remove takes back up to n events that were admitted at a time.
func (g *list) remove(t time.Duration, n int) {
	if g.events == 0 {
		return
	}
	before := g.newest
	for {
		number := g.heap.At(before).Next
		e := g.heap.At(number)
		switch {
		case time.Duration(e.At) == t && n < int(e.N):
			e.N -= uint32(n)
			g.events -= n
			return
		case time.Duration(e.At) == t:
			g.events -= int(e.N)
			g.heap.At(before).Next = e.Next
			if number == g.newest {
				g.newest = before
			}
			if g.events == 0 {
				g.newest = 0
			}
			g.heap.Free(number)
			return
		case number == g.newest:
			return
		}
		before = number
	}
}
