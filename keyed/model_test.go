package keyed_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/keyed"
)

// FuzzModel compares keyed limiters with a plain map of single ones, on scripts
// that the fuzzer writes.
func FuzzModel(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomScript(seed))
	}
	f.Fuzz(func(t *testing.T, s []byte) { play(t, s) })
}

// TestModel compares on some thousand random scripts, the same ones each time.
func TestModel(t *testing.T) {
	var seen seen
	for seed := range uint64(4000) {
		seen.add(play(t, randomScript(seed)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	// These are what the comparison is for.
	for what, n := range map[string]int{
		"admitted": seen.admitted, "refused": seen.refused, "full": seen.full, "shared": seen.shared,
		"dropped": seen.dropped, "moved": seen.moved, "held back by another plan": seen.heldBack, "late": seen.late,
	} {
		if n < 300 {
			t.Errorf("only %d were %s", n, what)
		}
	}
	t.Logf("%+v", seen)
}

func randomScript(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := make([]byte, 20+rng.IntN(600))
	for i := range s {
		s[i] = byte(rng.Uint32())
	}
	return s
}

// hand is a clock whose hand the test moves.
type hand struct{ now time.Duration }

func (h *hand) Now() time.Duration { return h.now }
func (h *hand) Epoch() time.Time   { return time.Date(2000, 1, 1, 0, 0, 0, 12345, time.UTC) }
func (h *hand) Sleep(context.Context, time.Duration) error {
	return errors.New("nobody sleeps on a hand")
}

// seen counts what came up.
type seen struct{ admitted, refused, full, shared, dropped, moved, heldBack, late int }

func (s *seen) add(o seen) {
	s.admitted += o.admitted
	s.refused += o.refused
	s.full += o.full
	s.shared += o.shared
	s.dropped += o.dropped
	s.moved += o.moved
	s.heldBack += o.heldBack
	s.late += o.late
}

// state is what the model knows of a key: a limiter of its own, under a plan.
type state struct {
	plan int
	of   limitertest.Refundable
}

type game struct {
	t       *testing.T
	kind    kind
	hand    *hand
	share   bool
	maxKeys int
	limits  [2]int
	windows [2]time.Duration
	plans   [2]*keyed.Limiter[int]

	states   map[int]*state
	common   *state // that keys without a place share
	sharedAt time.Duration
	taken    []decided
	last     ratelimit.Decision
	latest   time.Duration

	played []string
	seen   seen
}

type decided struct {
	key, plan int
	d         ratelimit.Decision
}

func play(t *testing.T, script []byte) seen {
	t.Helper()
	next := func(n int) int {
		if len(script) == 0 {
			return 0
		}
		b := script[0]
		script = script[1:]
		return int(b) % n
	}
	g := &game{t: t, hand: &hand{}, states: map[int]*state{}, sharedAt: -1 << 63}
	g.kind = kinds[next(len(kinds))]
	g.share = next(2) == 1
	g.maxKeys = []int{1, 2, 3, 10, 64, 130}[next(6)]
	for i := range g.limits {
		g.limits[i] = 1 + next(12)
		g.windows[i] = []time.Duration{time.Second, 1000, 7 * time.Millisecond, time.Hour}[next(4)]
	}
	g.hand.now = time.Duration(next(3)) * 1234567890123
	g.latest = g.hand.now
	o := keyed.Options{MaxKeys: g.maxKeys, Exact: next(2) == 1}
	if g.share {
		o.WhenFull = keyed.Share
	}
	g.plans[0] = keyed.MustNew[int](g.kind.config(g.limits[0], g.windows[0], g.hand), o)
	planned := next(3) > 0
	if planned {
		g.plans[1] = g.plans[0].MustWith(g.kind.config(g.limits[1], g.windows[1], nil))
	}
	keys := g.maxKeys*(1+next(8))/2 + 1
	g.note("%s, %v per %v, %d keys, %+v", g.kind.name, g.limits, g.windows, keys, o)
	for len(script) > 0 && !t.Failed() {
		key := next(256) * keys / 256
		plan := 0
		if planned {
			plan = next(2)
		}
		n := next(min(g.limits[plan]+3, 256)) - 1
		switch op := next(16); op {
		case 0, 1, 2, 3, 4, 5:
			g.ask(key, plan, n, "Take")
		case 6:
			g.ask(key, plan, n, "AllowN")
		case 7:
			g.ask(key, plan, n, "Peek")
		case 8, 9:
			g.refund(next(256))
		case 10:
			g.note("Forget(%d)", key)
			g.plans[plan].Forget(key)
			delete(g.states, key)
		case 11:
			g.note("renewed")
			g.plans[0].Renew(key)
		case 12:
			g.set(g.hand.now + g.windows[plan]*time.Duration(next(16))/time.Duration(g.limits[plan]))
		case 13:
			g.set(g.hand.now - g.windows[plan]*time.Duration(next(40))/16)
		case 14:
			if wait := g.last.RetryAfter; wait != ratelimit.Never {
				g.set(g.hand.now + wait + time.Duration(next(3)) - 1)
			}
		case 15:
			switch next(8) {
			case 0:
				g.set(g.latest + g.windows[0] + g.windows[1])
			case 1:
				g.set(g.hand.now * 2)
			default:
				if wait := g.last.ResetAfter; wait != ratelimit.Never {
					g.set(g.hand.now + wait + time.Duration(next(3)) - 1)
				}
			}
		}
		g.check()
	}
	return g.seen
}

func (g *game) note(format string, args ...any) {
	g.played = append(g.played, fmt.Sprintf(format, args...))
}

func (g *game) fail(format string, args ...any) {
	g.t.Helper()
	g.t.Fatalf("%s\n\tafter %s", fmt.Sprintf(format, args...), strings.Join(g.played, "\n\t"))
}

func (g *game) set(now time.Duration) {
	// No further than all waits end in time.
	g.hand.now = max(min(now, 1<<58), -1000)
	g.latest = max(g.latest, g.hand.now)
	g.note("now = %d", g.hand.now)
}

// at does something at another reading.
func (g *game) at(now time.Duration, f func()) {
	old := g.hand.now
	g.hand.now = now
	f()
	g.hand.now = old
}

// fresh is a single limiter that was as good as new at a reading, of which
// nothing else is known.
func (g *game) fresh(plan int, since time.Duration) *state {
	s := &state{plan, g.kind.single(g.limits[plan], g.windows[plan], g.hand)}
	g.at(since, func() { s.of.Refund(s.of.Take(1)) })
	return s
}

// span is for how long what is admitted under a plan counts.
func (g *game) span(plan int) (span time.Duration) {
	switch g.kind.name {
	case "fixedwindow", "slidinglog":
		return g.windows[plan]
	case "slidingwindow":
		return 2 * g.windows[plan]
	}
	s := g.kind.single(g.limits[plan], g.windows[plan], g.hand)
	g.at(0, func() { span = s.Take(g.limits[plan]).ResetAfter })
	return span
}

// carried is a state with what is used of one under another plan.
func (g *game) carried(plan int, from *state, floor time.Duration) *state {
	s := g.fresh(plan, floor)
	since := g.hand.now
	if reset := from.of.Peek(0).ResetAfter; reset != ratelimit.Never {
		since = max(since, since+reset-g.span(from.plan))
	}
	used := 0
	g.at(since, func() { used = g.limits[from.plan] - from.of.Peek(0).Remaining })
	g.at(max(since, floor), func() {
		if used > 0 && !s.of.AllowN(min(used, g.limits[plan])) {
			g.fail("the model cannot carry %d", used)
		}
	})
	return s
}

// drop brings the model in step with what the table has forgotten: nothing but
// what was as good as new.
func (g *game) drop(key int) (floor time.Duration) {
	g.t.Helper()
	floor = g.plans[0].Floor(key)
	s := g.states[key]
	for plan, l := range g.plans {
		if l == nil {
			continue
		}
		if kept := l.Kept(key); kept && (s == nil || s.plan != plan) {
			g.fail("key %d has a state under plan %d, of the model %+v", key, plan, s)
		} else if kept {
			return floor
		}
	}
	if s == nil {
		return floor
	}
	g.at(floor, func() {
		if d := s.of.Peek(0); d.ResetAfter != 0 || d.Remaining != d.Limit {
			g.fail("key %d was forgotten at %d, at the latest, when it was not as good as new: %+v", key, floor, d)
		}
	})
	g.seen.dropped++
	delete(g.states, key)
	return floor
}

// turn is the state with which a key comes under a plan that has a state s so
// far, or none: s itself if it is under that plan. If n are refused there, held is
// the state by which they are.
func (g *game) turn(s *state, plan, n int, floor time.Duration) (next, held *state) {
	switch {
	case s == nil:
		return g.fresh(plan, floor), nil
	case s.plan == plan:
		return s, nil
	}
	next = g.carried(plan, s, floor)
	if n > 0 && n <= g.limits[plan] && !next.of.Peek(n).Allowed {
		return next, s
	}
	return next, nil
}

// answer is what a state, or the one it is held by, says to n.
func (g *game) answer(s, held *state, n int, verb string) (want ratelimit.Decision) {
	switch {
	case held != nil:
		g.seen.heldBack++
		limit := g.limits[s.plan]
		want = held.of.Peek(max(g.limits[held.plan]-limit+n, 1))
		if want.Allowed { // the reading is late for a new state, but not for this one
			want = held.of.Peek(0)
		}
		used := want.Limit - want.Remaining
		want.Allowed, want.N, want.Limit, want.Remaining = false, n, limit, max(limit-used, 0)
		want.RetryAfter = max(want.RetryAfter, 1)
		return want
	case verb == "Peek":
		return s.of.Peek(n)
	}
	return s.of.Take(n)
}

func (g *game) ask(key, plan, n int, verb string) {
	g.t.Helper()
	floor := g.drop(key)
	// Before the table changes.
	limit := g.limits[plan]
	possible := n > 0 && n <= limit
	before := g.states[key]
	s, held := g.turn(before, plan, n, floor)
	keptBefore := g.plans[0].Len()

	l := g.plans[plan]
	var got ratelimit.Decision
	switch verb {
	case "Take":
		got = l.Take(key, n)
	case "Peek":
		got = l.Peek(key, n)
	case "AllowN":
		got = ratelimit.Decision{Allowed: l.AllowN(key, n), N: n}
	}
	g.note("%d: %s(%d) under %d = %+v", key, verb, n, plan, got)
	g.last = got
	if g.hand.now < g.latest {
		g.seen.late++
	}

	// Does it find a place?
	full := false
	if before == nil {
		mine := s.of.Peek(n)
		full = keptBefore == g.maxKeys && !same(verb, got, mine)
		if verb != "Peek" && possible && mine.Allowed {
			full = !l.Kept(key)
		}
	}
	takes := verb != "Peek" && possible
	var want ratelimit.Decision
	switch {
	case full && g.share:
		g.checkFull()
		g.seen.shared++
		s, held := g.turn(g.common, plan, n, g.plans[0].SharedFloor())
		want = g.answer(s, held, n, verb)
		if want.Allowed && takes {
			g.common = s
			if verb == "Take" {
				g.sharedAt = max(g.sharedAt, g.hand.now)
				g.taken = append(g.taken, decided{key, plan, got})
			}
		}
	case full:
		g.checkFull()
		g.seen.full++
		want = ratelimit.Decision{Allowed: n == 0, N: n, At: g.hand.now, Limit: limit, ResetAfter: got.ResetAfter}
		if possible {
			want.RetryAfter = got.ResetAfter
		} else if n != 0 {
			want.RetryAfter = ratelimit.Never
		}
		if verb != "AllowN" && got.ResetAfter < 1 {
			g.fail("full, and there will be a place after %v", got.ResetAfter)
		}
	default:
		want = g.answer(s, held, n, verb)
		if want.Allowed && takes {
			if before != nil && before != s {
				g.seen.moved++
			}
			g.states[key] = s
			if verb == "Take" {
				g.taken = append(g.taken, decided{key, plan, got})
			}
		}
	}
	if want.Allowed {
		g.seen.admitted++
	} else {
		g.seen.refused++
	}
	if !same(verb, got, want) {
		g.fail("key %d at %d: %s(%d) under plan %d = %+v,\n\tof the model %+v, full %v", key, g.hand.now, verb, n, plan, got, want, full)
	}
}

func same(verb string, got, want ratelimit.Decision) bool {
	return got == want || verb == "AllowN" && got.Allowed == want.Allowed
}

func (g *game) refund(i int) {
	if len(g.taken) == 0 {
		return
	}
	i %= len(g.taken)
	r := g.taken[i]
	g.taken = append(g.taken[:i], g.taken[i+1:]...)
	g.note("%d: Refund(%+v) under %d", r.key, r.d, r.plan)
	g.drop(r.key)
	g.plans[r.plan].Refund(r.key, r.d)
	if s := g.states[r.key]; s != nil && s.plan == r.plan && (!g.share || r.d.At > g.sharedAt) {
		s.of.Refund(r.d)
	}
}

// checkFull fails unless enough keys are active for there to be no place.
func (g *game) checkFull() {
	g.t.Helper()
	if g.hand.now < g.latest {
		return // nobody knows then what is as good as new by now
	}
	active := 0
	for key, s := range g.states {
		kept := false
		for _, l := range g.plans {
			kept = kept || l != nil && l.Kept(key)
		}
		if kept && s.of.Peek(0).ResetAfter > 0 {
			active++
		}
	}
	if active*8 < 7*g.maxKeys || g.maxKeys < 128 && active < g.maxKeys {
		g.fail("there is no place, though only %d of %d are active", active, g.maxKeys)
	}
}

// check fails if the table is broken.
func (g *game) check() {
	g.t.Helper()
	if wrong := g.plans[0].Check(); wrong != "" {
		g.fail("%s", wrong)
	}
	if n := g.plans[0].Len(); n > g.maxKeys {
		g.fail("%d keys are kept", n)
	}
}

var _ clock.Clock = (*hand)(nil)
