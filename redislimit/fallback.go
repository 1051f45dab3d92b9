package redislimit

import (
	"crypto/sha256"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

const (
	// maxFallbackKeys is how many keys the fallback keeps. It refuses a key
	// for which it has no room.
	maxFallbackKeys = 1 << 16

	// sweepEvery is how often it looks for keys that are as good as new.
	sweepEvery = time.Second
)

// withoutServer is the decision that the options choose when the server makes
// none, for the reason err.
func (l *Limiter) withoutServer(key string, q question, err error) (ratelimit.Decision, error) {
	now := l.clock.Now()
	d := ratelimit.Decision{N: q.n, At: now, Limit: l.most}
	soon := l.breaker(key).left(now)
	if soon == 0 {
		soon = l.options.Cooldown
	}
	switch {
	case q.n != 0 && !possible(q.n, l.most):
		d.RetryAfter = ratelimit.Never
	case l.options.WhenDown == Refuse:
		d.RetryAfter = soon
	case l.options.WhenDown == Admit:
		d.Allowed = true
		d.Remaining = l.most - q.n
	default:
		if d = l.fallback.decide(key, q, now); d.RetryAfter == ratelimit.Never {
			d.RetryAfter = soon // the server may admit what the share does not
		}
	}
	if l.options.WhenDown == Refuse {
		return d, err
	}
	return d, nil
}

// fallback is a limiter in this process for each key, with its share.
type fallback struct {
	configs []func() (refundLimiter, error) // makes the limiters of a key
	paces   []bool                          // of each, whether it spaces those who wait
	most    int

	mu      sync.Mutex
	clock   frozen // theirs
	keys    map[name][]refundLimiter
	sweepAt time.Duration // not before this reading of the clock
}

// frozen is a clock that stands still while a decision is made, so that all the
// limiters of a key, each asked more than once, make it at the same reading.
type frozen struct {
	clock.Clock
	now time.Duration
}

func (c *frozen) Now() time.Duration { return c.now }

// name is what a key is kept by: a long one by its digest.
type name struct {
	of     string
	digest bool
}

func named(key string) name {
	if len(key) > maxKept {
		sum := sha256.Sum256([]byte(key))
		return name{string(sum[:]), true}
	}
	return name{key, false}
}

type refundLimiter interface {
	ratelimit.Limiter
	ratelimit.Refunder
	ratelimit.Resetter
}

func newFallback(configs []any, share int, c clock.Clock) (*fallback, error) {
	f := &fallback{most: math.MaxInt, clock: frozen{Clock: c}, keys: make(map[name][]refundLimiter)}
	for _, config := range configs {
		var make func() (refundLimiter, error)
		switch config := config.(type) {
		case tokenbucket.Config:
			if config.Burst == 0 {
				config.Burst = config.Limit
			}
			config.Clock, config.Burst = &f.clock, max(config.Burst/share, 1)
			config.Limit, config.Window = part(config.Limit, config.Window, share)
			make = func() (refundLimiter, error) { return tokenbucket.New(config) }
		case leakybucket.Config:
			if config.Capacity == 0 {
				config.Capacity = config.Limit
			}
			config.Clock, config.Capacity = &f.clock, max(config.Capacity/share, 1)
			config.Limit, config.Window = part(config.Limit, config.Window, share)
			make = func() (refundLimiter, error) { return leakybucket.New(config) }
		case fixedwindow.Config:
			config.Clock = &f.clock
			config.Limit, config.Window = part(config.Limit, config.Window, share)
			make = func() (refundLimiter, error) { return fixedwindow.New(config) }
		case slidingwindow.Config:
			config.Clock = &f.clock
			config.Limit, config.Window = part(config.Limit, config.Window, share)
			make = func() (refundLimiter, error) { return slidingwindow.New(config) }
		case slidinglog.Config:
			config.Clock = &f.clock
			config.Limit, config.Window = part(config.Limit, config.Window, share)
			make = func() (refundLimiter, error) { return slidinglog.New(config) }
		}
		l, err := make()
		if err != nil {
			return nil, fmt.Errorf("redislimit: Share %d: %w", share, err)
		}
		_, paces := config.(leakybucket.Config)
		f.configs, f.paces = append(f.configs, make), append(f.paces, paces)
		f.most = min(f.most, l.Peek(0).Limit)
	}
	return f, nil
}

// part is a limit of which share make no more than the whole: so many events, or
// one in so many windows.
func part(limit int, window time.Duration, share int) (int, time.Duration) {
	if limit >= share {
		return limit / share, window
	}
	windows := time.Duration((share-1)/limit + 1)
	if window > math.MaxInt64/windows {
		return 1, math.MaxInt64 // too long for any limiter
	}
	return 1, window * windows
}

// decide is the decision of a key's own limiters.
func (f *fallback) decide(key string, q question, now time.Duration) ratelimit.Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock.now = now
	limiters := f.limiters(named(key), now)
	if limiters == nil {
		return ratelimit.Decision{N: q.n, At: now, Limit: f.most, RetryAfter: sweepEvery}
	}
	var worst ratelimit.Decision
	for i, l := range limiters {
		d := l.Peek(q.n)
		if idle := l.Peek(0).ResetAfter; q.paced && f.paces[i] && d.Allowed && idle > 0 {
			d.Allowed, d.RetryAfter = false, idle
		}
		if i == 0 || d.RetryAfter > worst.RetryAfter || d.RetryAfter == worst.RetryAfter && d.Remaining < worst.Remaining {
			worst = d
		}
	}
	if q.ahead > 0 && q.n > 0 && worst.Allowed {
		worst.Allowed, worst.Remaining, worst.RetryAfter = false, 0, time.Microsecond
	}
	if worst.Allowed && q.take {
		for _, l := range limiters {
			l.AllowN(q.n)
		}
	}
	return worst
}

// limiters are those of a key; nil if there is no room for them. It requires
// that mu is held.
func (f *fallback) limiters(key name, now time.Duration) []refundLimiter {
	if limiters, ok := f.keys[key]; ok {
		return limiters
	}
	if len(f.keys) >= maxFallbackKeys && now >= f.sweepAt {
		f.sweepAt = now + sweepEvery
		for key, limiters := range f.keys {
			if fresh(limiters) {
				delete(f.keys, key)
			}
		}
	}
	if len(f.keys) >= maxFallbackKeys {
		return nil
	}
	var limiters []refundLimiter
	for _, make := range f.configs {
		l, err := make()
		if err != nil {
			return nil // it did not fail when the first were made
		}
		limiters = append(limiters, l)
	}
	f.keys[key] = limiters
	return limiters
}

func (f *fallback) refund(key string, d ratelimit.Decision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limiters := f.keys[named(key)]
	if len(limiters) > 1 {
		d.ResetAfter = 0 // it is that of one of them
	}
	for _, l := range limiters {
		l.Refund(d)
	}
}

func (f *fallback) reset(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, named(key))
}

func fresh(limiters []refundLimiter) bool {
	for _, l := range limiters {
		if l.Peek(0).ResetAfter > 0 {
			return false
		}
	}
	return true
}
