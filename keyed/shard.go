package keyed

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// perShard is how many keys a shard is for, or up to twice that: so many that
// the hash spreads keys evenly, and so few that it is quickly made anew.
const perShard = 4096

// keys are the states of all keys, under all plans.
type keys[K comparable] struct {
	shards   []shard[K]
	seed     maphash.Seed
	maxKeys  int
	share    bool
	exact    bool
	overflow shard[K] // of the one limiter that keys without a place share

	mu      sync.Mutex // held to add a plan
	planned atomic.Pointer[[]*plan]
}

func newKeys[K comparable](first *plan, o Options) *keys[K] {
	n := max(o.MaxKeys/perShard, 1)
	ks := &keys[K]{
		shards:  make([]shard[K], n),
		seed:    maphash.MakeSeed(),
		maxKeys: o.MaxKeys,
		share:   o.WhenFull == Share,
		exact:   o.Exact,
	}
	ks.planned.Store(&[]*plan{first})
	none := newTable[K](0, first.words(), o.Exact)
	for i := range ks.shards {
		ks.shards[i].most = o.MaxKeys / n
		if i < o.MaxKeys%n {
			ks.shards[i].most++
		}
		ks.shards[i].table.Store(none)
		ks.shards[i].sharedAt.Store(math.MinInt64)
	}
	ks.overflow.most = maxPlans
	ks.overflow.table.Store(none)
	return ks
}

// plans are all plans, by their number.
func (ks *keys[K]) plans() []*plan { return *ks.planned.Load() }

// shard is a part of the keys, with a table that grows for itself.
type shard[K comparable] struct {
	// What every decision reads.
	table     atomic.Pointer[table[K]] // written with mu held
	waiting   atomic.Uint64            // a bit for each line of those who wait; see lines
	fullUntil atomic.Int64             // a clock reading before which no new key finds a place; 0 if one may
	_         [40]byte                 // what is written often is in another cache line

	mu       sync.Mutex
	heap     *algorithm.Heap // of records; nil if there are none
	lines    lines[K]
	floor    time.Duration // the latest reading at which keys have been forgotten
	next     time.Duration // the reading from which on a new table is worth it, if all places are taken
	most     int           // keys that may be kept; set by New
	inUse    int           // slots of the table that are in use
	renewals int64         // how many tables there have been
	kept     atomic.Int32  // keys; written with mu held
	early    atomic.Int32  // keys that may end earlier than next knows: refunded, or new, since there was a new table
	denied   atomic.Int64  // how many decisions found no place
	sharedAt atomic.Int64  // the latest reading at which the shared limiter admitted what may be refunded

	scratch [3]uint64 // a record
	carries bool      // whether it has entries of the heap
}

// enough is how many keys must have become as good as new for it to be worth to
// make a new table.
func (s *shard[K]) enough() int { return max(s.most/64, 1) }

// room makes room for one more key, if that is possible at now. It requires that
// mu is held. The table may be another one afterwards.
func (s *shard[K]) room(ks *keys[K], now time.Duration) bool {
	if s.inUse < s.table.Load().quota && int(s.kept.Load()) < s.most {
		return true
	}
	if int(s.kept.Load()) < s.most || now >= s.next || int(s.early.Load()) >= s.enough() {
		s.renew(ks, now)
	}
	if int(s.kept.Load()) < s.most {
		return true
	}
	s.fullUntil.Store(int64(s.next))
	if int(s.early.Load()) >= s.enough() {
		s.fullUntil.Store(0) // whoever freed a key meanwhile may have come too early to do it
	}
	return false
}

// renew replaces the table by one without the keys that are as good as new, and
// with room for more, but for hardly more than most. It requires that mu is held.
func (s *shard[K]) renew(ks *keys[K], now time.Duration) {
	old, plans := s.table.Load(), ks.plans()
	// Before any state is given up: a state of which nothing is known is as of
	// then.
	s.floor = max(s.floor, now)

	if old.words > 0 && s.heap == nil {
		s.heap = new(algorithm.Heap)
	}
	// Freeze the states that are given up, and count the others. These cannot
	// become as good as new and be given up below.
	live := 0
	for i := range old.slots {
		if old.slots[i].id != 0 && !s.giveUp(old, i, plans[old.plan(i)], now) {
			live++
		}
	}
	// If all places are taken, some slots are for keys that come when others are
	// forgotten, whose slots are not free before there is another table.
	more := max(live/5, 4)
	t := newTable[K](min(live+more, s.most+s.enough()), old.words, ks.exact)
	var ends []time.Duration // of the states that end first
	for i := range old.slots {
		id := old.slots[i].id
		if id == 0 {
			continue
		}
		// From here on the old slot admits nothing, and who finds it waits
		// for mu, and looks again.
		word := atomic.SwapUint64(&old.slots[i].word, frozen)
		if word == frozen {
			continue
		}
		at := t.free(id)
		t.slots[at] = slot{id, word}
		copy(t.record(at), old.record(i))
		t.setPlan(at, old.plan(i))
		if t.keys != nil {
			t.keys[at] = old.keys[i]
		}
		if live > s.most-s.enough() {
			ends = s.ending(ends, t, at, plans[t.plan(at)], now)
		}
	}
	s.next = math.MinInt64
	if len(ends) == s.enough() {
		s.next = ends[len(ends)-1]
	}
	if old.words > 0 && live == 0 && !s.carries {
		*s.heap = algorithm.Heap{} // nobody has entries, so their memory need not be swept piece by piece
	}
	s.inUse = live
	s.kept.Store(int32(live))
	s.early.Store(0)
	s.fullUntil.Store(0)
	s.renewals++
	s.table.Store(t)
}

// giveUp freezes the state of a slot, if it is as good as new.
func (s *shard[K]) giveUp(t *table[K], i int, p *plan, now time.Duration) bool {
	cell := &t.slots[i].word
	if p.record != nil {
		if t.word(i) != forgotten {
			if !p.record.Fresh(t.record(i), s.heap, now) {
				return false
			}
			p.record.Free(t.record(i), s.heap)
		}
		atomic.StoreUint64(cell, frozen)
		return true
	}
	for {
		word := atomic.LoadUint64(cell)
		if word != forgotten && !p.word.Fresh(word, now) {
			return false
		}
		if atomic.CompareAndSwapUint64(cell, word, frozen) {
			return true
		}
	}
}

// ending keeps the readings at which enough of the states are as good as new:
// the earliest ones, in order.
func (s *shard[K]) ending(ends []time.Duration, t *table[K], i int, p *plan, now time.Duration) []time.Duration {
	var end time.Duration
	if p.record != nil {
		end = p.record.End(t.record(i), s.heap)
	} else {
		end = after(now, s.state(t, i, p, 0, now).ResetAfter)
	}
	if len(ends) == s.enough() {
		if end >= ends[len(ends)-1] {
			return ends
		}
		ends = ends[:len(ends)-1]
	}
	at, _ := slices.BinarySearch(ends, end)
	return slices.Insert(ends, at, end)
}

// put gives a key without a state one, and a slot if it has none. It requires that
// mu is held and that there is room.
func (s *shard[K]) put(p *place[K], plan *plan, word uint64) (i int) {
	t := s.table.Load()
	s.kept.Add(1)
	s.count()
	if i = t.find(p.id, p.key); i >= 0 {
		atomic.StoreUint64(&t.slots[i].word, word)
		return i
	}
	s.inUse++
	i = t.free(p.id)
	t.setPlan(i, plan.number)
	if t.keys != nil {
		t.keys[i] = p.key
	}
	atomic.StoreUint64(&t.slots[i].word, word)
	atomic.StoreUint64(&t.slots[i].id, p.id)
	return i
}

// earlier counts a refund: it may have made a key as good as new, now or for a
// reading that is earlier than it would have been.
func (s *shard[K]) earlier() {
	if s.count(); int(s.early.Load()) >= s.enough() && s.fullUntil.Load() != 0 {
		s.fullUntil.Store(0)
	}
}

// count counts a key that may end earlier than next knows. Beyond enough there is
// nothing to know.
func (s *shard[K]) count() {
	if int(s.early.Load()) < s.enough() {
		s.early.Add(1)
	}
}

// forget makes a key as good as new under a plan. It requires that mu is held.
func (s *shard[K]) forget(p *plan, at *place[K]) {
	t := s.table.Load()
	i := t.find(at.id, at.key)
	if i < 0 || atomic.SwapUint64(&t.slots[i].word, forgotten) == forgotten {
		return
	}
	if p.record != nil {
		p.record.Free(t.record(i), s.heap)
	}
	s.kept.Add(-1)
	s.fullUntil.Store(0)
}

// hasShared notes that the shared limiter has admitted what may be refunded.
func (s *shard[K]) hasShared(at time.Duration) {
	for {
		latest := s.sharedAt.Load()
		if int64(at) <= latest || s.sharedAt.CompareAndSwap(latest, int64(at)) {
			return
		}
	}
}

// moved waits until the states that are frozen have been moved.
func (s *shard[K]) moved() {
	s.mu.Lock()
	//lint:ignore SA2001 holding it is having waited
	s.mu.Unlock()
}
