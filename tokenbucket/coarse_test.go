package tokenbucket_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Before a limiter on a coarse clock refuses it reads the real time, also where
// it refuses because somebody waits.
func TestRefusalsAreNotLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coarse := clock.NewCoarse(time.Millisecond)
		coarse.Close() // as late as can be
		synctest.Wait()
		l := tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: time.Second, Clock: coarse})
		if !l.Allow() {
			t.Fatal("a fresh limiter refuses")
		}
		time.Sleep(600 * time.Millisecond)
		if d := l.Take(1); d.RetryAfter != 400*time.Millisecond {
			t.Errorf("Take = %+v, want a RetryAfter of 400ms", d)
		}
		go l.Wait(t.Context())
		synctest.Wait()
		time.Sleep(100 * time.Millisecond)
		if d := l.Take(1); d.RetryAfter != 1300*time.Millisecond {
			t.Errorf("behind a waiter, Take = %+v, want a RetryAfter of 1.3s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1350*time.Millisecond)
		defer cancel()
		if err := l.Wait(ctx); err != nil {
			t.Errorf("Wait, with 50ms to spare: %v", err)
		}
	})
}
