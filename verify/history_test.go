package verify

import (
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/verify/step"
)

// limiter is what a history calls.
type limiter interface {
	AllowN(n int) bool
	Take(n int) ratelimit.Decision
	Peek(n int) ratelimit.Decision
	ratelimit.Refunder
	ratelimit.Resetter
}

// A history is made by a few clients that call one limiter at the same time.
const (
	clients        = 4
	callsPerClient = 6
)

type verb int

const (
	take verb = iota
	allow
	peek
	refund
	reset
)

// call is what a client asks for: the input of an operation.
type call struct {
	verb    verb
	n       int
	granted ratelimit.Decision // what is refunded
}

// answer is what the client was told: the output of an operation.
type answer struct {
	decision ratelimit.Decision // of take and peek
	allowed  bool               // of allow

	// What the clock read during the call, for anybody. The limiter decided
	// at one of these readings; a decision says at which.
	readings []time.Duration
}

// recorder numbers everything that happens in a history: the calls, the returns
// and the readings of the clock.
type recorder struct {
	events   atomic.Int64
	readings [1 << 10]reading // by number of event
}

type reading struct {
	taken bool // or else the event was another one
	now   time.Duration
}

func (r *recorder) next() int64 { return r.events.Add(1) }

// between returns the different readings taken in an interval.
func (r *recorder) between(first, last int64) (all []time.Duration) {
	for _, e := range r.readings[first : last+1] {
		if e.taken && !slices.Contains(all, e.now) {
			all = append(all, e.now)
		}
	}
	return all
}

// recordedClock is a fake clock whose readings are recorded. It yields now and
// then, before and after it is read, so that others get in between the reading
// and what the limiter makes of it.
type recordedClock struct {
	*recorder
	now  atomic.Int64
	read func(now *atomic.Int64) int64 // one of the movements
}

// A movement reads a clock and moves it.
var movements = []struct {
	name string
	read func(now *atomic.Int64) int64
}{
	{"frozen", func(now *atomic.Int64) int64 { return now.Load() }},
	{"stepping", func(now *atomic.Int64) int64 {
		if rand.N(3) == 0 {
			return now.Add(rand.Int64N(maxStep))
		}
		return now.Load()
	}},
	{"jittering", func(now *atomic.Int64) int64 {
		return max(0, now.Add(rand.Int64N(maxStep/4))+rand.Int64N(2*maxStep)-maxStep)
	}},
}

// Limiters that were built against package step yield between their steps, too.
func init() { step.Pause = yield }

// maxStep is how far a clock moves at once at most. The subjects' windows are
// made to its measure.
const maxStep = 24

// epoch is in the middle of a window.
var epoch = time.Unix(946684800, 13)

func (c *recordedClock) Now() time.Duration {
	yield()
	now := time.Duration(c.read(&c.now))
	c.readings[c.next()] = reading{true, now}
	yield()
	return now
}

func (c *recordedClock) Epoch() time.Time { return epoch }

func (c *recordedClock) Sleep(ctx context.Context, d time.Duration) error {
	panic("no call in a history waits")
}

// yield lets others get in between, now and then.
func yield() {
	if rand.N(4) == 0 {
		runtime.Gosched()
	}
}

// record makes a history, with the numbers of the events as times.
func (s *subject) record(seed uint64, read func(*atomic.Int64) int64) []porcupine.Operation {
	rng := rand.New(rand.NewPCG(seed, 0))
	r := new(recorder)
	c := &recordedClock{recorder: r, read: read}
	c.now.Store([]int64{0, 40, 1000}[rng.IntN(3)])
	l := s.build(c)

	var (
		ready   atomic.Int64
		done    sync.WaitGroup
		history = make([][]porcupine.Operation, clients)
	)
	for id := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(id+1)))
		done.Go(func() {
			history[id] = make([]porcupine.Operation, 0, callsPerClient)
			var granted []ratelimit.Decision
			for ready.Add(1); ready.Load() < clients; {
				runtime.Gosched()
			}
			for range callsPerClient {
				in := randomCall(rng, s.scale, &granted)
				begin := r.next()
				out := in.to(l)
				end := r.next()
				if out.decision.Allowed && in.verb == take {
					granted = append(granted, out.decision)
				}
				history[id] = append(history[id], porcupine.Operation{ClientId: id, Input: in, Call: begin, Output: out, Return: end})
			}
		})
	}
	done.Wait()

	all := slices.Concat(history...)
	for i := range all {
		op := &all[i]
		out := op.Output.(answer)
		out.readings = r.between(op.Call, op.Return)
		op.Output = out
	}
	slices.SortFunc(all, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	return all
}

// randomCall asks for 1 to 3 times scale. It refunds what was granted, once.
func randomCall(rng *rand.Rand, scale int, granted *[]ratelimit.Decision) call {
	n := (1 + rng.IntN(3)) * scale
	switch p := rng.IntN(20); {
	case p == 0:
		return call{verb: reset}
	case p < 4:
		return call{verb: peek, n: n}
	case p < 7:
		return call{verb: allow, n: n}
	case p < 12 && len(*granted) > 0:
		i := rng.IntN(len(*granted))
		d := (*granted)[i]
		*granted = slices.Delete(*granted, i, i+1)
		return call{verb: refund, n: d.N, granted: d}
	}
	return call{verb: take, n: n}
}

func (c call) to(l limiter) (a answer) {
	switch c.verb {
	case take:
		a.decision = l.Take(c.n)
	case allow:
		a.allowed = l.AllowN(c.n)
	case peek:
		a.decision = l.Peek(c.n)
	case refund:
		l.Refund(c.granted)
	case reset:
		l.Reset()
	}
	return a
}

// state is a state of the model. Equal states have equal keys.
type state struct {
	model limitertest.Model
	key   string
}

func stateOf(m limitertest.Model) state { return state{m, m.Key()} }

// specification is what porcupine compares a history with: the reference model,
// one call after the other. Where it is not known at which of the readings a
// call was decided, any of them may be right.
func specification(fresh limitertest.Model) porcupine.Model {
	seed := maphash.MakeSeed()
	nondeterministic := porcupine.NondeterministicModel{
		Init: func() []any { return []any{stateOf(fresh.Clone())} },
		Step: func(s, in, out any) (next []any) {
			for _, n := range s.(state).after(in.(call), out.(answer)) {
				next = append(next, n)
			}
			return next
		},
		Equal: func(a, b any) bool { return a.(state).key == b.(state).key },
		Hash:  func(s any) uint64 { return maphash.String(seed, s.(state).key) },
	}
	return nondeterministic.ToModel()
}

// after returns the states that a call may have led to, if it was answered so.
func (s state) after(in call, out answer) (next []state) {
	if (in.verb == take || in.verb == peek) && !slices.Contains(out.readings, out.decision.At) {
		return nil
	}
	switch in.verb {
	case take:
		m := s.model.Clone()
		if m.Take(out.decision.At, in.n) == out.decision {
			next = append(next, stateOf(m))
		}
	case peek:
		if s.model.Peek(out.decision.At, in.n) == out.decision {
			next = append(next, s)
		}
	case allow:
		for _, now := range out.readings {
			m := s.model.Clone()
			if m.Take(now, in.n).Allowed == out.allowed {
				next = append(next, stateOf(m))
			}
		}
	case refund:
		readings := out.readings
		if len(readings) == 0 { // it need not read the clock
			readings = []time.Duration{in.granted.At}
		}
		for _, now := range readings {
			m := s.model.Clone()
			m.Refund(now, in.granted)
			next = append(next, stateOf(m))
		}
	case reset:
		m := s.model.Clone()
		m.Reset()
		next = append(next, stateOf(m))
	}
	return next
}

// describe writes a history as one line per call, in order of the calls.
func describe(history []porcupine.Operation) string {
	var b strings.Builder
	for _, op := range history {
		fmt.Fprintf(&b, "\n%3d to %3d  client %d  %v -> %v", op.Call, op.Return, op.ClientId, op.Input, op.Output)
	}
	return b.String()
}

func (c call) String() string {
	switch c.verb {
	case refund:
		return fmt.Sprintf("Refund(%d of %d)", c.n, c.granted.At)
	case reset:
		return "Reset()"
	}
	return fmt.Sprintf("%s(%d)", [...]string{"Take", "AllowN", "Peek"}[c.verb], c.n)
}

func (a answer) String() string {
	if d := a.decision; d != (ratelimit.Decision{}) {
		return fmt.Sprintf("%v at %d, remaining %d, retry after %d, reset after %d", d.Allowed, d.At, d.Remaining, d.RetryAfter, d.ResetAfter)
	}
	return fmt.Sprintf("%v at one of %d", a.allowed, a.readings)
}
