package clock

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Coarse is the real clock, read in the background every so often and kept in
// one word. Reading it costs a load from memory, about a nanosecond, where the
// system clock costs tens.
//
// A reading is late by up to the resolution, and by more while the scheduler
// does not let the background goroutine run: with every processor kept busy by
// spinning goroutines that can be many milliseconds. It is never early. The
// limiters of this module therefore only ever grant on a coarse reading: before
// they refuse they call [Coarse.Refresh], so a refusal costs a reading of the
// real clock and a store of it, more than with the system clock, and no event is
// refused for the clock's lateness. It pays where most is granted.
//
// Close stops the background goroutine.
type Coarse struct {
	now  atomic.Int64
	real Clock

	close  sync.Once
	closed chan struct{}
}

// NewCoarse returns a clock that is refreshed every resolution until it is
// closed. A millisecond is a good resolution; one that is not positive means a
// millisecond.
func NewCoarse(resolution time.Duration) *Coarse {
	if resolution <= 0 {
		resolution = time.Millisecond
	}
	c := &Coarse{real: System(), closed: make(chan struct{})}
	go c.run(resolution)
	return c
}

// Now is the latest reading taken, since the clock's own start.
func (c *Coarse) Now() time.Duration { return time.Duration(c.now.Load()) }

// Epoch is the wall time at which Now was 0.
func (c *Coarse) Epoch() time.Time { return c.real.Epoch() }

// Sleep sleeps on the real clock.
func (c *Coarse) Sleep(ctx context.Context, d time.Duration) error { return c.real.Sleep(ctx, d) }

// Refresh reads the real clock, moves Now up to it, and returns it.
func (c *Coarse) Refresh() time.Duration {
	now := c.real.Now()
	for {
		// A later reading may have been stored since ours was taken.
		latest := c.now.Load()
		if int64(now) <= latest {
			return time.Duration(latest)
		}
		if c.now.CompareAndSwap(latest, int64(now)) {
			return now
		}
	}
}

// Refreshed is the reading that a limiter may refuse by: c.Refresh() if c is
// coarse, and c.Now() if not.
func Refreshed(c Clock) time.Duration {
	if coarse, late := c.(*Coarse); late {
		return coarse.Refresh()
	}
	return c.Now()
}

// Close stops the background goroutine. Afterwards Now moves only when Refresh
// is called. Close may be called more than once.
func (c *Coarse) Close() {
	c.close.Do(func() { close(c.closed) })
}

func (c *Coarse) run(resolution time.Duration) {
	ticker := time.NewTicker(resolution)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.Refresh()
		case <-c.closed:
			return
		}
	}
}
