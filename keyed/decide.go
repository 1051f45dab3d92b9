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
	if other := p.under; other != nil {
		p.under = nil
		d := other.word.Answer(word, now, l.plan.asked(n, other), algorithm.Line{}, false)
		return l.plan.translate(d, n), refused
	}
	// None are admitted also at a reading so late that nothing conforms.
	ok := n == 0 || answer == admitted && asked == n
	return l.plan.word.Answer(word, now, n, ahead, ok), answer
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
	if other := p.under; other != nil {
		p.under = nil
		return other.word.Delay(word, now, 0, l.plan.asked(n, other)), answer
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
			if p.shard.fullAt(now) && len(l.keys.plans()) == 1 && p.shard.cell(p) == nil {
				answer = full // the key still has no place, which it may have been the last to get
			} else {
				word, now, answer = l.insert(p, now, n, v)
			}
		} else if word = atomic.LoadUint64(cell); word >= forgotten {
			word, now, answer = l.insert(p, now, n, v)
		} else if next, ok := l.next(word, now, n, v); !ok {
			answer = refused
		} else if v == peek || atomic.CompareAndSwapUint64(cell, word, next) {
			word, answer = next, admitted
		}
		switch {
		case answer == again:
		case answer != admitted && late:
			// A late reading may grant, but not refuse.
			now, late, p.under = coarse.Refresh(), false, nil
		case answer == full:
			p.shard.deny(v)
			return 0, now, full
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
	word = l.plan.word.Start(s.floor)
	other, i := l.elsewhere(p)
	var old uint64
	if other != nil {
		old = t.word(i)
		word = l.carry(word, other, old, now, s.floor)
	}
	next, ok := l.next(word, now, n, v)
	if n == 0 {
		next, ok = word, true // also at a reading so late that nothing conforms
	}
	switch {
	case !ok && other != nil:
		p.under = other
		return old, now, refused
	case !ok:
		return word, now, refused
	case other == nil && !s.room(l.keys, now):
		return 0, now, full
	case v == peek || n == 0:
		return next, now, admitted
	case other != nil && !atomic.CompareAndSwapUint64(&t.slots[i].word, old, forgotten):
		return 0, now, again
	case other != nil:
		s.kept.Add(-1)
		s.room(l.keys, now) // there is: the state that has moved has left its place
	}
	s.put(p, l.plan, next)
	return next, now, admitted
}

// elsewhere returns the plan under which the key has a state, if that is another
// one, and its slot; nil if there is none. It requires that shard.mu is held.
func (l *Limiter[K]) elsewhere(p *place[K]) (other *plan, i int) {
	plans := l.keys.plans()
	if len(plans) == 1 {
		return nil, -1
	}
	t := p.shard.table.Load()
	for _, other := range plans {
		if other == l.plan {
			continue
		}
		if i := t.find(p.in(other).id, p.key); i >= 0 && t.word(i) != forgotten {
			return other, i
		}
	}
	return nil, -1
}

// carry is the state start after what was used of another under another plan.
func (l *Limiter[K]) carry(start uint64, other *plan, old uint64, now, floor time.Duration) uint64 {
	d := other.word.Answer(old, now, 0, algorithm.Line{}, true)
	at := other.since(&d)
	if at > now {
		d = other.word.Answer(old, at, 0, algorithm.Line{}, true)
	}
	// As of the floor at least: a key without a state was as good as new
	// then, so this cannot be refused.
	if n := min(used(&d), l.plan.limit); n > 0 {
		start, _ = l.plan.word.Take(start, max(at, floor), n)
	}
	return start
}

// fullAt reports whether no new key finds a place at a reading.
func (s *shard[K]) fullAt(now time.Duration) bool {
	return int64(max(now, 0)) < s.fullUntil.Load()
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

// refund gives back what d took from the state that a key has.
func (l *Limiter[K]) refund(p *place[K], d ratelimit.Decision) {
	if l.plan.record != nil {
		l.refundRecord(p, d)
		return
	}
	s := p.shard
	for {
		cell := s.cell(p)
		if cell == nil {
			return
		}
		// The state before the clock: what the word holds by then was not
		// decided at a later reading.
		word := atomic.LoadUint64(cell)
		switch word {
		case forgotten:
			return
		case frozen:
			s.moved()
			continue
		}
		next := l.plan.word.Refund(word, l.clock.Now(), d)
		if next == word {
			return
		}
		if atomic.CompareAndSwapUint64(cell, word, next) {
			s.earlier()
			s.wake(p)
			return
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
