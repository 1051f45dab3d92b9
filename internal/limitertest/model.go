package limitertest

import (
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/ratekeep/ratelimit"
)

// A Model is one algorithm written down as slowly and plainly as possible: the
// reference that a limiter is compared with. It keeps what it was told in exact
// numbers, shares no arithmetic with the limiters, and is not safe for
// concurrent use. The reading of the clock is an argument of every verb.
//
// A reading outside of [0, 2^59) counts as the nearer end of that range, and
// the wait for what would come after it is [ratelimit.Never]. A reading that is
// earlier than what the model knows already never admits more.
//
// The windows and the log agree with their limiters in every field of every
// decision. The buckets are exact, where their limiters round the clock by less
// than a nanosecond; they agree in every field if Limit and Window, in
// nanoseconds, are powers of two, for then nothing is rounded.
type Model interface {
	// Take decides on n events, and counts them if they are allowed.
	Take(now time.Duration, n int) ratelimit.Decision

	// Peek answers what Take would, and counts nothing.
	Peek(now time.Duration, n int) ratelimit.Decision

	// Refund undoes what d admitted, as far as it still counts at now.
	Refund(now time.Duration, d ratelimit.Decision)

	// Reset returns to the fresh state.
	Reset()

	// Clone returns a copy that goes its own way.
	Clone() Model

	// Key is the state as a string: two models of one configuration with the
	// same key answer everything alike from then on.
	Key() string
}

// lastNow is the latest reading of the clock that counts.
const lastNow time.Duration = 1<<59 - 1

func clamp(now time.Duration) time.Duration { return min(max(now, 0), lastNow) }

// until is the wait from now until a reading of then, or Never if the clock
// does not get there.
func until(now time.Duration, then *big.Int) time.Duration {
	wait := sub(then, integer(now))
	if then.Cmp(integer(lastNow)) > 0 || !wait.IsInt64() {
		return ratelimit.Never
	}
	return time.Duration(wait.Int64())
}

// possible reports whether n events, more than none, can ever be admitted.
func possible(n, limit int) bool { return 0 < n && n <= limit }

// bucket is the model of both buckets. It counts in units so small that nothing
// is rounded: limit of them flow in per nanosecond, and an event takes window.
type bucket struct {
	limit, window *big.Int
	burst         int

	// When the bucket is full again if nothing more is taken, in the units
	// that have flowed in since the clock's start.
	full *big.Int

	// What has flowed in before the clock read 0; see ahead.
	before *big.Int
}

// NewTokenBucket returns the model of a token bucket. A burst of 0 means limit.
func NewTokenBucket(limit int, window time.Duration, burst int) Model {
	if burst == 0 {
		burst = limit
	}
	return &bucket{integer(limit), integer(window), burst, integer(0), integer(0)}
}

// NewLeakyBucket returns the model of a leaky bucket used as a meter: a token
// bucket upside down, full of tokens when it is empty. A capacity of 0 means
// limit.
func NewLeakyBucket(limit int, window time.Duration, capacity int) Model {
	return NewTokenBucket(limit, window, capacity)
}

func (b *bucket) Take(now time.Duration, n int) ratelimit.Decision {
	allowed := n == 0 || possible(n, b.burst) && b.missing(now, n).Cmp(b.units(b.burst)) <= 0
	if allowed && n > 0 {
		b.force(now, n)
	}
	d := ratelimit.Decision{Allowed: allowed, N: n, At: now, Limit: b.burst}
	d.Remaining = b.remaining(now)
	d.ResetAfter = b.untilFlowed(now, b.full)
	if !allowed {
		d.RetryAfter = ratelimit.Never
		if possible(n, b.burst) {
			d.RetryAfter = b.untilFlowed(now, sub(sum(b.full, b.units(n)), b.units(b.burst)))
		}
	}
	return d
}

func (b *bucket) Peek(now time.Duration, n int) ratelimit.Decision { return b.Clone().Take(now, n) }

// Refund gives back what d took less what has flowed in since, for that may
// have been lost to a full bucket.
func (b *bucket) Refund(now time.Duration, d ratelimit.Decision) {
	if !d.Allowed || !possible(d.N, b.burst) {
		return
	}
	// A state that is full only later than now was reached at a later time.
	latest := sub(b.full, b.units(b.burst))
	if flowed := b.flowed(now); latest.Cmp(flowed) < 0 {
		latest = flowed
	}
	since := atLeast0(sub(latest, b.flowed(d.At)))
	given := atLeast0(sub(b.units(d.N), since))
	b.full = atLeast0(sub(b.full, given))
}

func (b *bucket) Reset() { b.full = integer(0) }

func (b *bucket) Clone() Model {
	c := *b // no big.Int is ever changed
	return &c
}

func (b *bucket) Key() string { return b.full.String() }

// force takes n events, whether they are there or not.
func (b *bucket) force(now time.Duration, n int) { b.full = sum(b.flowed(now), b.missing(now, n)) }

// units is n events in units.
func (b *bucket) units(n int) *big.Int { return product(integer(n), b.window) }

// flowed is what has flowed in since the clock's start.
func (b *bucket) flowed(now time.Duration) *big.Int {
	return sum(b.before, product(integer(clamp(now)), b.limit))
}

// ahead is the same bucket on a clock that is ahead of its own.
func (b *bucket) ahead(by time.Duration) *bucket {
	c := *b
	c.before = product(integer(by), b.limit)
	return &c
}

// missing is what the bucket lacks to be full, once n more events are taken.
func (b *bucket) missing(now time.Duration, n int) *big.Int {
	return sum(atLeast0(sub(b.full, b.flowed(now))), b.units(n))
}

func (b *bucket) remaining(now time.Duration) int {
	there := atLeast0(sub(b.units(b.burst), b.missing(now, 0)))
	return int(new(big.Int).Quo(there, b.window).Int64())
}

// untilFlowed is the wait until so much has flowed in.
func (b *bucket) untilFlowed(now time.Duration, units *big.Int) time.Duration {
	if b.flowed(now).Cmp(units) >= 0 {
		return 0
	}
	then, rest := new(big.Int).QuoRem(units, b.limit, new(big.Int))
	if rest.Sign() > 0 {
		then = sum(then, integer(1))
	}
	return until(now, then)
}

// grid numbers aligned windows, from the one in which the clock read 0.
type grid struct {
	width time.Duration
	phase time.Duration // how far window 0 had got when the clock read 0
}

func newGrid(width, offset time.Duration, epoch time.Time) grid {
	nanoseconds := sum(product(integer(epoch.Unix()), integer(time.Second)), integer(epoch.Nanosecond()))
	phase := new(big.Int).Mod(sub(nanoseconds, integer(offset)), integer(width))
	return grid{width, time.Duration(phase.Int64())}
}

// index is the window in which now lies.
func (g *grid) index(now time.Duration) int64 { return int64((clamp(now) + g.phase) / g.width) }

// begin is the reading of the clock at which a window begins. It is negative
// for window 0.
func (g *grid) begin(index int64) *big.Int {
	return sub(product(integer(index), integer(g.width)), integer(g.phase))
}

// charged is the window that ends where a decision says. Where that is beyond
// what the clock reads, it is the window that the decision was made in.
func (g *grid) charged(at, untilEnd time.Duration) int64 {
	end := sum(integer(at), integer(untilEnd))
	if untilEnd <= 0 || !end.IsInt64() || untilEnd == ratelimit.Never {
		return g.index(at)
	}
	return g.index(time.Duration(end.Int64() - 1))
}

// fixedWindow is the model of a fixed window.
type fixedWindow struct {
	grid
	limit  int
	latest int64         // the latest window in which something was admitted
	used   map[int64]int // how many were admitted in each window
}

// NewFixedWindow returns the model of a fixed window, on a clock that read 0 at
// the epoch.
func NewFixedWindow(limit int, window, offset time.Duration, epoch time.Time) Model {
	return &fixedWindow{newGrid(window, offset, epoch), limit, 0, map[int64]int{}}
}

func (w *fixedWindow) Take(now time.Duration, n int) ratelimit.Decision {
	index := max(w.index(now), w.latest)
	allowed := n == 0 || possible(n, w.limit) && n <= w.limit-w.used[index]
	if allowed && n > 0 {
		w.latest = index
		w.used[index] += n
	}
	d := ratelimit.Decision{Allowed: allowed, N: n, At: now, Limit: w.limit}
	d.Remaining = w.limit - w.used[index]
	if w.used[index] > 0 {
		d.ResetAfter = until(now, w.begin(index+1))
	}
	if !allowed {
		d.RetryAfter = ratelimit.Never
		if possible(n, w.limit) {
			d.RetryAfter = until(now, w.begin(index+1))
		}
	}
	return d
}

func (w *fixedWindow) Peek(now time.Duration, n int) ratelimit.Decision {
	return w.Clone().Take(now, n)
}

// Refund gives back to the window that was charged, unless that has passed.
func (w *fixedWindow) Refund(_ time.Duration, d ratelimit.Decision) {
	if !d.Allowed || !possible(d.N, w.limit) {
		return
	}
	if index := w.charged(d.At, d.ResetAfter); index == w.latest {
		w.used[index] = max(0, w.used[index]-d.N)
	}
}

func (w *fixedWindow) Reset() { w.latest, w.used = 0, map[int64]int{} }

func (w *fixedWindow) Clone() Model {
	c := *w
	c.used = map[int64]int{w.latest: w.used[w.latest]} // earlier windows never count again
	return &c
}

func (w *fixedWindow) Key() string { return fmt.Sprint(w.latest, w.used[w.latest]) }

// slidingWindow is the model of a sliding window.
type slidingWindow struct {
	grid
	limit  int
	latest int64         // the latest window in which something was admitted
	used   map[int64]int // how many were admitted in each window
}

// NewSlidingWindow returns the model of a sliding window, on a clock that read 0
// at the epoch.
func NewSlidingWindow(limit int, window time.Duration, epoch time.Time) Model {
	return &slidingWindow{newGrid(window, 0, epoch), limit, 0, map[int64]int{}}
}

func (w *slidingWindow) Take(now time.Duration, n int) ratelimit.Decision {
	// A reading before the latest window counts as the beginning of it.
	t := clamp(now)
	if w.index(t) < w.latest {
		t = time.Duration(w.begin(w.latest).Int64())
	}
	index := w.index(t)
	allowed := n == 0 || possible(n, w.limit) && w.fits(t, n)
	if allowed && n > 0 {
		w.latest = index
		w.used[index] += n
	}
	d := ratelimit.Decision{Allowed: allowed, N: n, At: now, Limit: w.limit}
	d.Remaining = first(w.limit, func(n int) bool { return !w.fits(t, n+1) })
	switch {
	case w.used[index] > 0: // they weigh until the end of the next window
		d.ResetAfter = until(now, w.begin(index+2))
	case w.used[index-1] > 0:
		d.ResetAfter = until(now, w.begin(index+1))
	}
	if !allowed {
		d.RetryAfter = ratelimit.Never
		if possible(n, w.limit) {
			// Left alone, what counts only ever gets less, and is
			// nothing after two windows.
			wait := first(2*w.width, func(wait time.Duration) bool { return w.fits(t+wait, n) })
			d.RetryAfter = until(now, integer(t+wait))
		}
	}
	return d
}

// fits reports whether prev·(1−e) + curr + n ≤ limit, in the window of t.
func (w *slidingWindow) fits(t time.Duration, n int) bool {
	index := int64((t + w.phase) / w.width)
	elapsed := (t + w.phase) % w.width
	prev, curr := w.used[index-1], w.used[index]
	weight := product(integer(prev), integer(w.width-elapsed))
	room := sub(integer(w.limit), sum(integer(curr), integer(n)))
	return weight.Cmp(product(room, integer(w.width))) <= 0
}

func (w *slidingWindow) Peek(now time.Duration, n int) ratelimit.Decision {
	return w.Clone().Take(now, n)
}

// Refund gives back to the window that was charged, while that counts.
func (w *slidingWindow) Refund(_ time.Duration, d ratelimit.Decision) {
	if !d.Allowed || !possible(d.N, w.limit) {
		return
	}
	// An admission weighs until the end of the window after its own.
	untilEnd := d.ResetAfter
	if untilEnd != ratelimit.Never {
		untilEnd -= w.width
	}
	if index := w.charged(d.At, untilEnd); index == w.latest || index == w.latest-1 {
		w.used[index] = max(0, w.used[index]-d.N)
	}
}

func (w *slidingWindow) Reset() { w.latest, w.used = 0, map[int64]int{} }

func (w *slidingWindow) Clone() Model {
	c := *w
	c.used = map[int64]int{ // earlier windows never count again
		w.latest:     w.used[w.latest],
		w.latest - 1: w.used[w.latest-1],
	}
	return &c
}

func (w *slidingWindow) Key() string {
	return fmt.Sprint(w.latest, w.used[w.latest-1], w.used[w.latest])
}

// first is the least x in [0, end) of which yes is true, or end. It must be true
// of all those after it.
func first[T ~int | ~int64](end T, yes func(T) bool) T {
	lo, hi := T(0), end
	for lo < hi {
		if middle := lo + (hi-lo)/2; yes(middle) {
			hi = middle
		} else {
			lo = middle + 1
		}
	}
	return lo
}

// slidingLog is the model of a sliding log.
type slidingLog struct {
	limit    int
	window   time.Duration
	latest   time.Duration // when the latest admission was, also if it was refunded
	admitted []admission   // oldest first; those that have passed are still there
}

type admission struct {
	at time.Duration
	n  int
}

// NewSlidingLog returns the model of a sliding log.
func NewSlidingLog(limit int, window time.Duration) Model {
	return &slidingLog{limit: limit, window: window}
}

func (l *slidingLog) Take(now time.Duration, n int) ratelimit.Decision {
	t := max(clamp(now), l.latest)
	allowed := n == 0 || possible(n, l.limit) && n <= l.limit-l.used(t)
	if allowed && n > 0 {
		l.latest = t
		l.admitted = append(l.admitted, admission{t, n})
	}
	d := ratelimit.Decision{Allowed: allowed, N: n, At: now, Limit: l.limit}
	d.Remaining = l.limit - l.used(t)
	if counting := l.counting(t); len(counting) > 0 {
		d.ResetAfter = until(now, integer(counting[len(counting)-1].at+l.window))
	}
	if !allowed {
		d.RetryAfter = ratelimit.Never
		if possible(n, l.limit) {
			// The first time at which one more has left and n fit.
			for _, a := range l.counting(t) {
				if left := a.at + l.window; n <= l.limit-l.used(left) {
					d.RetryAfter = until(now, integer(left))
					break
				}
			}
		}
	}
	return d
}

func (l *slidingLog) Peek(now time.Duration, n int) ratelimit.Decision {
	return l.Clone().Take(now, n)
}

// Refund takes what d admitted out of the log.
func (l *slidingLog) Refund(_ time.Duration, d ratelimit.Decision) {
	if !d.Allowed || !possible(d.N, l.limit) {
		return
	}
	// A late reading was logged at a later time: the one that counts until
	// ResetAfter.
	at := clamp(d.At)
	if begin := sub(sum(integer(d.At), integer(d.ResetAfter)), integer(l.window)); d.ResetAfter != ratelimit.Never && begin.Cmp(integer(at)) > 0 {
		at = time.Duration(begin.Int64())
	}
	n := d.N
	for i := range l.admitted {
		if a := &l.admitted[i]; a.at == at {
			given := min(a.n, n)
			a.n -= given
			n -= given
		}
	}
	l.admitted = slices.DeleteFunc(l.admitted, func(a admission) bool { return a.n == 0 })
}

func (l *slidingLog) Reset() { l.latest, l.admitted = 0, nil }

func (l *slidingLog) Clone() Model {
	c := *l
	c.admitted = slices.Clone(l.counting(l.latest)) // the others never count again
	return &c
}

func (l *slidingLog) Key() string {
	var same []admission // those at one time are one
	for _, a := range l.counting(l.latest) {
		if last := len(same) - 1; last >= 0 && same[last].at == a.at {
			same[last].n += a.n
		} else {
			same = append(same, a)
		}
	}
	return fmt.Sprint(l.latest, same)
}

// counting is the admissions that count at t. A window is half open: what was
// admitted at t−window does not.
func (l *slidingLog) counting(t time.Duration) (admitted []admission) {
	for _, a := range l.admitted {
		if t-a.at < l.window {
			admitted = append(admitted, a)
		}
	}
	return admitted
}

// used is how many events count at t.
func (l *slidingLog) used(t time.Duration) (n int) {
	for _, a := range l.counting(t) {
		n += a.n
	}
	return n
}

// What follows is arithmetic on numbers of any size that are never changed.

func integer[T ~int | ~int64](x T) *big.Int { return big.NewInt(int64(x)) }

func sum(a, b *big.Int) *big.Int { return new(big.Int).Add(a, b) }

func sub(a, b *big.Int) *big.Int { return new(big.Int).Sub(a, b) }

func product(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }

func atLeast0(a *big.Int) *big.Int {
	if a.Sign() < 0 {
		return integer(0)
	}
	return a
}
