package keyed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ratekeep/ratelimit/internal/algorithm"
	"github.com/ratekeep/ratelimit/internal/fifo"
)

// lines are those of a shard who wait, in one line for each key, whatever plans
// they wait under. A line exists while somebody is in it. A bit of shard.waiting
// tells that there may be one for a key, so that the others need not look.
type lines[K comparable] struct {
	mu sync.Mutex
	of map[owner[K]]*line
}

type owner[K comparable] struct {
	hash uint64
	key  K
}

type line struct {
	queue fifo.Queue
	users int // guarded by lines.mu
}

// bit is that of a key in shard.waiting.
func bit(hash uint64) uint64 { return 1 << (hash >> 32 & 63) }

// line returns the line of a key, or nil if nobody waits for it.
func (s *shard[K]) line(p *place[K]) *line {
	if s.waiting.Load()&bit(p.hash) == 0 {
		return nil
	}
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	return s.lines.of[owner[K]{p.hash, p.key}]
}

// ahead is the events that wait in line for the key.
func (s *shard[K]) ahead(p *place[K]) (ahead algorithm.Line) {
	if l := s.line(p); l != nil {
		if n := l.queue.Ahead(); n > 0 {
			return algorithm.Line{Events: n, Here: n, Last: l.queue.Last()}
		}
	}
	return algorithm.Line{}
}

// wake makes the first in line for the key ask again.
func (s *shard[K]) wake(p *place[K]) {
	if l := s.line(p); l != nil {
		l.queue.Wake()
	}
}

// join returns the line of a key. The caller leaves it.
func (s *shard[K]) join(p *place[K]) *line {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	l := s.lines.of[owner[K]{p.hash, p.key}]
	if l == nil {
		if s.lines.of == nil {
			s.lines.of = map[owner[K]]*line{}
		}
		l = &line{}
		s.lines.of[owner[K]{p.hash, p.key}] = l
		s.waiting.Or(bit(p.hash))
	}
	l.users++
	return l
}

func (s *shard[K]) leave(p *place[K], l *line) {
	s.lines.mu.Lock()
	defer s.lines.mu.Unlock()
	if l.users--; l.users > 0 {
		return
	}
	delete(s.lines.of, owner[K]{p.hash, p.key})
	for other := range s.lines.of {
		if bit(other.hash) == bit(p.hash) {
			return
		}
	}
	s.waiting.And(^bit(p.hash))
}

// serveAtOnce admits n events as if for the first in line, if nobody is.
func (l *Limiter[K]) serveAtOnce(p *place[K], n int) answer {
	if p.shard.ahead(p).Events > 0 {
		return refused
	}
	_, answer := l.serve(p, n)
	return answer
}

// wait waits in line for n events of a key.
func (l *Limiter[K]) wait(ctx context.Context, at place[K], n int) error {
	p := &at
	ln := p.shard.join(p)
	defer p.shard.leave(p, ln)
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	err := ln.queue.Wait(ctx, fifo.Request{
		Events: n,
		Room:   l.plan.room,
		Serve: func(n int) (time.Duration, bool) {
			wait, answer := l.serve(p, n)
			if answer == full {
				giveUp(l.errFull())
			}
			return wait, answer == admitted
		},
		Delay: func(ahead, n int) time.Duration { return l.delay(p, ahead, n) },
		Sleep: l.clock.Sleep,
	})
	if err != nil && errors.Is(context.Cause(ctx), ErrFull) {
		return context.Cause(ctx)
	}
	return err
}

func (l *Limiter[K]) errFull() error {
	return fmt.Errorf("%w: MaxKeys %d are active", ErrFull, l.keys.maxKeys)
}
