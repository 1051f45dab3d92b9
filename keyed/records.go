package keyed

import (
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// refusing reports whether nothing is admitted for a key whose state is a
// record, without the lock.
func (l *Limiter[K]) refusing(p *place[K]) bool {
	cell := p.shard.cell(p)
	if cell == nil {
		return false
	}
	until := atomic.LoadUint64(cell)
	return until < forgotten && uint64(max(clock.Refreshed(l.clock), 0)) < until
}

// decideRecord answers for n events with others ahead of them, for states that
// are records, and takes them if it is to and they are admitted.
func (l *Limiter[K]) decideRecord(p *place[K], n, ahead int, v verb) (ratelimit.Decision, answer) {
	d, answer := l.decideRecordAt(p, l.clock.Now(), n, ahead, v)
	if coarse, late := l.clock.(*clock.Coarse); late && !d.Allowed {
		// A late reading may grant, but not refuse.
		return l.decideRecordAt(p, coarse.Refresh(), n, ahead, v)
	}
	return d, answer
}

func (l *Limiter[K]) decideRecordAt(p *place[K], now time.Duration, n, ahead int, v verb) (d ratelimit.Decision, _ answer) {
	s, record := p.shard, l.plan.record
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	i := t.find(p.id, p.key)
	if i >= 0 && t.word(i) != forgotten {
		d = record.Decide(t.record(i), s.heap, now, n, ahead, v != peek)
		if d.Allowed && v != peek {
			s.publish(record, t, i, now)
		}
		return d, answerOf(&d)
	}
	if now < s.floor {
		now = max(now, clock.Refreshed(l.clock))
	}
	r := s.scratch[:record.Words()]
	record.Start(r, s.floor)
	moves := l.inheritRecord(p, r, now, v)
	d = record.Decide(r, s.heap, now, n, ahead, false)
	if !moves && d.Allowed && !s.room(l.keys, now) {
		s.deny(v)
		return l.answerFull(p, now, n), full
	}
	if v == peek || !moves && (!d.Allowed || n == 0) {
		record.Free(r, s.heap)
		return d, answerOf(&d)
	}
	if moves {
		s.room(l.keys, now) // there is: the state that has moved has left its place
	}
	i = s.put(p, l.plan, 0)
	t = s.table.Load()
	copy(t.record(i), r)
	d = record.Decide(t.record(i), s.heap, now, n, ahead, true)
	s.publish(record, t, i, now)
	return d, answerOf(&d)
}

// publish tells those who refuse without the lock until when they may. It
// requires that mu is held.
func (s *shard[K]) publish(record algorithm.Record, t *table[K], i int, now time.Duration) {
	until := uint64(record.Until(t.record(i), s.heap, now))
	if t.word(i) != until {
		atomic.StoreUint64(&t.slots[i].word, until)
	}
}

// inheritRecord is inherit for records: it adds to r what the key has used under
// another plan. It requires that shard.mu is held.
func (l *Limiter[K]) inheritRecord(p *place[K], r []uint64, now time.Duration, v verb) (moves bool) {
	s := p.shard
	plans := l.keys.plans()
	if len(plans) == 1 {
		return false
	}
	t := s.table.Load()
	for _, other := range plans {
		if other == l.plan {
			continue
		}
		i := t.find(p.in(other).id, p.key)
		if i < 0 || t.word(i) == forgotten {
			continue
		}
		d := other.record.Decide(t.record(i), s.heap, now, 0, 0, false)
		if v != peek {
			s.forget(other, p.in(other))
		}
		if n := min(used(&d), l.plan.limit); n > 0 {
			l.plan.record.Decide(r, s.heap, max(now, s.floor), n, 0, true)
		}
		return true
	}
	return false
}

func (l *Limiter[K]) refundRecord(plan *plan, p *place[K], d ratelimit.Decision) bool {
	s := p.shard
	s.mu.Lock()
	t := s.table.Load()
	i := t.find(p.id, p.key)
	if i < 0 || t.word(i) == forgotten {
		s.mu.Unlock()
		return false
	}
	now := l.clock.Now()
	plan.record.Refund(t.record(i), s.heap, d)
	s.publish(plan.record, t, i, now)
	if plan.record.Fresh(t.record(i), s.heap, now) {
		s.free()
	}
	s.mu.Unlock()
	s.wake(p)
	return true
}

func answerOf(d *ratelimit.Decision) answer {
	if d.Allowed {
		return admitted
	}
	return refused
}
