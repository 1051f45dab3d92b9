package fixedwindow

import "math/bits"

// state is a window and the events admitted in it, in one word:
//
//	63        usedBits usedBits-1      0
//	[   window index   ][ events used ]
//
// The index counts windows since the clock read 0, and does not wrap: a Limit
// of at most one event per nanosecond leaves room for 18 years of windows. The
// zero state is the fresh one.
type state uint64

// layout says where in the word the index begins. That depends on the Limit.
type layout struct {
	usedBits uint8
}

func layoutFor(limit int) layout {
	return layout{usedBits: uint8(bits.Len64(uint64(limit)))}
}

func (y layout) pack(index, used uint64) state {
	return state(index<<(y.usedBits&63) | used)
}

func (y layout) index(s state) uint64 { return uint64(s) >> (y.usedBits & 63) }

func (y layout) used(s state) uint64 { return uint64(s) & (1<<(y.usedBits&63) - 1) }
