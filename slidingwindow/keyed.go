package slidingwindow

import (
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// wordRule is the algorithm on counts in one word. It implements
// [algorithm.Word].
type wordRule struct {
	rule
	layout
}

// Start is an unused window after an unused one.
func (r *wordRule) Start(now time.Duration) uint64 {
	return r.pack(counts{index: r.grid.Index(r.grid.Time(now))})
}

func (r *wordRule) Fresh(word uint64, now time.Duration) bool {
	return r.fresh(r.unpack(word), now)
}

func (r *wordRule) Take(word uint64, now time.Duration, n int) (next uint64, ok bool) {
	s, ok := r.next(r.unpack(word), now, n)
	return r.pack(s), ok
}

func (r *wordRule) Serve(word uint64, now time.Duration, n int) (next uint64, ok bool) {
	return r.Take(word, now, n)
}

func (r *wordRule) Delay(word uint64, now time.Duration, ahead, n int) time.Duration {
	return r.delay(r.unpack(word), now, ahead, n)
}

func (r *wordRule) Answer(word uint64, now time.Duration, n int, ahead algorithm.Line, ok bool) (d ratelimit.Decision) {
	r.answer(&d, r.unpack(word), now, n, ahead.Events, ok)
	return d
}

func (r *wordRule) Refund(word uint64, _ time.Duration, d ratelimit.Decision) (next uint64) {
	return r.pack(r.refund(r.unpack(word), d))
}

// recordRule is the algorithm on counts that do not fit into one word. It
// implements [algorithm.Record]:
//
//	[ index | prev | curr ]
type recordRule struct {
	rule
}

func countsOf(r []uint64) counts { return counts{index: r[0], prev: r[1], curr: r[2]} }

func (s counts) put(r []uint64) { r[0], r[1], r[2] = s.index, s.prev, s.curr }

func (r *recordRule) Words() int { return 3 }

func (r *recordRule) Start(record []uint64, now time.Duration) {
	counts{index: r.grid.Index(r.grid.Time(now))}.put(record)
}

func (r *recordRule) Decide(record []uint64, _ *algorithm.Heap, now time.Duration, n, ahead int, take bool) (d ratelimit.Decision) {
	s := countsOf(record)
	if n < 1 || n > int(r.limit) || ahead > 0 {
		r.answer(&d, s, now, n, ahead, n == 0)
		return d
	}
	next, ok := r.next(s, now, n)
	if ok && take {
		next.put(record)
	}
	r.answer(&d, next, now, n, 0, ok)
	return d
}

func (r *recordRule) Until(record []uint64, _ *algorithm.Heap, now time.Duration) time.Duration {
	s, t := r.slide(countsOf(record), r.grid.Time(now)), r.grid.Time(now)
	if r.fits(s, t, s.curr+1) {
		return 0
	}
	// A sum that overflows is beyond the clock's range.
	return max(now+r.wait(now, s, 0, 1), 0)
}

func (r *recordRule) Fresh(record []uint64, _ *algorithm.Heap, now time.Duration) bool {
	return r.fresh(countsOf(record), now)
}

func (r *recordRule) Refund(record []uint64, _ *algorithm.Heap, d ratelimit.Decision) {
	r.refund(countsOf(record), d).put(record)
}

func (r *recordRule) End(record []uint64, _ *algorithm.Heap) time.Duration {
	s := countsOf(record)
	switch {
	case s.curr > 0:
		return r.grid.Until(0, s.index, 2, 0)
	case s.prev > 0:
		return r.grid.Until(0, s.index, 1, 0)
	case s.index > 0:
		return r.grid.Until(0, s.index, 0, 0)
	}
	return 0
}

func (r *recordRule) Free(record []uint64, _ *algorithm.Heap) { clear(record) }
