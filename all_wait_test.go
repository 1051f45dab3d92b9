package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Those who wait for an All are metered by its leaky bucket, not paced.
func TestAllMetersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaky := leakybucket.MustNew(leakybucket.Config{Limit: 1, Window: time.Second, Capacity: 10})
		tokens := tokenbucket.MustNew(tokenbucket.Config{Limit: 1000, Window: time.Second, Burst: 10})
		all := ratelimit.All(leaky, tokens)
		tokens.AllowN(10)
		go all.WaitN(t.Context(), 5)
		synctest.Wait()
		if d := all.Take(1); d.RetryAfter != 6*time.Millisecond {
			t.Errorf("behind 5, Take(1) = %+v, want a RetryAfter of 6ms", d)
		}
		time.Sleep(time.Second)
	})
}

// afterTake is a limiter that others take their turn at, once it has been taken
// from.
type afterTake struct {
	*fixedwindow.Limiter
	do func()
}

func (l *afterTake) Take(n int) ratelimit.Decision {
	d := l.Limiter.Take(n)
	if do := l.do; do != nil {
		l.do = nil
		do()
	}
	return d
}

// A waiter that was refused because of what another call took, and then gave
// back, does not sleep for it.
func TestAllWakesWhomItKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		daily := &afterTake{Limiter: fixedwindow.MustNew(fixedwindow.Config{Limit: 1, Window: 24 * time.Hour})}
		secondly := fixedwindow.MustNew(fixedwindow.Config{Limit: 1, Window: time.Second})
		all := ratelimit.All(daily, secondly)
		start := time.Now()
		waited := make(chan time.Duration, 1)
		daily.do = func() {
			secondly.Allow() // somebody else, so that what was taken is given back
			go func() {
				if err := all.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				waited <- time.Since(start)
			}()
			synctest.Wait()
		}
		if all.Allow() {
			t.Error("Allow admits, though one of the limiters refuses")
		}
		if got := <-waited; got != time.Second {
			t.Errorf("waited %v, want 1s", got)
		}
	})
}
