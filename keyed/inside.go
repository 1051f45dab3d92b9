package keyed

import (
	"cmp"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// Stats are counts of a table, over all its plans.
type Stats struct {
	Keys     int   // that are kept, as [Limiter.Len]
	Active   int   // of these, those that are not as good as new
	MaxKeys  int   // that may be kept
	Renewals int64 // how often a part of the table was made anew, to grow or to forget keys
	NoPlace  int64 // decisions that found no place for a new key; under [Share], those that shared
}

// Stats counts. It looks at every key, a part of the table after the other, and
// costs nothing else.
func (l *Limiter[K]) Stats() Stats {
	st := Stats{MaxKeys: l.keys.maxKeys}
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		s.mu.Lock()
		st.Keys += int(s.kept.Load())
		st.Renewals += s.renewals
		st.NoPlace += s.denied.Load()
		now := l.clock.Now()
		s.each(l.keys, func(t *table[K], i int, p *plan) {
			if !s.fresh(t, i, p, now) {
				st.Active++
			}
		})
		s.mu.Unlock()
	}
	return st
}

// Lookup answers what [Limiter.Peek] of one event says of a key that is kept, and
// reports whether it is. One that is not is as good as new, whether or not there
// is a place for it.
func (l *Limiter[K]) Lookup(k K) (d ratelimit.Decision, ok bool) {
	var p place[K]
	l.find(k, &p)
	for _, plan := range l.keys.plans() {
		at := &p
		if plan != l.plan {
			at = p.in(plan)
		}
		if p.shard.has(at) {
			d, answer := l.take(&p, 1, p.shard.ahead(&p), peek)
			return d, answer != full
		}
	}
	return ratelimit.Decision{N: 1, Limit: l.plan.limit, At: l.clock.Now(), Allowed: true, Remaining: l.plan.limit - 1}, false
}

// has reports whether a key has a state.
func (s *shard[K]) has(p *place[K]) bool {
	for {
		cell := s.cell(p)
		if cell == nil {
			return false
		}
		switch atomic.LoadUint64(cell) {
		case forgotten:
			return false
		case frozen:
			s.moved()
		default:
			return true
		}
	}
}

// Refused iterates over the keys that are refused now, with what [Limiter.Peek]
// of one event says of each. Keys have names only under [Options.Exact]: without
// it each is the zero K, and the decisions are right all the same.
//
// It copies a part of the table at a time, so other calls are not held up for
// longer than by its growth, and the loop's body may call any method.
func (l *Limiter[K]) Refused() iter.Seq2[K, ratelimit.Decision] {
	return func(yield func(K, ratelimit.Decision) bool) {
		l.scan(func(found []busy[K]) bool {
			for _, b := range found {
				if !b.Allowed && !yield(b.key, b.Decision) {
					return false
				}
			}
			return true
		})
	}
}

// Busiest iterates over the n keys that have used the largest part of their
// limit, from the busiest on, as [Limiter.Refused] does.
func (l *Limiter[K]) Busiest(n int) iter.Seq2[K, ratelimit.Decision] {
	return func(yield func(K, ratelimit.Decision) bool) {
		var top []busy[K]
		l.scan(func(found []busy[K]) bool {
			top = append(top, found...)
			slices.SortFunc(top, busier)
			top = top[:min(max(n, 0), len(top))]
			return true
		})
		for _, b := range top {
			if !yield(b.key, b.Decision) {
				return
			}
		}
	}
}

// busy is a key that is not as good as new.
type busy[K comparable] struct {
	key K
	ratelimit.Decision
}

// busier orders by the part of the limit that is used, and then by how long that
// will last.
func busier[K comparable](a, b busy[K]) int {
	// In floating point, because it is an order and not a decision.
	used := func(b busy[K]) float64 { return float64(b.Limit-b.Remaining) / float64(b.Limit) }
	return cmp.Or(cmp.Compare(used(b), used(a)), cmp.Compare(b.RetryAfter, a.RetryAfter), cmp.Compare(b.ResetAfter, a.ResetAfter))
}

// scan calls f with the keys that are not as good as new, a part of the table at
// a time, until it returns false.
func (l *Limiter[K]) scan(f func([]busy[K]) bool) {
	var found []busy[K]
	for i := range l.keys.shards {
		s := &l.keys.shards[i]
		found = found[:0]
		s.mu.Lock()
		now := l.clock.Now()
		s.each(l.keys, func(t *table[K], i int, p *plan) {
			if s.fresh(t, i, p, now) {
				return
			}
			b := busy[K]{Decision: s.state(t, i, p, 1, now)}
			if t.keys != nil {
				b.key = t.keys[i]
			}
			found = append(found, b)
		})
		s.mu.Unlock()
		if !f(found) {
			return
		}
	}
}

// each calls f for every slot with a state. It requires that mu is held.
func (s *shard[K]) each(ks *keys[K], f func(t *table[K], i int, p *plan)) {
	t, plans := s.table.Load(), ks.plans()
	for i := range t.slots {
		if t.slots[i].id != 0 && t.word(i) != forgotten {
			f(t, i, plans[t.plan(i)])
		}
	}
}

// fresh reports whether the state of a slot is as good as new. It requires that
// mu is held, and that there is one.
func (s *shard[K]) fresh(t *table[K], i int, p *plan, now time.Duration) bool {
	if p.record != nil {
		return p.record.Fresh(t.record(i), s.heap, now)
	}
	return p.word.Fresh(t.word(i), now)
}

// state is what Peek says of n events for a slot. It requires that mu is held, and
// that there is a state.
func (s *shard[K]) state(t *table[K], i int, p *plan, n int, now time.Duration) ratelimit.Decision {
	if p.record != nil {
		return p.record.Decide(t.record(i), s.heap, now, n, 0, false)
	}
	word, ok := p.word.Take(t.word(i), now, n)
	return p.word.Answer(word, now, n, algorithm.Line{}, ok)
}
