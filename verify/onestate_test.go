package verify

import (
	"iter"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/slidinglog"
)

// TestRefusalIsOfOneState has a sliding log of one event change to another state
// and back while a Take is refused without the lock, at whichever two of its
// steps. A log of one event is empty when it is no longer full: an answer that
// says otherwise has read two states.
func TestRefusalIsOfOneState(t *testing.T) {
	e := stepByStep(t)

	refused := 0
	for first := 0; ; first++ {
		for second := 0; ; second++ {
			c := &handClock{hand: &hand{now: 40}}
			l := slidinglog.MustNew(slidinglog.Config{Limit: 1, Window: 64, Clock: c})
			l.Allow()

			client := func(now time.Duration, calls func()) *process {
				p := &process{hand: hand{now: now}}
				next, stop := iter.Pull(func(yield func(pause) bool) {
					p.pause = yield
					calls()
				})
				t.Cleanup(stop)
				p.next = next
				return p
			}
			var d ratelimit.Decision
			again := func() { l.Reset(); l.Allow() }
			reader := client(42, func() { d = l.Take(1) })
			advance := func(p *process, steps int) {
				for ; steps != 0 && !p.done; steps-- {
					e.resume(p, c)
					for p != reader && p.yielded && !reader.done {
						e.resume(reader, c) // it has the lock
					}
				}
			}

			advance(reader, first)
			if reader.done {
				if refused < 10 {
					t.Errorf("refused %d times: that tries too little", refused)
				}
				return
			}
			advance(client(50, again), -1)
			advance(reader, second)
			done := reader.done
			advance(client(40, again), -1)
			advance(reader, -1)
			if !d.Allowed {
				refused++
				if d.RetryAfter != d.ResetAfter {
					t.Errorf("after %d and %d steps: %+v", first, second, d)
				}
			}
			if done {
				break
			}
		}
	}
}
