package httplimit

import (
	"context"
	"fmt"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// backend is a Store whose keys need not be strings, and whose keys and decisions
// are not copied on the way.
type backend interface {
	take(ctx context.Context, k *key, n int, d *ratelimit.Decision) error
	peek(ctx context.Context, k *key, n int, d *ratelimit.Decision) error
	refund(ctx context.Context, k *key, d *ratelimit.Decision) error

	// lookup is peek of one for a key that has a count of its own, and reports
	// whether it has.
	lookup(ctx context.Context, k *key, d *ratelimit.Decision) (ok bool, err error)

	reset(ctx context.Context, k *key) error
}

// memory is the backend of this process.
type memory struct {
	limiter *keyed.Limiter[key]
}

func newMemory(s Spec, o keyed.Options, c clock.Clock) (memory, error) {
	config, err := s.config(c)
	if err != nil {
		return memory{}, err
	}
	l, err := keyed.New[key](config, o)
	return memory{l}, err
}

// with is a view of m under another plan.
func (m memory) with(s Spec, c clock.Clock) (memory, error) {
	config, err := s.config(c)
	if err != nil {
		return memory{}, err
	}
	l, err := m.limiter.With(config)
	return memory{l}, err
}

func (m memory) take(_ context.Context, k *key, n int, d *ratelimit.Decision) error {
	*d = m.limiter.Take(*k, n)
	return nil
}

func (m memory) peek(_ context.Context, k *key, n int, d *ratelimit.Decision) error {
	*d = m.limiter.Peek(*k, n)
	return nil
}

func (m memory) lookup(_ context.Context, k *key, d *ratelimit.Decision) (ok bool, err error) {
	*d, ok = m.limiter.Lookup(*k)
	return ok, nil
}

func (m memory) refund(_ context.Context, k *key, d *ratelimit.Decision) error {
	m.limiter.Refund(*k, *d)
	return nil
}

func (m memory) reset(_ context.Context, k *key) error {
	m.limiter.Forget(*k)
	return nil
}

// config is the spec as the algorithm's package puts it.
func (s Spec) config(c clock.Clock) (keyed.Config, error) {
	if s.Burst != 0 && s.Strategy != TokenBucket && s.Strategy != LeakyBucket {
		return nil, fmt.Errorf("a %s has no Burst, which is %d", s.Strategy, s.Burst)
	}
	switch s.Strategy {
	case TokenBucket:
		return tokenbucket.Config{Limit: s.Count, Window: s.Window, Burst: s.Burst, Clock: c}, nil
	case LeakyBucket:
		return leakybucket.Config{Limit: s.Count, Window: s.Window, Capacity: s.Burst, Clock: c}, nil
	case FixedWindow:
		return fixedwindow.Config{Limit: s.Count, Window: s.Window, Clock: c}, nil
	case SlidingWindow:
		return slidingwindow.Config{Limit: s.Count, Window: s.Window, Clock: c}, nil
	case SlidingLog:
		return slidinglog.Config{Limit: s.Count, Window: s.Window, Clock: c}, nil
	}
	return nil, fmt.Errorf("there is no Strategy %d", s.Strategy)
}

// shared is the backend of a Store.
type shared struct {
	store Store
}

func (s shared) take(ctx context.Context, k *key, n int, d *ratelimit.Decision) (err error) {
	*d, err = s.store.Take(ctx, k.String(), n)
	return err
}

func (s shared) peek(ctx context.Context, k *key, n int, d *ratelimit.Decision) (err error) {
	*d, err = s.store.Peek(ctx, k.String(), n)
	return err
}

func (s shared) lookup(ctx context.Context, k *key, d *ratelimit.Decision) (ok bool, err error) {
	err = s.peek(ctx, k, 1, d)
	return err == nil, err
}

func (s shared) refund(ctx context.Context, k *key, d *ratelimit.Decision) error {
	return s.store.Refund(ctx, k.String(), *d)
}

func (s shared) reset(ctx context.Context, k *key) error {
	return s.store.Reset(ctx, k.String())
}
