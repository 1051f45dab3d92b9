package redislimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/fifo"
)

// Wait is WaitN(ctx, key, 1).
func (l *Limiter) Wait(ctx context.Context, key string) error { return l.WaitN(ctx, key, 1) }

// WaitN blocks until n events are admitted. Those who wait for one key in this
// process are served in order of arrival, and the first of them asks the server
// again whenever its RetryAfter is up, and after a Cooldown at the latest while
// the fallback decides; between processes there is no order. A leaky bucket's
// events leave one by one, Window/Limit apart, and at most its Capacity wait in
// line in this process: beyond that the error wraps [ratelimit.ErrQueueFull]. An
// error means that nothing was admitted; while the server does not answer, or if
// ctx is done during a call, it may have counted them even so. With Refuse a wait
// ends with the error when the server does not decide; with Admit events are
// admitted then, and none is spaced.
func (l *Limiter) WaitN(ctx context.Context, key string, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !possible(n, l.most) {
		if n == 0 {
			return nil
		}
		return fmt.Errorf("redislimit: %w: n is %d, the limit %d", ratelimit.ErrExceedsLimit, n, l.most)
	}
	line := l.lines.join(key)
	defer l.lines.leave(key, line)
	q := question{n: n, take: true, paced: l.paces}
	if line.queue.Empty() {
		if d, err := l.settle(ctx, key, q); err != nil || d.Allowed {
			return err
		}
	}
	var failure error // of the first in line
	request := fifo.Request{
		Events: n,
		Serve: func(int) (time.Duration, bool) {
			var d ratelimit.Decision
			if d, failure = l.settle(ctx, key, q); failure != nil {
				return 0, false
			}
			return l.untilAsked(d), d.Allowed
		},
		Delay: func(ahead, n int) time.Duration {
			d, err := l.settle(ctx, key, question{n: n, ahead: ahead, paced: l.paces})
			if err != nil {
				return 0 // the first in line will find out
			}
			return l.untilAsked(d)
		},
		Sleep: func(ctx context.Context, d time.Duration) error {
			if failure != nil {
				return failure
			}
			return l.clock.Sleep(ctx, d)
		},
	}
	if l.paces {
		request.Room = l.most
	}
	return line.queue.Wait(ctx, request)
}

// untilAsked is how long one in line leaves the server alone. That of a decision
// which the server did not make tells nothing of when the server is back.
func (l *Limiter) untilAsked(d ratelimit.Decision) time.Duration {
	if decidedByServer(d) {
		return d.RetryAfter
	}
	return min(d.RetryAfter, l.options.Cooldown)
}

// lines are the lines of the keys for which somebody waits.
type lines struct {
	waiting atomic.Int64 // how many are in keys

	mu   sync.Mutex
	keys map[string]*line
}

// line is those who wait for a key.
type line struct {
	queue fifo.Queue
	users int // guarded by lines.mu
}

func (s *lines) join(key string) *line {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = make(map[string]*line)
	}
	l, ok := s.keys[key]
	if !ok {
		l = new(line)
		s.keys[key] = l
		s.waiting.Add(1)
	}
	l.users++
	return l
}

func (s *lines) leave(key string, l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(s.keys, key)
		s.waiting.Add(-1)
	}
}

func (s *lines) find(key string) *line {
	if s.waiting.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key]
}

// ahead is how many events wait for a key.
func (s *lines) ahead(key string) int {
	if l := s.find(key); l != nil {
		return l.queue.Ahead()
	}
	return 0
}

// wake has the first in line for a key ask again.
func (s *lines) wake(key string) {
	if l := s.find(key); l != nil {
		l.queue.Wake()
	}
}
