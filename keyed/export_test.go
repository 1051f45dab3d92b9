package keyed

import (
	"math"
	"time"
	"unsafe"
)

func (l *Limiter[K]) placeOf(k K) (p place[K]) {
	l.find(k, &p)
	return p
}

// Kept reports whether the key has a state under the plan.
func (l *Limiter[K]) Kept(k K) bool {
	p := l.placeOf(k)
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	t := p.shard.table.Load()
	i := t.find(p.id, p.key)
	return i >= 0 && t.word(i) != forgotten
}

// Floor is the latest reading at which keys have been forgotten in the part of
// the table in which the key is.
func (l *Limiter[K]) Floor(k K) time.Duration {
	p := l.placeOf(k)
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	return p.shard.floor
}

// SharedFloor is Floor for the limiter that keys without a place share.
func (l *Limiter[K]) SharedFloor() time.Duration {
	l.keys.overflow.mu.Lock()
	defer l.keys.overflow.mu.Unlock()
	return l.keys.overflow.floor
}

// NoPlaces leaves no place for any key.
func (l *Limiter[K]) NoPlaces() {
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.mu.Lock()
		s.most, s.next = 0, math.MaxInt64
		s.mu.Unlock()
	}
}

// Renew makes the part of the table anew in which the key is.
func (l *Limiter[K]) Renew(k K) {
	p := l.placeOf(k)
	p.shard.mu.Lock()
	defer p.shard.mu.Unlock()
	p.shard.renew(l.keys, l.clock.Now())
}

// Lines counts the lines of those who wait, and the bits that tell of them.
func (l *Limiter[K]) Lines() (lines int, bits uint64) {
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.lines.mu.Lock()
		lines += len(s.lines.of)
		bits |= s.waiting.Load()
		s.lines.mu.Unlock()
	}
	return lines, bits
}

// Told reports whether the bits tell of every line.
func (l *Limiter[K]) Told() bool {
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.lines.mu.Lock()
		for o := range s.lines.of {
			if s.waiting.Load()&bit(o.hash) == 0 {
				s.lines.mu.Unlock()
				return false
			}
		}
		s.lines.mu.Unlock()
	}
	return true
}

// Parts is how many parts the table has, and of how many keys the one is that
// has the most.
func (l *Limiter[K]) Parts() (parts, most int) {
	for i := range l.keys.shards {
		most = max(most, l.keys.shards[i].most)
	}
	return len(l.keys.shards), most
}

// Memory is the bytes of the table and how many arrays they are in, those of
// the heap included.
func (l *Limiter[K]) Memory() (bytes, arrays int) {
	bytes += len(l.keys.shards) * int(unsafe.Sizeof(shard[K]{}))
	arrays++
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.mu.Lock()
		b, a := s.table.Load().memory()
		bytes, arrays = bytes+b, arrays+a
		if s.heap != nil {
			bytes += s.heap.Chunks() << 10
			arrays += s.heap.Chunks()
		}
		s.mu.Unlock()
	}
	return bytes, arrays
}

func (t *table[K]) memory() (bytes, arrays int) {
	var k K
	for _, size := range []int{
		cap(t.slots) * int(unsafe.Sizeof(slot{})),
		cap(t.records) * 8,
		cap(t.plans),
		cap(t.keys) * int(unsafe.Sizeof(k)),
	} {
		if size > 0 {
			bytes += size
			arrays++
		}
	}
	return bytes, arrays + 1
}

// LeastFull is the bytes for each kept key in the part of the table where they
// are the most, of those that keep at least so many.
func (l *Limiter[K]) LeastFull(keys int) (bytes float64) {
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.mu.Lock()
		b, _ := s.table.Load().memory()
		if kept := int(s.kept.Load()); kept >= keys {
			bytes = max(bytes, float64(b)/float64(kept))
		}
		s.mu.Unlock()
	}
	return bytes
}

// Check tells what is wrong with the table, or "".
func (l *Limiter[K]) Check() string {
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.mu.Lock()
		wrong := s.check(l.keys)
		s.mu.Unlock()
		if wrong != "" {
			return wrong
		}
	}
	return ""
}

// check requires that mu is held.
func (s *shard[K]) check(ks *keys[K]) string {
	t := s.table.Load()
	used, kept := 0, 0
	for i := range t.slots {
		id, word := t.slots[i].id, t.word(i)
		if id == 0 {
			continue
		}
		used++
		var k K
		if t.keys != nil {
			k = t.keys[i]
		}
		switch {
		case word == frozen:
			return "a state is frozen in the table that is in use"
		case int(t.plan(i)) >= len(ks.plans()):
			return "a state is of no plan"
		case t.find(id, k) != i && k == k:
			return "a slot is not found, or twice there"
		case word != forgotten:
			kept++
		}
	}
	switch {
	case used != s.inUse:
		return "the slots in use are miscounted"
	case kept != int(s.kept.Load()):
		return "the keys are miscounted"
	case kept > s.most:
		return "there are too many keys"
	case used >= len(t.slots):
		return "no slot is empty"
	}
	return ""
}

// TakeAs is AllowN for a key as if it had another hash, in the first part of the
// table.
func (l *Limiter[K]) TakeAs(hash uint64, k K, n int) bool {
	p := place[K]{shard: &l.keys.shards[0], hash: hash, id: id(hash, l.plan), key: k}
	return l.allow(&p, n) == admitted
}

// Hash is by what the key is found.
func (l *Limiter[K]) Hash(k K) uint64 { return l.placeOf(k).hash }
