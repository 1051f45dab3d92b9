package clock

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Fake is a clock that stands still until a test moves it. A test of code that
// waits starts the code, waits until it sleeps, and moves the time:
//
//	go limiter.Wait(ctx)
//	fake.BlockUntil(ctx, 1)
//	fake.Advance(time.Second)
//
// Nothing in that takes real time, and nothing in it depends on the scheduler.
//
// The deadline of a context is real time all the same. A limiter that is told to
// wait for a fake hour, with a context that has a second left, refuses at once.
// Such a test gives it a context without a deadline, such as t.Context(), or
// runs in a testing/synctest bubble with the system clock.
type Fake struct {
	now atomic.Int64

	mu       sync.Mutex // guards the rest, and moving now
	sleepers map[*sleeper]struct{}
	blocked  chan struct{} // closed and replaced whenever somebody falls asleep
}

type sleeper struct {
	ctx   context.Context
	until time.Duration
	awake chan struct{} // closed when now has reached until
}

// NewFake returns a clock that reads 0, at 2000-01-01 00:00:00 UTC.
func NewFake() *Fake {
	return &Fake{sleepers: make(map[*sleeper]struct{}), blocked: make(chan struct{})}
}

// Now is the time that the clock was set to.
func (f *Fake) Now() time.Duration { return time.Duration(f.now.Load()) }

// Epoch is 2000-01-01 00:00:00 UTC.
func (f *Fake) Epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// Advance moves the clock forward by d, or back if d is negative, and wakes
// those whose sleep is over. The clock stops at the ends of a Duration's range.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(add(f.Now(), d))
}

// Set moves the clock to now, which may be before what it reads, and wakes
// those whose sleep is over.
func (f *Fake) Set(now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set(now)
}

// Sleep returns nil once the clock has been moved d beyond what it reads now,
// or the context's error if ctx is done first.
func (f *Fake) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	s := &sleeper{ctx: ctx, awake: make(chan struct{})}
	f.mu.Lock()
	s.until = add(f.Now(), d)
	f.sleepers[s] = struct{}{}
	close(f.blocked)
	f.blocked = make(chan struct{})
	f.mu.Unlock()

	select {
	case <-s.awake:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		delete(f.sleepers, s)
		f.mu.Unlock()
		return ctx.Err()
	}
}

// BlockUntil returns nil once at least the given number of goroutines are
// asleep on the clock, or the context's error if ctx is done first. A goroutine
// no longer counts as soon as its sleep is over or its context done, even if it
// has not run since. Of those who wait for one limiter, only the first in line
// sleeps.
func (f *Fake) BlockUntil(ctx context.Context, sleepers int) error {
	for {
		asleep, blocked := f.asleep()
		if asleep >= sleepers {
			return nil
		}
		select {
		case <-blocked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// asleep counts the sleepers, and returns the channel that is closed when there
// is one more.
func (f *Fake) asleep() (n int, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sleepers {
		if s.ctx.Err() == nil {
			n++
		}
	}
	return n, f.blocked
}

// set moves the clock to now. It requires that mu is held.
func (f *Fake) set(now time.Duration) {
	f.now.Store(int64(now))
	for s := range f.sleepers {
		if s.until <= now {
			delete(f.sleepers, s)
			close(s.awake)
		}
	}
}

// add returns a+b, held within the range of a Duration.
func add(a, b time.Duration) time.Duration {
	sum := a + b
	switch {
	case b > 0 && sum < a:
		return math.MaxInt64
	case b < 0 && sum > a:
		return math.MinInt64
	}
	return sum
}
