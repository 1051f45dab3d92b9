package slidingwindow

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// counts is the state: what was admitted in a window and in the one before.
// The window's index counts windows since the clock read 0. The zero counts are
// the fresh state.
type counts struct {
	index      uint64
	prev, curr uint64
}

// cell holds counts for concurrent use. Where they fit they are one word:
//
//	63     2·bits 2·bits-1   bits bits-1     0
//	[    index   ][     prev     ][   curr   ]
//
// bits being the size of the Limit. They do for every Limit up to 100,000 per
// second, or a million per minute. Where they do not, they are three words under
// a version that is odd while they are being written; a reader that sees it odd,
// or changed, reads again.
type cell struct {
	word atomic.Uint64 // the counts, or the version
	layout
	wide *[3]atomic.Uint64
}

// layout says where in the word the counts are.
type layout struct {
	mask uint64 // of curr
	bits uint8  // of prev and of curr
}

func layoutFor(limit uint64) layout {
	size := bits.Len64(limit)
	return layout{mask: 1<<size - 1, bits: uint8(size)}
}

// size is how many bits the counts of so many windows take.
func (y *layout) size(windows uint64) int { return 2*int(y.bits) + bits.Len64(windows) }

// init makes the cell hold counts up to limit, in as many windows.
func (c *cell) init(limit, windows uint64) {
	c.layout = layoutFor(limit)
	if c.size(windows) > 64 {
		c.wide = new([3]atomic.Uint64)
	}
}

// load returns the counts, and the word that must not have changed for store to
// replace them.
func (c *cell) load() (s counts, word uint64) {
	word = c.word.Load()
	if c.wide != nil {
		return c.loadWide(word)
	}
	return c.unpack(word), word
}

// store replaces the counts if they are still those that were loaded with word.
func (c *cell) store(word uint64, s counts) bool {
	if c.wide != nil {
		return c.storeWide(word, s)
	}
	return c.word.CompareAndSwap(word, c.pack(s))
}

func (y *layout) pack(s counts) uint64 {
	b := y.bits & 63
	return s.index<<(2*b&63) | s.prev<<b | s.curr
}

func (y *layout) unpack(word uint64) counts {
	b := y.bits & 63
	return counts{index: word >> (2 * b & 63), prev: word >> b & y.mask, curr: word & y.mask}
}

func (c *cell) loadWide(version uint64) (counts, uint64) {
	for {
		s := counts{c.wide[0].Load(), c.wide[1].Load(), c.wide[2].Load()}
		again := c.word.Load()
		if version == again && version%2 == 0 {
			return s, version
		}
		if version = again; version%2 != 0 {
			runtime.Gosched() // the writer may have been preempted
			version = c.word.Load()
		}
	}
}

func (c *cell) storeWide(version uint64, s counts) bool {
	if !c.word.CompareAndSwap(version, version+1) {
		return false
	}
	// Only curr changes with every admission, and a store costs as much as a
	// compare-and-swap.
	for i, count := range [...]uint64{s.index, s.prev, s.curr} {
		if c.wide[i].Load() != count {
			c.wide[i].Store(count)
		}
	}
	c.word.Store(version + 2)
	return true
}
