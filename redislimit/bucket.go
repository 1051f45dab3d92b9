package redislimit

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/ratekeep/ratelimit"
)

// bucket is the token bucket, and the leaky one. Its state is the theoretical
// arrival time, as in the generic cell rate algorithm, to the last fraction:
// with Limit/Window in lowest terms an event costs a whole number of such parts,
// so that nothing is ever rounded. The script only adds and compares.
type bucket struct {
	name  string
	paces bool // whether Wait waits until it is as good as new
	burst int
	event uint64 // what an event costs, in parts; below 2^49
	parts uint64 // of a microsecond; at most maxLimit
	size  instant
}

// instant is a time: whole microseconds, and parts of one.
type instant struct {
	whole int64
	part  uint64
}

func newBucket(letter string, paces bool, limit int, window time.Duration, burst int, burstField string) (*bucket, error) {
	if burst == 0 {
		burst = limit
	}
	width := uint64(window.Microseconds())
	common := gcd(uint64(limit), width)
	b := &bucket{
		name:  fmt.Sprintf("%s%d/%v", letter, limit, window),
		paces: paces,
		burst: burst,
		event: width / common,
		parts: uint64(limit) / common,
	}
	if burst != limit {
		b.name += fmt.Sprintf("/%d", burst)
	}
	// A full bucket takes at most 2^51 microseconds to fill, 71 years.
	hi, lo := bits.Mul64(1<<51, b.parts)
	largest := uint64(maxLimit)
	if hi < b.event {
		most, _ := bits.Div64(hi, lo, b.event)
		largest = min(largest, most)
	}
	if burst < 1 || uint64(burst) > largest {
		return nil, fmt.Errorf("%s %d is out of range [1, %d] for %d per %v", burstField, burst, largest, limit, window)
	}
	b.size = b.cost(burst)
	return b, nil
}

func (b *bucket) most() int  { return b.burst }
func (b *bucket) id() string { return b.name }

func (b *bucket) functions() functions {
	if b.parts == 1 {
		return wholeFunctions
	}
	return partsFunctions
}

func (b *bucket) take(args []any, n, _ int, paced bool) []any {
	cost, depth := b.cost(n), b.size
	if paced && b.paces {
		depth = cost
	}
	if b.parts == 1 {
		return append(args, cost.whole, depth.whole, b.size.whole+1)
	}
	return append(args, cost.whole, cost.part, depth.whole, depth.part, b.parts, b.size.whole+1, b.digits())
}

func (b *bucket) refund(args []any, d ratelimit.Decision) []any {
	cost := b.cost(d.N)
	if b.parts == 1 {
		return append(args, cost.whole, b.size.whole, at(d))
	}
	return append(args, cost.whole, cost.part, b.size.whole, b.size.part, b.parts, at(d), b.digits())
}

func (b *bucket) answer(d *ratelimit.Decision, s state, now int64, q question) {
	tat := instant{s[1], uint64(s[2])}
	switch {
	case q.ahead > 0:
		tat = b.add(tat, b.cost(q.ahead))
	case d.Allowed:
		tat = b.add(tat, b.cost(d.N))
		fallthrough
	default:
		d.Remaining = b.remaining(tat, now)
	}
	d.ResetAfter = wait(now, tat.up())
	if !d.Allowed && possible(d.N, b.burst) {
		if !q.paced || !b.paces {
			tat = b.sub(b.add(tat, b.cost(d.N)), b.size)
		}
		d.RetryAfter = retry(now, tat.up())
	}
}

// cost is what n events cost; the latest instant there is if that is more.
func (b *bucket) cost(n int) instant {
	hi, lo := bits.Mul64(uint64(n), b.event)
	if n < 0 || hi >= b.parts {
		return instant{whole: math.MaxInt64 / 4}
	}
	whole, part := bits.Div64(hi, lo, b.parts)
	return instant{int64(min(whole, math.MaxInt64/4)), part}
}

// remaining is how many events are admitted at now.
func (b *bucket) remaining(tat instant, now int64) int {
	free := b.sub(b.add(b.size, instant{whole: now}), tat)
	if free.whole < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(free.whole), b.parts)
	lo, carry := bits.Add64(lo, free.part, 0)
	events, _ := bits.Div64(hi+carry, lo, b.event)
	return int(events)
}

func (b *bucket) add(x, y instant) instant {
	sum := instant{x.whole + y.whole, x.part + y.part}
	if sum.part >= b.parts {
		sum.whole++
		sum.part -= b.parts
	}
	return sum
}

func (b *bucket) sub(x, y instant) instant {
	if x.part < y.part {
		x.whole--
		x.part += b.parts
	}
	return instant{x.whole - y.whole, x.part - y.part}
}

// digits is how many the part of an instant takes.
func (b *bucket) digits() int { return digits(int64(b.parts) - 1) }

// up is the first whole microsecond that is not before the instant.
func (i instant) up() int64 {
	if i.part > 0 {
		return i.whole + 1
	}
	return i.whole
}

func gcd(a, b uint64) uint64 {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}
