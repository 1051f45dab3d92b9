package keyed

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/algorithm"
)

// verb is what is asked of a state.
type verb int

const (
	peek verb = iota
	take
	serve // take, for the first in line
)

// answer is the outcome of a decision.
type answer int

const (
	refused answer = iota
	admitted
	full  // refused, because there is no place for the key
	again // undecided, because somebody else was faster
)

// allow admits n events if nobody waits for them. It requires that n is
// possible.
func (l *Limiter[K]) allow(p *place[K], n int) answer {
	if p.shard.ahead(p).Events > 0 {
		return refused
	}
	if l.plan.record == nil {
		_, _, answer := l.decide(p, n, take)
		return answer
	}
	if l.refusing(p) {
		return refused
	}
	_, answer := l.decideRecord(p, n, 0, take)
	return answer
}

// take answers for n events with others ahead of them, and takes them if it is to
// and they are admitted.
func (l *Limiter[K]) take(p *place[K], n int, ahead algorithm.Line, v verb) (ratelimit.Decision, answer) {
	if l.plan.record != nil {
		return l.decideRecord(p, n, ahead.Events, v)
	}
	asked := n
	if n < 1 || n > l.plan.limit || ahead.Events > 0 {
		asked, v = 0, peek
	}
	word, now, answer := l.decide(p, asked, v)
	if answer == full {
		return l.answerFull(p, now, n), full
	}
	return l.plan.word.Answer(word, now, n, ahead, answer == admitted && asked == n), answer
}

// serve takes n events for the first in line. Otherwise it tells the wait after
// which that may be possible.
func (l *Limiter[K]) serve(p *place[K], n int) (wait time.Duration, _ answer) {
	if l.plan.record != nil {
		d, answer := l.decideRecord(p, n, 0, serve)
		return d.RetryAfter, answer
	}
	word, now, answer := l.decide(p, n, serve)
	if answer == admitted || answer == full {
		return 0, answer
	}
	return l.plan.word.Delay(word, now, 0, n), answer
}

// delay is the wait for n events behind others in line.
func (l *Limiter[K]) delay(p *place[K], ahead, n int) time.Duration {
	if l.plan.record != nil {
		d, _ := l.decideRecord(p, n, ahead, peek)
		return d.RetryAfter
	}
	word, now, _ := l.decide(p, 0, peek)
	return l.plan.word.Delay(word, now, ahead, n)
}

// decide is the loop around the pure function, for states of one word. It
// returns the state after the decision, and the clock reading of it. It requires
// that n is possible, or 0.
func (l *Limiter[K]) decide(p *place[K], n int, v verb) (word uint64, now time.Duration, _ answer) {
	now = l.clock.Now()
	coarse, late := l.clock.(*clock.Coarse)
	if late && n == 0 {
		now, late = coarse.Refresh(), false
	}
	for {
		answer := again
		cell := p.shard.cell(p)
		if cell == nil {
			if int64(now) < p.shard.fullUntil.Load() && len(l.keys.plans()) == 1 {
				p.shard.deny(v)
				return 0, now, full
			}
			word, now, answer = l.insert(p, now, n, v)
		} else if word = atomic.LoadUint64(cell); word >= forgotten {
			word, now, answer = l.insert(p, now, n, v)
		} else if next, ok := l.next(word, now, n, v); !ok {
			answer = refused
		} else if v == peek || atomic.CompareAndSwapUint64(cell, word, next) {
			word, answer = next, admitted
		}
		switch {
		case answer == again:
		case answer == refused && late:
			// A late reading may grant, but not refuse.
			now, late = coarse.Refresh(), false
		default:
			return word, now, answer
		}
	}
}

// next is the algorithm.
func (l *Limiter[K]) next(word uint64, now time.Duration, n int, v verb) (next uint64, ok bool) {
	if v == serve {
		return l.plan.word.Serve(word, now, n)
	}
	return l.plan.word.Take(word, now, n)
}

// cell returns the word of a key, or nil.
func (s *shard[K]) cell(p *place[K]) *uint64 {
	t := s.table.Load()
	if i := t.find(p.id, p.key); i >= 0 {
		return &t.slots[i].word
	}
	return nil
}

// insert decides for a key that has no state, or whose state is being moved. If
// it admits, it gives the key a slot.
func (l *Limiter[K]) insert(p *place[K], now time.Duration, n int, v verb) (word uint64, at time.Duration, _ answer) {
	s := p.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.table.Load()
	i := t.find(p.id, p.key)
	if i >= 0 && t.word(i) != forgotten {
		return 0, now, again
	}
	if now < s.floor {
		// Keys were forgotten since the clock was read.
		now = max(now, clock.Refreshed(l.clock))
	}
	word, moves := l.inherit(p, l.plan.word.Start(s.floor), now, v)
	next, ok := l.next(word, now, n, v)
	if !ok {
		next = word
	}
	switch {
	case !ok && (v == peek || !moves):
		return word, now, refused
	case v == peek && moves:
		return next, now, admitted
	case !s.room(l.keys, now):
		s.deny(v)
		return 0, now, full
	case v == peek || n == 0:
		return next, now, admitted
	}
	s.put(p, l.plan, next)
	if !ok {
		return word, now, refused
	}
	return next, now, admitted
}

// inherit is the state that a key begins with which may have another under
// another plan: that one, put in terms of this plan. Unless it is to peek, the
// other is taken away. It requires that shard.mu is held.
func (l *Limiter[K]) inherit(p *place[K], start uint64, now time.Duration, v verb) (word uint64, moves bool) {
	plans := l.keys.plans()
	if len(plans) == 1 {
		return start, false
	}
	t := p.shard.table.Load()
	for _, other := range plans {
		if other == l.plan {
			continue
		}
		i := t.find(p.in(other).id, p.key)
		if i < 0 {
			continue
		}
		old := t.word(i)
		if v != peek {
			old = atomic.SwapUint64(&t.slots[i].word, forgotten)
		}
		if old == forgotten {
			continue
		}
		if v != peek {
			p.shard.kept.Add(-1)
		}
		d := other.word.Answer(old, now, 0, algorithm.Line{}, true)
		// As of the floor at least: a key without a state was as good as new
		// then, so this cannot be refused.
		if n := min(used(&d), l.plan.limit); n > 0 {
			start, _ = l.plan.word.Take(start, max(now, p.shard.floor), n)
		}
		return start, true
	}
	return start, false
}

// deny counts a key that finds no place.
func (s *shard[K]) deny(v verb) {
	if v != peek {
		s.denied.Add(1)
	}
}

// answerFull is the decision on n events of a key that finds no place.
func (l *Limiter[K]) answerFull(p *place[K], now time.Duration, n int) ratelimit.Decision {
	wait := max(time.Duration(p.shard.fullUntil.Load())-max(now, 0), 1)
	d := ratelimit.Decision{Allowed: n == 0, N: n, At: now, Limit: l.plan.limit, ResetAfter: wait}
	switch {
	case n < 0 || n > l.plan.limit:
		d.RetryAfter = ratelimit.Never
	case n > 0:
		d.RetryAfter = wait
	}
	return d
}

// refund gives back what d took from the state that a key has under a plan, and
// reports whether it has one.
func (l *Limiter[K]) refund(plan *plan, p *place[K], d ratelimit.Decision) bool {
	d.N = min(d.N, plan.limit)
	if plan.record != nil {
		return l.refundRecord(plan, p, d)
	}
	s := p.shard
	for {
		cell := s.cell(p)
		if cell == nil {
			return false
		}
		// The state before the clock: what the word holds by then was not
		// decided at a later reading.
		word := atomic.LoadUint64(cell)
		switch word {
		case forgotten:
			return false
		case frozen:
			s.moved()
			continue
		}
		now := l.clock.Now()
		next := plan.word.Refund(word, now, d)
		if next == word {
			return true
		}
		if atomic.CompareAndSwapUint64(cell, word, next) {
			if plan.word.Fresh(next, now) {
				s.free()
			}
			s.wake(p)
			return true
		}
	}
}

// after is the reading so long after another.
func after(now, wait time.Duration) time.Duration {
	if sum := now + wait; sum >= now {
		return sum
	}
	return math.MaxInt64
}
