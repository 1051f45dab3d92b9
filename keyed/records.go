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
	possible := n > 0 && n <= l.plan.limit && ahead == 0
	if !possible {
		v = peek
	}
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
	other, from := l.elsewhere(p)
	if other != nil {
		l.carryRecord(r, other, from, s, now)
	}
	d = record.Decide(r, s.heap, now, n, ahead, false)
	switch {
	case other == nil && (d.Allowed || !possible) && !s.room(l.keys, now):
		s.deny(v)
		return l.answerFull(p, now, n), full
	case !d.Allowed || v == peek:
		record.Free(r, s.heap)
		if other != nil && possible && !d.Allowed {
			if d = other.record.Decide(t.record(from), s.heap, now, l.plan.asked(n, other), 0, false); d.Allowed {
				// It is only the beginning that is too late, so d is of none.
				d = other.record.Decide(t.record(from), s.heap, now, 0, 0, false)
			}
			d = l.plan.translate(d, n)
		}
		return d, answerOf(&d)
	case other != nil:
		s.forget(other, p.in(other))
		s.carries = true
		s.room(l.keys, now) // there is: the state that has moved has left its place
		s.carries = false
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

// carryRecord is carry for records: it adds to r what was used of the state in a
// slot. It requires that mu is held.
func (l *Limiter[K]) carryRecord(r []uint64, other *plan, i int, s *shard[K], now time.Duration) {
	old := s.table.Load().record(i)
	d := other.record.Decide(old, s.heap, now, 0, 0, false)
	at := other.since(&d)
	if at > now {
		d = other.record.Decide(old, s.heap, at, 0, 0, false)
	}
	if n := min(used(&d), l.plan.limit); n > 0 {
		l.plan.record.Decide(r, s.heap, max(at, s.floor), n, 0, true)
	}
}

func (l *Limiter[K]) refundRecord(p *place[K], d ratelimit.Decision) {
	s, record := p.shard, l.plan.record
	s.mu.Lock()
	t := s.table.Load()
	i := t.find(p.id, p.key)
	if i < 0 || t.word(i) == forgotten {
		s.mu.Unlock()
		return
	}
	record.Refund(t.record(i), s.heap, d)
	s.publish(record, t, i, l.clock.Now())
	s.earlier()
	s.mu.Unlock()
	s.wake(p)
}

func answerOf(d *ratelimit.Decision) answer {
	if d.Allowed {
		return admitted
	}
	return refused
}
