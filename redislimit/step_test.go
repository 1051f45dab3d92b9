package redislimit

import (
	"context"
	"testing"
	"time"
)

// The server's clock is set forward and back in the middle of traffic. Forward
// counts as time that passed. After a step back no more is admitted in any real
// time than the bound allows, and nobody waits for longer than two windows.
func TestServerClockIsStepped(t *testing.T) {
	const limit, window = 10, int64(1_000_000)
	ctx := context.Background()
	for _, k := range kinds {
		for _, step := range []int64{-1, -window / 2, -window, -3 * window, -3600 * window, 3600 * window} {
			server := shared(t)
			real, stepped := farFuture, int64(0)
			client := &timed{now: func() int64 { return real + stepped }, send: sendTimed(server)}
			l, err := k.on(client, t.Name()+k.name+time.Duration(step).String(), limit, time.Second, 0)
			if err != nil {
				t.Fatal(err)
			}
			l.scripts = newScripts(onSteppedTime, l.limits)
			drain := func() (n int64) {
				for take(t, l, "key", 1).Allowed {
					n++
				}
				return n
			}
			// It is used up, and some time passes.
			sum := drain()
			real += window / 4
			sum += drain()
			before := sum
			stepped = step
			var longest, since int64
			for range 40 {
				real += window / 8
				if n := drain(); n > 0 {
					sum += n
					since = 0
				} else {
					since += window / 8
					longest = max(longest, since)
				}
			}
			passed := 5 * window
			bound := before + limit*passed/window
			if k.bound(limit, time.Second, 0, 0) == limit && (k.name == "fixedwindow" || k.name == "slidingwindow") {
				bound += limit // a window more is touched
			}
			if step > 0 {
				bound += limit
			}
			if sum > bound {
				t.Errorf("%s, by %v: %d are admitted, bound %d", k.name, duration(step), sum, bound)
			}
			if longest > 2*window {
				t.Errorf("%s, by %v: nothing is admitted for %v", k.name, duration(step), duration(longest))
			}
			if d, err := l.Peek(ctx, "key", limit); err != nil || d.RetryAfter > duration(2*window) {
				t.Errorf("%s, by %v: %+v, %v", k.name, duration(step), d, err)
			}
		}
	}
}
