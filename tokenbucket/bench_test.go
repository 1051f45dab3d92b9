package tokenbucket

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"golang.org/x/time/rate"
)

func granting(c clock.Clock) *Limiter {
	return MustNew(Config{Limit: 1e9, Window: time.Second, Burst: 1e9, Clock: c})
}

func refusing(c clock.Clock) *Limiter {
	l := MustNew(Config{Limit: 1, Window: 24 * time.Hour, Clock: c})
	l.Allow()
	return l
}

var sink atomic.Uint64

func BenchmarkFloor(b *testing.B) {
	c := clock.System()
	b.Run("path=clock", func(b *testing.B) {
		for b.Loop() {
			c.Now()
		}
	})
	b.Run("path=clock+cas", func(b *testing.B) {
		for b.Loop() {
			now := c.Now()
			sink.CompareAndSwap(sink.Load(), uint64(now))
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	coarse := clock.NewCoarse(time.Millisecond)
	defer coarse.Close()
	for _, bb := range []struct {
		name string
		l    *Limiter
	}{
		{"path=granted/clock=system", granting(nil)},
		{"path=granted/clock=coarse", granting(coarse)},
		{"path=refused/clock=system", refusing(nil)},
		{"path=refused/clock=coarse", refusing(coarse)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				bb.l.Allow()
			}
		})
	}
	x := rate.NewLimiter(1e9, 1e9)
	b.Run("path=granted/impl=xtime", func(b *testing.B) {
		for b.Loop() {
			x.Allow()
		}
	})
}

func BenchmarkTake(b *testing.B) {
	for _, bb := range []struct {
		name string
		l    *Limiter
	}{
		{"path=granted/clock=system", granting(nil)},
		{"path=refused/clock=system", refusing(nil)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			for b.Loop() {
				bb.l.Take(1)
			}
		})
	}
}

func BenchmarkWait(b *testing.B) {
	l := granting(nil)
	ctx := context.Background()
	for b.Loop() {
		l.Wait(ctx)
	}
}
