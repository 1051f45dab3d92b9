package slidinglog

import (
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
)

// A full log refuses without its lock, on whatever clock. If it took it, this
// test would never end.
func TestRefusalTakesNoLock(t *testing.T) {
	coarse := clock.NewCoarse(time.Millisecond)
	defer coarse.Close()
	for name, c := range map[string]clock.Clock{"system": clock.System(), "coarse": coarse, "fake": clock.NewFake()} {
		t.Run(name, func(t *testing.T) {
			l := MustNew(Config{Limit: 2, Window: time.Hour, Clock: c})
			if !l.AllowN(2) {
				t.Fatal("a fresh limiter refuses")
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.Allow() || l.AllowN(2) || l.Take(1).Allowed || l.Peek(1).Allowed {
				t.Error("a full log admits")
			}
		})
	}
}
