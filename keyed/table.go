package keyed

import "sync/atomic"

// table is open addressing with linear probing:
//
//	slots    [ id | word ][ id | word ] …     an id of 0 is an empty slot
//	records  [   state   ][   state   ] …     if the algorithm needs more than a word
//	plans    [  number   ][  number   ] …     if there are several plans
//	keys     [     K     ][     K     ] …     if the keys are kept
//
// A slot belongs to one key for as long as the table is in use, so whoever has
// found it may compare and swap its word. Slots become free only in a new table.
type table[K comparable] struct {
	slots   []slot
	records []uint64 // guarded by shard.mu
	words   int      // of a record
	plans   []uint8  // guarded by shard.mu; nil if all are 0
	keys    []K      // written before the slot's id; nil if they are not kept
	quota   int      // slots that may be in use; fewer than there are
}

// Both are atomic once the table is in use.
type slot struct {
	id   uint64 // written once
	word uint64 // the state, or until when a record refuses; or a reserved word
}

// perSlots of slots slotsPer may be in use: beyond that, probing takes long.
const (
	perSlots = 16
	slotsPer = 13
)

// newTable returns a table with room for at least so many keys.
func newTable[K comparable](room, words int, exact bool) *table[K] {
	t := &table[K]{words: words}
	// Append rounds up to what the allocator gives.
	t.slots = append(t.slots, make([]slot, room*perSlots/slotsPer+1)...)
	t.slots = t.slots[:cap(t.slots)]
	n := len(t.slots)
	t.quota = min(n*slotsPer/perSlots, n-1)
	if words > 0 {
		t.records = make([]uint64, n*words)
	}
	if exact {
		t.keys = make([]K, n)
	}
	return t
}

// find returns the slot of a key, or -1.
func (t *table[K]) find(id uint64, k K) int {
	n := uint64(len(t.slots))
	for i := home(id, n); ; {
		switch atomic.LoadUint64(&t.slots[i].id) {
		case 0:
			return -1
		case id:
			if t.keys == nil || t.keys[i] == k {
				return int(i)
			}
		}
		if i++; i == n {
			i = 0
		}
	}
}

// free returns the empty slot for a key that has none. It requires that shard.mu
// is held, that there is one, and that the slot's id is the last thing written.
func (t *table[K]) free(id uint64) int {
	n := uint64(len(t.slots))
	i := home(id, n)
	for t.slots[i].id != 0 {
		if i++; i == n {
			i = 0
		}
	}
	return int(i)
}

// word is that of a slot.
func (t *table[K]) word(i int) uint64 { return atomic.LoadUint64(&t.slots[i].word) }

// home is where a search begins.
func home(id, slots uint64) uint64 { return uint64(uint32(id)) * slots >> 32 }

// record is the state of a slot.
func (t *table[K]) record(i int) []uint64 { return t.records[i*t.words : (i+1)*t.words] }

// setPlan sets the number of a slot's plan.
func (t *table[K]) setPlan(i int, number uint8) {
	if t.plans == nil && number > 0 {
		t.plans = make([]uint8, len(t.slots))
	}
	if t.plans != nil {
		t.plans[i] = number
	}
}

// plan is the number of a slot's plan.
func (t *table[K]) plan(i int) uint8 {
	if t.plans == nil {
		return 0
	}
	return t.plans[i]
}
