// Package gcra is the arithmetic of the token bucket and of the leaky bucket:
// the generic cell rate algorithm, in its virtual scheduling form (ITU-T
// I.371, annex A), on one word.
//
// # Time in events
//
// The word is the theoretical arrival time: the time at which the bucket is as
// good as new if nothing more is admitted. It is kept in units of 2^-f event,
// not in nanoseconds: at(now) = now·Limit/Window·2^f. So n events cost exactly
// n·2^f units whatever the rate, and a full bucket admits exactly its burst.
//
// Only the clock is rounded: a reading down to whole units, by less than one,
// and the factor Limit/Window·2^f up, by so little that it adds less than one
// unit in all the clock's range. So an event that comes exactly when its
// predecessors have made room is admitted, and no interval admits more than the
// bound for one that is two units longer.
//
//	          63                                      0
//	TAT       [                 units                 ]    < 2^63 + 2^61
//	          [      events      ][ 2^-f of an event  ]
//
// A unit is at most half a nanosecond, and at most an eighth of one where the
// burst fills within two years. The word lasts for 18 years of uptime and cannot
// overflow: later clock readings count as [span.MaxNow].
package gcra

import (
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/ratekeep/ratelimit/internal/span"
)

const (
	rateBits  = 4  // of the units per nanosecond: fewer than 16
	burstBits = 61 // of the burst in units
	maxTAT    = 1<<(span.NowBits+rateBits) + 1<<burstBits
)

// Meter measures a bucket that empties, or fills, at a constant rate.
type Meter struct {
	factor  uint64 // units per nanosecond, in 2^-59
	inverse uint64 // nanoseconds per unit, in 2^-63, and a little less
	size    uint64 // the burst, in units
	event   uint64 // 2^f units
	shift   uint8  // f
}

// New returns the meter for limit events per window and a burst. Its error
// names the field, the value and the range; burstField is what the caller names
// the burst.
func New(limit int, window time.Duration, burst int, burstField string) (Meter, error) {
	if err := span.Check(limit, window); err != nil {
		return Meter{}, err
	}
	// The largest f for which the rate is below 2^rateBits units per
	// nanosecond and the burst fits.
	f := 0
	for f < burstBits && less(uint64(limit), f+1, uint64(window), rateBits) {
		f++
	}
	if burst > 0 {
		f = min(f, burstBits-bits.Len64(uint64(burst)))
	}
	// At least two units per nanosecond.
	if burst < 1 || f < 0 || less(uint64(limit), f, uint64(window), 1) {
		return Meter{}, fmt.Errorf("%s %d is out of range [1, %d] for %d per %v", burstField, burst, maxBurst(limit, window), limit, window)
	}
	hi, lo := shl(uint64(limit), f+span.NowBits)
	factor, rest := bits.Div64(hi, lo, uint64(window))
	if rest > 0 {
		factor++
	}
	inverse, _ := bits.Div64(1<<(2*span.NowBits+rateBits-64)-1, math.MaxUint64, factor)
	return Meter{factor: factor, inverse: inverse, size: uint64(burst) << f, event: 1 << f, shift: uint8(f)}, nil
}

// At is the clock reading in units.
func (m *Meter) At(now time.Duration) uint64 {
	if uint64(now) > span.MaxNow {
		now = span.Clamp(now)
	}
	at, _ := bits.Mul64(uint64(now)<<(64-span.NowBits), m.factor)
	return at
}

// Cost is n events in units. It requires that 0 ≤ n, and that they fit.
func (m *Meter) Cost(n int) uint64 { return uint64(n) * m.event }

// Size is the cost of a whole burst.
func (m *Meter) Size() uint64 { return m.size }

// Conforms is the time at which what costs cost may be admitted, in units all
// of it: when it leaves no more than depth in the bucket. That is [Meter.Size] in
// general, or the cost itself if all that went in before must have leaked out.
func Conforms(tat, cost, depth uint64) (at uint64) {
	return max(tat+cost, depth) - depth
}

// Admit is the theoretical arrival time after cost is admitted at a time. It
// never decreases, so clock readings may arrive in any order.
func Admit(tat, at, cost uint64) (next uint64) {
	return max(tat, at) + cost
}

// Latest is the later of a reading and of the earliest one at which the
// theoretical arrival time can have been reached.
func (m *Meter) Latest(tat, at uint64) uint64 { return max(at+m.size, tat) - m.size }

// Refund is the theoretical arrival time after giving back what was charged at
// the reading then and still counts. What has flowed in since may have been
// lost to a full bucket, so that much is not given back.
func Refund(tat, at, then, cost uint64) uint64 {
	if at > then {
		cost -= min(cost, at-then)
	}
	return tat - min(tat, cost)
}

// Behind is the theoretical arrival time once n more events have been admitted,
// each as soon as it conforms; or the latest there is.
func (m *Meter) Behind(tat, at uint64, n int) uint64 {
	from := min(max(tat, at), maxTAT)
	if uint64(n) > (maxTAT-from)>>(m.shift&63) {
		return maxTAT
	}
	return from + m.Cost(n)
}

// Remaining is how many events would be admitted.
func (m *Meter) Remaining(tat, at uint64) int {
	level := max(tat, at) - at
	return int((m.size - min(m.size, level)) >> (m.shift & 63))
}

// Until is the wait from now until the first clock reading whose time in units
// is at least at; 0 if now is; span.Never if none is.
func (m *Meter) Until(now time.Duration, at uint64) time.Duration {
	if at == 0 {
		return 0
	}
	// at·2^59/factor, rounded up. The product with the inverse is less than
	// the quotient, but by less than one: one more is right or one too few.
	hi, lo := bits.Mul64(at, m.inverse)
	then := hi<<1 | lo>>63 + 1
	if reached, _ := bits.Mul64(then<<(64-span.NowBits), m.factor); reached < at {
		then++
	}
	return span.Wait(now, then)
}

// maxBurst is the largest burst for which New finds at least two units per
// nanosecond.
func maxBurst(limit int, window time.Duration) int {
	f := 0
	for less(uint64(limit), f, uint64(window), 1) {
		f++
	}
	return int(min(int64(1)<<(burstBits-f)-1, math.MaxInt))
}

// less reports whether a·2^i < b·2^j.
func less(a uint64, i int, b uint64, j int) bool {
	ahi, alo := shl(a, i)
	bhi, blo := shl(b, j)
	return ahi < bhi || ahi == bhi && alo < blo
}

// shl is x·2^s in 128 bits, for s < 128.
func shl(x uint64, s int) (hi, lo uint64) {
	if s >= 64 {
		return x << (s - 64), 0
	}
	return x >> (64 - s), x << s
}
