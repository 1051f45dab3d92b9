package limitertest

import (
	"math"
	"math/big"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// BucketBound is the [Subject.Bound] of a bucket that holds limit events:
// limit + limit·t/window, to within a nanosecond of the clock.
func BucketBound(limit int, window, from, to time.Duration) int {
	flowed := product(integer(limit), sum(sub(integer(to), integer(from)), integer(rounding)))
	return atMostMaxInt(sum(integer(limit), new(big.Int).Quo(flowed, integer(window))))
}

// AlignedBound is the [Subject.Bound] of a limit per aligned window, on a fake
// clock, but for the offset.
func AlignedBound(limit int, window, offset, from, to time.Duration) int {
	g := newGrid(window, offset, clock.NewFake().Epoch())
	windows := g.index(to) - g.index(from) + 1
	return atMostMaxInt(product(integer(limit), integer(windows)))
}

// TrailingBound is the [Subject.Bound] of a limit in any window, half open.
func TrailingBound(limit int, window, from, to time.Duration) int {
	windows := (to-from)/window + 1
	return atMostMaxInt(product(integer(limit), integer(windows)))
}

func atMostMaxInt(x *big.Int) int {
	if x.Cmp(integer(math.MaxInt)) > 0 {
		return math.MaxInt
	}
	return int(x.Int64())
}

// log is what was admitted, in the order in which it was.
type log []admission

// within fails unless any interval has at most as many as the bound. Of
// readings that do not arrive in order, one that is earlier than another before
// it counts as that one.
func (l log) within(tb TB, s Subject, limit int, window time.Duration) {
	tb.Helper()
	latest := time.Duration(0)
	inOrder := make(log, len(l))
	for i, a := range l {
		latest = max(latest, clamp(a.at))
		inOrder[i] = admission{latest, a.n}
	}
	for i, from := range inOrder {
		n := 0
		for j, to := range inOrder[i:] {
			n += to.n
			if bound := s.Bound(limit, window, from.at, to.at); n > bound {
				tb.Fatalf("%d per %v: %d are admitted from %d to %d, where the bound is %d\n\t%v", limit, window, n, from.at, to.at, bound, l[i:i+j+1])
			}
		}
	}
}
