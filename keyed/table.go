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
	plans   []uint8  // written before the slot's id; nil if all are 0
	keys    []K      // written before the slot's id; nil if they are not kept
	quota   int      // slots that may be in use; fewer than there are
}

type slot struct {
	id   atomic.Uint64 // written once
	word atomic.Uint64 // the state, or until when a record refuses; or a reserved word
}

// perSlots of slots slotsPer may be in use: beyond that, probing takes long.
const (
	perSlots = 16
	slotsPer = 13
)

// newTable returns a table with room for at least so many keys, and at most
// most.
func newTable[K comparable](room, most, words int, planned, exact bool) *table[K] {
	t := &table[K]{words: words}
	// Append rounds up to what the allocator gives.
	t.slots = append(t.slots, make([]slot, room*perSlots/slotsPer+1)...)
	t.slots = t.slots[:cap(t.slots)]
	n := len(t.slots)
	t.quota = min(n*slotsPer/perSlots, n-1, most)
	if words > 0 {
		t.records = make([]uint64, n*words)
	}
	if planned {
		t.plans = make([]uint8, n)
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
		switch t.slots[i].id.Load() {
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

// add gives a key that has none a slot. It requires that shard.mu is held, that
// one is left, and that the state is written before anything else happens.
func (t *table[K]) add(id uint64, k K, plan uint8, word uint64) (i int) {
	n := uint64(len(t.slots))
	at := home(id, n)
	for t.slots[at].id.Load() != 0 {
		if at++; at == n {
			at = 0
		}
	}
	if t.plans != nil {
		t.plans[at] = plan
	}
	if t.keys != nil {
		t.keys[at] = k
	}
	t.slots[at].word.Store(word)
	t.slots[at].id.Store(id)
	return int(at)
}

// home is where a search begins.
func home(id, slots uint64) uint64 { return uint64(uint32(id)) * slots >> 32 }

// record is the state of a slot.
func (t *table[K]) record(i int) []uint64 { return t.records[i*t.words : (i+1)*t.words] }

// plan is the number of a slot's plan.
func (t *table[K]) plan(i int) uint8 {
	if t.plans == nil {
		return 0
	}
	return t.plans[i]
}
