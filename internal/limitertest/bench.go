package limitertest

import (
	"context"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// Bench times the verbs of a limiter, granted and refused, on the system clock,
// on a coarse one, and on a fake one that stands still: what that costs is the
// algorithm by itself. granting must make a limiter that grants for as long as
// the benchmark runs, refusing one that refuses after the first event.
func Bench(b *testing.B, granting, refusing func(clock.Clock) ratelimit.Limiter) {
	coarse := clock.NewCoarse(time.Millisecond)
	defer coarse.Close()
	for _, path := range []struct {
		name string
		mk   func(clock.Clock) ratelimit.Limiter
	}{
		{"granted", granting},
		{"refused", func(c clock.Clock) ratelimit.Limiter {
			l := refusing(c)
			l.Allow()
			return l
		}},
	} {
		for _, c := range []struct {
			name  string
			clock clock.Clock
		}{
			{"system", clock.System()},
			{"coarse", coarse},
			{"fake", clock.NewFake()},
		} {
			b.Run("verb=Allow/path="+path.name+"/clock="+c.name, func(b *testing.B) {
				l := path.mk(c.clock)
				for b.Loop() {
					l.Allow()
				}
			})
		}
		b.Run("verb=AllowParallel/path="+path.name+"/clock=system", func(b *testing.B) {
			l := path.mk(clock.System())
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l.Allow()
				}
			})
		})
		b.Run("verb=Take/path="+path.name+"/clock=system", func(b *testing.B) {
			l := path.mk(clock.System())
			for b.Loop() {
				l.Take(1)
			}
		})
	}
	b.Run("verb=Wait/path=granted/clock=system", func(b *testing.B) {
		l := granting(clock.System())
		ctx := context.Background()
		for b.Loop() {
			if err := l.Wait(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
