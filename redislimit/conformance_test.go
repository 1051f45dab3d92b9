package redislimit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
)

// The root module's suite, on a server whose time is the suite's: of its
// nanoseconds each is a microsecond here. The rules that this package cannot
// keep are skipped; see [TestMain].
func TestConformance(t *testing.T) {
	server := shared(t)
	send := fromBubbles(sendTimed(server))
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			limitertest.Run(t, limitertest.Subject{
				New: func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
					return newSubject(t, k, send, c, limit, window)
				},
				Bound: k.bound,
				Paces: k.name == "leakybucket",
			})
		})
	}
}

// everyRule is the variable that has the suite run as a whole, if it is set. That
// takes two or three minutes for each kind.
const everyRule = "REDISLIMIT_EVERY_RULE"

// skippedRules are those of the suite that do not apply to what is asked over a
// network, and slowRules those that ask it too often for every day.
var (
	skippedRules = "^TestConformance$/.*/^(NothingAllocates)$"
	slowRules    = "^TestConformance$/.*/^(RefundOfNothing|DoneContext|RefundNeverGoes|FreeWait|DeadlineIsFound|" +
		"WaitTakesAsLong|GivingUpLeaves|DecisionSays|ZeroIs|RetryAfterIsZero|CancelledWait|RefusalChanges|" +
		"BoundHoldsIn|ManyTake|Impossible|ResetIsFresh|FirstCome|RetryAfterIsExact|RefundOfAll|RefundOfThePast)"
)

// subject is one key of a limiter as a [ratelimit.Limiter] of the suite's.
//
// The suite's time runs over 18 years of nanoseconds, and the server counts
// microseconds only to 2255. So the subject shows the server some weeks of the
// suite's time, and moves on with the key's state when the readings do. At what
// is before these weeks time stands still.
type subject struct {
	limiter *Limiter
	kind    string
	clock   clock.Clock
	send    func(now int64, c redis.Cmder) error

	mu    sync.Mutex
	begin int64 // the suite's time that is base on the server
}

const (
	period = 7 * 24 * 3600 * 1_000_000_000 // a multiple of all the suite's windows
	phase  = 2 * 24 * 3600 * 1_000_000_000 // how far a week had got at the fake clock's epoch
	shown  = 6 * period
	kept   = 4 * period // of what is shown, when it moves on
)

// base is the server's time at which what is shown begins: soon, so that no key
// expires.
var base = (time.Now().UnixMicro()/period+1)*period + phase

var subjects atomic.Int64

func newSubject(t *testing.T, k kind, send func(int64, redis.Cmder) error, c clock.Clock, limit int, window time.Duration) *subject {
	s := &subject{kind: k.name, clock: c, send: send}
	l, err := k.on(&timed{now: s.now, send: send}, fmt.Sprintf("subject %d", subjects.Add(1)), limit, window*1000, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.clock = s
	s.limiter = l
	return s
}

// read is the suite's time, and what it is on the server.
func (s *subject) read() (reading time.Duration, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reading = s.clock.Now()
	t := min(max(int64(reading), 0), 1<<59-1)
	if t-s.begin > shown {
		begin := t - t%period - kept
		s.shift(begin - s.begin)
		s.begin = begin
	}
	return reading, base + max(t-s.begin, 0)
}

func (s *subject) now() int64 {
	_, now := s.read()
	return now
}

// shiftLua takes a number from the first field of a state that has so many digits
// after it, or from the times of a log.
const shiftLua = `
local by, tail = ARGV[1] + 0, ARGV[2] + 0
if redis.call('TYPE', KEYS[1]).ok == 'list' then
	for i = 0, redis.call('LLEN', KEYS[1]) - 1, 2 do
		redis.call('LSET', KEYS[1], i, math.max(redis.call('LINDEX', KEYS[1], i) - by, 0))
	end
	return 1
end
local state = redis.call('GET', KEYS[1])
if not state then return 1 end
local first = tonumber(string.sub(state, 1, -tail - 1)) - by
if first < 1 then
	redis.call('DEL', KEYS[1])
else
	redis.call('SET', KEYS[1], string.format('%.0f', first) .. string.sub(state, #state - tail + 1))
end
return 1
`

// shift moves the state of the key back by so many microseconds.
func (s *subject) shift(by int64) {
	tail := 0
	switch of := s.limiter.limits[0].(type) {
	case *bucket:
		if of.parts > 1 {
			tail = of.digits()
		}
	case *fixed:
		by, tail = by/of.width, digits(of.limit)
	case *sliding:
		by, tail = by/of.width, 2*digits(of.limit)
	}
	cmd := redis.NewCmd(context.Background(), "eval", shiftLua, 1, s.limiter.keys(nil, "key")[0], by, tail)
	if err := s.send(base, cmd); err != nil {
		panic(err)
	}
}

// outward is a decision of the server's made at a reading, in the suite's time.
func (s *subject) outward(d ratelimit.Decision, reading time.Duration) ratelimit.Decision {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wait := range []*time.Duration{&d.RetryAfter, &d.ResetAfter} {
		if *wait > 0 && *wait != ratelimit.Never {
			end := s.begin + d.At.Microseconds() + wait.Microseconds() - base
			if *wait = ratelimit.Never; end < 1<<59 {
				*wait = time.Duration(end) - reading
			}
		}
	}
	d.At = reading
	return d
}

// inward is a decision in the suite's time as the server made it.
func (s *subject) inward(d ratelimit.Decision) ratelimit.Decision {
	s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	at := func(t time.Duration) time.Duration {
		return duration(base + max(int64(min(max(t, 0), 1<<59-1))-s.begin, 0))
	}
	then := at(d.At)
	if d.ResetAfter > 0 && d.ResetAfter < math.MaxInt64-max(d.At, 0) {
		d.ResetAfter = at(d.At+d.ResetAfter) - then
	}
	d.At = then
	return d
}

func (s *subject) Now() time.Duration { return 0 } // read only for what is switched off

func (s *subject) Epoch() time.Time { return time.Time{} }

// Sleep sleeps for so long on the server's clock.
func (s *subject) Sleep(ctx context.Context, d time.Duration) error {
	reading, now := s.read()
	s.mu.Lock()
	end := s.begin + now + d.Microseconds() - base
	s.mu.Unlock()
	return s.clock.Sleep(ctx, time.Duration(end)-reading)
}

func (s *subject) Allow() bool { return s.AllowN(1) }

func (s *subject) AllowN(n int) bool {
	ok, err := s.limiter.AllowN(context.Background(), "key", n)
	if err != nil {
		panic(err)
	}
	return ok
}

func (s *subject) Take(n int) ratelimit.Decision { return s.decide(s.limiter.Take, n) }

func (s *subject) Peek(n int) ratelimit.Decision { return s.decide(s.limiter.Peek, n) }

func (s *subject) decide(verb func(context.Context, string, int) (ratelimit.Decision, error), n int) ratelimit.Decision {
	reading, _ := s.read()
	d, err := verb(context.Background(), "key", n)
	if err != nil {
		panic(err)
	}
	return s.outward(d, reading)
}

func (s *subject) Wait(ctx context.Context) error { return s.WaitN(ctx, 1) }

func (s *subject) WaitN(ctx context.Context, n int) error {
	return s.limiter.WaitN(stretched{ctx}, "key", n)
}

func (s *subject) Refund(d ratelimit.Decision) {
	if err := s.limiter.Refund(context.Background(), "key", s.inward(d)); err != nil {
		panic(err)
	}
}

func (s *subject) Reset() {
	if err := s.limiter.Reset(context.Background(), "key"); err != nil {
		panic(err)
	}
}

// stretched is a context in which as many microseconds are left to the deadline
// as there are nanoseconds.
type stretched struct{ context.Context }

func (c stretched) Deadline() (time.Time, bool) {
	deadline, ok := c.Context.Deadline()
	if left := time.Until(deadline); ok && left < math.MaxInt64/1000 {
		deadline = time.Now().Add(1000 * left)
	}
	return deadline, ok
}
