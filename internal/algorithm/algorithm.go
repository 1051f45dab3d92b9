// Package algorithm is what an algorithm is to a table that owns its states, one
// for each key: pure functions of a state, a clock reading and a number of
// events.
package algorithm

import (
	"time"

	"github.com/ratekeep/ratelimit"
)

// Algorithm is a [Word] or a [Record].
type Algorithm interface {
	// Limit is the most that can ever be admitted at once.
	Limit() int

	// Room is the number of events that there may be in line; 0 means any.
	Room() int

	// Span is the longest time after an admission for which it counts, or
	// longer; ratelimit.Never if that is beyond the clock's range.
	Span() time.Duration
}

// Word is an algorithm whose state is one word. No valid word is [Reserved] or
// above.
type Word interface {
	Algorithm

	// Start is the state of which nothing is known but that it was as good as
	// new at a reading. What it admits at an earlier one counts as if admitted
	// at that.
	Start(now time.Duration) uint64

	// Fresh reports whether the state is as good as new at a reading, and at
	// every later one.
	Fresh(word uint64, now time.Duration) bool

	// Take is the state after n events are admitted at now, if they are.
	Take(word uint64, now time.Duration, n int) (next uint64, ok bool)

	// Serve is Take for the first in line.
	Serve(word uint64, now time.Duration, n int) (next uint64, ok bool)

	// Delay is the wait until Serve admits n events that have others ahead of
	// them; a lower bound if there are any.
	Delay(word uint64, now time.Duration, ahead, n int) time.Duration

	// Answer puts into words a decision on n events, which left the state, with
	// others ahead.
	Answer(word uint64, now time.Duration, n int, ahead Line, ok bool) ratelimit.Decision

	// Refund is the state without what d admitted, as far as that still counts.
	// The state must have been loaded before the clock was read.
	Refund(word uint64, now time.Duration, d ratelimit.Decision) (next uint64)
}

// Line is the events ahead of others.
type Line struct {
	Events int // in all
	Here   int // of these, in line here; the others wait elsewhere
	Last   int // of these, the last waiter's
}

// Reserved and the words above are no state of a [Word].
const Reserved = 1<<64 - 2

// Record is an algorithm whose state is several words, and entries of a [Heap]
// for what does not fit into them. Whoever owns them has a lock for both.
type Record interface {
	Algorithm

	// Words is the size of a record. The record of a key that was never seen
	// is all zero.
	Words() int

	// Start makes a zero record one of which nothing is known but that it was
	// as good as new at a reading. What it admits at an earlier one counts as if
	// admitted at that.
	Start(r []uint64, now time.Duration)

	// Decide answers for n events with others ahead of them, and admits those
	// it allows if it is to take them.
	Decide(r []uint64, h *Heap, now time.Duration, n, ahead int, take bool) ratelimit.Decision

	// Until is a reading before which nothing is admitted; 0 if anything may be.
	Until(r []uint64, h *Heap, now time.Duration) time.Duration

	// Fresh reports whether the record is as good as new at now, and at every
	// later reading.
	Fresh(r []uint64, h *Heap, now time.Duration) bool

	// Refund undoes what d admitted, as far as it still counts.
	Refund(r []uint64, h *Heap, d ratelimit.Decision)

	// End is a reading from which on the record is as good as new, if nothing
	// is admitted until then.
	End(r []uint64, h *Heap) time.Duration

	// Free gives the record's entries back to the heap, in constant time.
	Free(r []uint64, h *Heap)
}
