package redislimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ratekeep/ratelimit"
)

// maxLeases is how many keys may have a lease. One for which there is no room has
// the server decide on each event.
const maxLeases = 1 << 16

// leases are the events that were taken at once, by key.
type leases struct {
	mu      sync.Mutex
	keys    map[string]*lease
	sweepAt time.Duration // not before this reading of the clock
}

// lease is what was taken for a key. Who is in its turn, which holds one, may
// read and write it.
type lease struct {
	turn  chan struct{}
	left  int                // events that have not been handed out
	taken ratelimit.Decision // by which those were admitted
	until time.Duration      // the reading at which they lapse
	gone  bool               // from the keys

	asking atomic.Bool // whether the one whose turn it is asks the server
}

func newLeases() *leases { return &leases{keys: make(map[string]*lease)} }

// leased answers a question from the key's lease, and takes a new one where that
// does not suffice.
func (l *Limiter) leased(ctx context.Context, key string, q question) (ratelimit.Decision, error) {
	now := l.clock.Now()
	m := l.leases.find(key, now)
	if m == nil {
		return l.request(ctx, key, q)
	}
	if !m.tryEnter() {
		if b := l.breaker(key); m.asking.Load() && b.left(now) > 0 {
			return ratelimit.Decision{N: q.n, Limit: l.most}, l.tooSoon(b, now)
		}
		var stop func()
		ctx, stop = l.timeouts.within(ctx)
		defer stop()
		var err error
		if m, err = l.leases.enter(ctx, key, now); err != nil {
			if errors.Is(err, ErrUnavailable) {
				l.health.failed(err, l.options.Logger, l.clock.Now(), l.options.Cooldown)
			}
			return ratelimit.Decision{N: q.n, Limit: l.most}, err
		}
		if m == nil {
			return l.request(ctx, key, q)
		}
		now = l.clock.Now()
	}
	defer m.exit()
	if now >= m.until {
		m.left = 0
	}
	old, held := m.taken, m.left
	if held < q.n || q.n == 0 {
		m.asking.Store(true)
		defer m.asking.Store(false)
		var stop func()
		ctx, stop = l.timeouts.within(ctx)
		defer stop()
		// A whole lease; or else what is needed.
		n := l.options.Lease
		if !q.take {
			n = max(q.n-held, 0)
		}
		d, err := l.request(ctx, key, question{n: n, take: q.take})
		if err == nil && !d.Allowed && n > q.n-held {
			n = q.n - held
			d, err = l.request(ctx, key, question{n: n, take: true})
		}
		if err == nil && (!d.Allowed || q.n == 0) {
			d.Remaining += held
		}
		if err != nil || !d.Allowed || !q.take {
			d.N = q.n
			return d, err
		}
		m.left, m.taken, m.until = held+n, d, now+l.options.LeaseFor
	}
	d := m.taken
	if 0 < held && held < q.n {
		// Refunded, it counts as if all had been of the older lease: that gives
		// back the less.
		d.At, d.ResetAfter = old.At, old.ResetAfter
	}
	left := m.left - q.n
	if q.take {
		m.left = left
	}
	d.N, d.Remaining = q.n, d.Remaining+left
	return d, nil
}

// enter returns the lease of a key when it is the caller's turn; nil if there is
// no room for one.
func (s *leases) enter(ctx context.Context, key string, now time.Duration) (*lease, error) {
	for {
		m := s.find(key, now)
		if m == nil {
			return nil, nil
		}
		select {
		case m.turn <- struct{}{}:
		case <-ctx.Done():
			if err := callersErr(ctx); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: others asked for the key's lease, and it was not this call's turn within the Timeout", ErrUnavailable)
		}
		if !m.gone {
			return m, nil
		}
		m.exit()
	}
}

// tryEnter is enter without waiting.
func (m *lease) tryEnter() bool {
	select {
	case m.turn <- struct{}{}:
		if !m.gone {
			return true
		}
		m.exit()
	default:
	}
	return false
}

func (m *lease) exit() { <-m.turn }

// find returns the lease of a key, which may be a new one; nil if there is no
// room for one.
func (s *leases) find(key string, now time.Duration) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.keys[key]
	if ok {
		return m
	}
	if len(s.keys) >= maxLeases {
		s.sweep(now)
		if len(s.keys) >= maxLeases {
			return nil
		}
	}
	m = &lease{turn: make(chan struct{}, 1)}
	s.keys[key] = m
	return m
}

// sweep forgets the leases that have lapsed and that nobody uses, if the last
// time is long enough ago. It requires that mu is held.
func (s *leases) sweep(now time.Duration) {
	if now < s.sweepAt {
		return
	}
	s.sweepAt = now + sweepEvery
	for key, m := range s.keys {
		select {
		case m.turn <- struct{}{}:
			if now >= m.until {
				m.gone = true
				delete(s.keys, key)
			}
			m.exit()
		default:
		}
	}
}

// all is the keys that have leases.
func (s *leases) all() (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.keys {
		keys = append(keys, key)
	}
	return keys
}
