package redislimit

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/ratekeep/ratelimit"
)

// fixed is the fixed window. Its state is a window's number, counted from the
// Unix epoch plus the offset, and what is used of it.
type fixed struct {
	name   string
	limit  int64
	width  int64
	offset int64 // below width
}

func newFixed(limit int, window, offset time.Duration) (*fixed, error) {
	if err := whole("Offset", offset); err != nil {
		return nil, err
	}
	w := &fixed{name: fmt.Sprintf("f%d/%v", limit, window), limit: int64(limit), width: window.Microseconds()}
	if w.offset = offset.Microseconds() % w.width; w.offset < 0 {
		w.offset += w.width
	}
	if w.offset > 0 {
		w.name += "+" + duration(w.offset).String()
	}
	return w, nil
}

func (w *fixed) most() int            { return int(w.limit) }
func (w *fixed) id() string           { return w.name }
func (w *fixed) functions() functions { return fixedFunctions }

func (w *fixed) take(args []any, n, _ int, _ bool) []any {
	return append(args, n, w.limit, w.width, w.offset, digits(w.limit))
}

func (w *fixed) refund(args []any, d ratelimit.Decision) []any {
	// A decision made after the clock had been set back a little was charged to
	// the window that its ResetAfter tells.
	charged := w.index(at(d))
	if end, ok := ends(d); ok {
		charged = max(charged, w.index(end-1))
	}
	return append(args, d.N, charged, w.width, w.offset, digits(w.limit))
}

func (w *fixed) answer(d *ratelimit.Decision, s state, now int64, q question) {
	ahead := q.ahead
	index, used := s[1], s[2]
	turns := int64(1) // until n events fit, which is in the next window
	if ahead > 0 {
		// Those in line fill up one window after the other.
		filled := used + min(int64(ahead), maxLimit)
		turns = (filled + max(int64(d.N), 1) - 1) / w.limit
		d.ResetAfter = wait(now, w.begin(index+(filled-1)/w.limit+1))
	} else {
		if d.Allowed {
			used += int64(d.N)
		}
		d.Remaining = int(w.limit - min(used, w.limit))
		if used > 0 {
			d.ResetAfter = wait(now, w.begin(index+1))
		}
	}
	if !d.Allowed && possible(d.N, int(w.limit)) {
		d.RetryAfter = retry(now, w.begin(index+turns))
	}
}

// index is the window of a time.
func (w *fixed) index(t int64) int64 {
	if t -= w.offset; t < 0 {
		return -1
	}
	return t / w.width
}

// begin is when a window begins, or after the end of all times.
func (w *fixed) begin(index int64) int64 { return start(index, w.width) + w.offset }

// start is index·width, or after the end of all times.
func start(index, width int64) int64 {
	if index > 1<<53/width {
		return 1 << 53
	}
	return index * width
}

// sliding is the sliding window. Its state is a window's number, counted from
// the Unix epoch, what was used of the one before, and what is used of it.
type sliding struct {
	name  string
	limit int64
	width int64
}

func newSliding(limit int, window time.Duration) *sliding {
	return &sliding{name: fmt.Sprintf("s%d/%v", limit, window), limit: int64(limit), width: window.Microseconds()}
}

func (w *sliding) most() int            { return int(w.limit) }
func (w *sliding) id() string           { return w.name }
func (w *sliding) functions() functions { return slidingFunctions }

func (w *sliding) take(args []any, n, _ int, _ bool) []any {
	return append(args, n, w.limit, w.width, digits(w.limit))
}

func (w *sliding) refund(args []any, d ratelimit.Decision) []any {
	charged := at(d) / w.width
	// An admission weighs until the end of the window after its own.
	if end, ok := ends(d); ok {
		charged = max(charged, (end-1)/w.width-1)
	}
	return append(args, d.N, charged, w.width, digits(w.limit))
}

func (w *sliding) answer(d *ratelimit.Decision, s state, now int64, q question) {
	ahead := q.ahead
	index, prev, curr := s[1], s[2], s[3]
	if passed := now/w.width - index; passed > 0 { // since the server was asked
		index, prev, curr = index+passed, curr, 0
		if passed > 1 {
			prev = 0
		}
	}
	ahead64 := min(int64(ahead), maxLimit)
	if d.Allowed && ahead == 0 {
		curr += int64(d.N)
	}
	left := (index+1)*w.width - max(now, index*w.width)
	switch {
	case ahead > 0:
		d.ResetAfter = wait(now, start(index+2+(curr+ahead64-1)/w.limit, w.width))
	case curr > 0:
		d.ResetAfter = wait(now, start(index+2, w.width))
	case prev > 0:
		d.ResetAfter = wait(now, start(index+1, w.width))
	}
	if ahead == 0 {
		used := curr + w.weight(prev, left)
		d.Remaining = int(w.limit - min(used, w.limit))
	}
	if !d.Allowed && possible(d.N, int(w.limit)) {
		d.RetryAfter = retry(now, w.fits(index, prev, curr, w.width-left, ahead64, int64(d.N)))
	}
}

// fits is when n events fit that have others ahead of them; a lower bound if
// there are any, and the time itself otherwise.
func (w *sliding) fits(index, prev, curr, elapsed, ahead, n int64) int64 {
	const most = 16 // windows looked into; a refusal must not take long
	for after := int64(0); after < most; after++ {
		// In this window?
		if used := curr + ahead + n; used <= w.limit {
			if at := max(elapsed, w.fitting(prev, w.limit-used)); at < w.width {
				return start(index+after, w.width) + at
			}
		}
		// Then it takes what it can of those ahead, and weighs the more.
		used := curr + w.weight(prev, 1)
		here := min(ahead, w.limit-min(w.limit, used))
		prev, curr, elapsed = curr+here, 0, 0
		ahead -= here
	}
	// No window takes more than the limit.
	return start(index+most+(ahead+n-1)/w.limit, w.width)
}

// fitting is how much of a window must have elapsed for prev events of the
// window before to weigh no more than room; the width if it must all have.
func (w *sliding) fitting(prev, room int64) (elapsed int64) {
	if prev <= room {
		return 0
	}
	hi, lo := bits.Mul64(uint64(room), uint64(w.width))
	left, _ := bits.Div64(hi, lo, uint64(prev))
	return w.width - int64(left)
}

// weight is what prev events of the window before weigh when so much of this
// one is left, rounded up.
func (w *sliding) weight(prev, left int64) int64 {
	if prev == 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(prev), uint64(left))
	weight, rest := bits.Div64(hi, lo, uint64(w.width))
	if rest > 0 {
		weight++
	}
	return int64(weight)
}
