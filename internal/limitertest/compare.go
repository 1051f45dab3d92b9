package limitertest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// A Comparison is a kind of limiter and the model that it must agree with: in
// every field, where the model is of windows or of a log. A bucket rounds the
// clock, so it may decide as its model does a nanosecond earlier or later.
type Comparison struct {
	// New returns a limiter and its model, or the error with which the
	// limiter's package refuses the configuration. Extra is a burst, a
	// capacity or an offset; the clock's readings begin at 0.
	New func(c clock.Clock, limit int, window time.Duration, extra int64) (Refundable, Model, error)

	// MaxPerDay is the largest limit per day that New must not refuse.
	MaxPerDay int64
}

// Refundable is a limiter that can do everything.
type Refundable interface {
	ratelimit.Limiter
	ratelimit.Refunder
	ratelimit.Resetter
}

// Fuzz compares limiters with their models on scripts that the fuzzer writes.
func (c Comparison) Fuzz(f *testing.F) {
	for _, script := range seeds() {
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) { c.play(t, script) })
}

// Run compares limiters with their models on some thousand random scripts, the
// same ones each time.
func (c Comparison) Run(t *testing.T) {
	if accepted := c.run(t, 4000); accepted < 1000 {
		t.Errorf("only %d of the random configurations were accepted: too few for a good test", accepted)
	}
}

// run plays the seeds and some random scripts, and returns how many of these had
// a configuration that was accepted.
func (c Comparison) run(tb TB, scripts uint64) (accepted int) {
	tb.Helper()
	for _, script := range seeds() {
		c.play(tb, script)
	}
	for seed := range scripts {
		rng := rand.New(rand.NewPCG(seed, 0))
		script := make([]byte, 20+rng.IntN(300))
		for i := range script {
			script[i] = byte(rng.Uint32())
		}
		if c.play(tb, script) {
			accepted++
		}
	}
	return accepted
}

// script is a configuration and what is to be done, as bytes. It can be read to
// its end and beyond: what is missing is 0.
type script []byte

func (s *script) byte() byte {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return b
}

// number reads a number that may be anything, and often is small, near a power
// of two, or near one of those it is told.
func (s *script) number(near ...int64) int64 {
	form := s.byte()
	argument := int64(s.byte())
	switch form % 8 {
	case 0, 1:
		return argument % 16
	case 2:
		return argument << (form >> 3) // up to 5e11
	case 3:
		return 1<<(argument%64) + int64(form>>3)%3 - 1
	case 4:
		word := make([]byte, 8)
		for i := range word {
			word[i] = s.byte()
		}
		return int64(binary.LittleEndian.Uint64(word)) >> (argument % 64)
	}
	if len(near) == 0 {
		return argument
	}
	return near[int(argument)%len(near)] + int64(form>>3)%3 - 1
}

// exactly is x as number reads it.
func exactly(x int64) []byte {
	return append([]byte{4, 0}, binary.LittleEndian.AppendUint64(nil, uint64(x))...)
}

const year = 365 * 24 * time.Hour

// epochs are when a clock may have read 0. Windows are aligned to a time that
// may be far from it, before it or after.
var epochs = []time.Time{
	time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Unix(0, 0),
	time.Unix(-1, 999999999),
	time.Date(2026, 7, 31, 23, 59, 59, 123456789, time.UTC),
	time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
	time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
	time.Unix(math.MinInt32, 1),
	{},
}

// clockSince is a fake clock with an epoch of its own.
type clockSince struct {
	*clock.Fake
	epoch time.Time
}

func (c clockSince) Epoch() time.Time { return c.epoch }

// What a script does.
const (
	opTake = iota
	opTakeFew
	opPeek
	opAdvance
	opGoBack
	opToRetry
	opToReset
	opSet
	opRefund
	opForge
	opReset
	ops
)

// rounding is by how much a bucket may be early or late: a unit of its word,
// which is at most a nanosecond.
const rounding = time.Nanosecond

// maxSteps is how much of a script is played. More finds nothing more, and what
// a model does takes time.
const maxSteps = 100

// play plays a script on a limiter and its model, and reports whether its
// configuration was accepted.
func (c Comparison) play(tb TB, bytes []byte) bool {
	tb.Helper()
	s := script(bytes)
	epoch := epochs[int(s.byte())%len(epochs)]
	window := time.Duration(s.number(int64(time.Millisecond), int64(time.Second), int64(time.Hour), int64(366*24*time.Hour), int64(10*year)))
	limit := int(s.number(1, 10, 1000, 1e6, 1e12, int64(window)))
	var extra int64
	if s.byte()%2 > 0 {
		extra = s.number(0, 1, int64(limit), 1e12, int64(window), math.MinInt64)
	}

	fake := clock.NewFake()
	limiter, model, err := c.New(clockSince{fake, epoch}, limit, window, extra)
	if err != nil {
		if c.promised(limit, window, extra) {
			tb.Fatalf("%d per %v, extra %d, is refused: %v", limit, window, extra, err)
		}
		return false
	}
	if limit < 1 || window < 1 {
		tb.Fatalf("%d per %v, extra %d, is not refused", limit, window, extra)
	}
	g := game{
		tb:      tb,
		clock:   fake,
		limiter: limiter,
		model:   model,
		limit:   limiter.Peek(0).Limit,
		last:    limiter.Peek(1),
	}
	g.note("%d per %v, extra %d, since %v", limit, window, extra, epoch)
	g.settle()
	for range maxSteps {
		if len(s) == 0 {
			break
		}
		g.step(&s, window)
	}
	return true
}

// promised reports whether New must accept a configuration.
func (c Comparison) promised(limit int, window time.Duration, extra int64) bool {
	if extra != 0 || limit < 1 {
		return false
	}
	return limit <= 1e6 && window >= time.Millisecond && window <= 366*24*time.Hour ||
		int64(limit) <= c.MaxPerDay && window == 24*time.Hour
}

// game is a script being played.
type game struct {
	tb      TB
	clock   *clock.Fake
	limiter Refundable
	model   Model

	limit int                  // the most that is ever admitted at once
	taken []ratelimit.Decision // and not refunded
	last  ratelimit.Decision

	played []string // in words

	// slack is by how much the clock of a bucket may be ahead of its model's,
	// or behind it.
	slack time.Duration
}

// settle forgets what rounding has added up.
func (g *game) settle() { g.slack = rounding }

func (g *game) step(s *script, window time.Duration) {
	g.tb.Helper()
	now, each := g.clock.Now(), int64(window)/int64(g.limit)
	switch s.byte() % ops {
	case opTake:
		g.take(int(s.number(1, int64(g.limit), int64(g.last.Remaining), math.MaxInt, math.MinInt)))
	case opTakeFew:
		g.take(1 + int(s.byte())%min(g.limit, 256))
	case opPeek:
		g.peek(int(s.number(1, int64(g.limit), int64(g.last.Remaining), math.MaxInt, math.MinInt)))
	case opAdvance:
		g.set(add(now, distance(s.number(int64(window), each, int64(year)))))
	case opGoBack:
		g.set(add(now, -distance(s.number(1, int64(window), each, int64(year)))))
	case opToRetry:
		if wait := g.last.RetryAfter; wait != ratelimit.Never {
			g.set(add(now, wait+time.Duration(s.byte()%3)-1))
		}
	case opToReset:
		if wait := g.last.ResetAfter; wait != ratelimit.Never {
			g.set(add(now, wait+time.Duration(s.byte()%3)-1))
		}
	case opSet:
		g.set(time.Duration(s.number(0, int64(now), int64(lastNow), math.MaxInt64-int64(time.Second), math.MinInt64+1)))
	case opRefund:
		if len(g.taken) > 0 {
			i := int(s.byte()) % len(g.taken)
			g.refund(g.taken[i])
			g.taken = slices.Delete(g.taken, i, i+1)
		}
	case opForge:
		g.forge(ratelimit.Decision{
			Allowed:    true,
			N:          int(s.number(1, int64(g.limit), math.MaxInt, math.MinInt)),
			At:         time.Duration(s.number(0, int64(now), int64(window), math.MaxInt64-1, math.MinInt64+1)),
			ResetAfter: time.Duration(s.number(0, int64(window), 2*int64(window), math.MaxInt64-1, math.MinInt64+1)),
		})
	case opReset:
		g.reset()
	}
}

// note writes down what is played.
func (g *game) note(format string, args ...any) {
	g.played = append(g.played, fmt.Sprintf(format, args...))
}

// fail tells what went wrong and what was played.
func (g *game) fail(format string, args ...any) {
	g.tb.Helper()
	g.tb.Fatalf("%s\n\tafter %s", fmt.Sprintf(format, args...), strings.Join(g.played, "\n\t"))
}

func (g *game) set(now time.Duration) {
	g.note("now = %d", now)
	g.clock.Set(now)
}

func (g *game) take(n int) {
	g.tb.Helper()
	if b, ok := g.model.(*bucket); ok && b.ahead(-g.slack).Peek(g.clock.Now(), 0).ResetAfter == 0 {
		g.settle()
	}
	d := g.limiter.Take(n)
	g.note("Take(%d) = %+v", n, d)
	g.agree("Take", n, d, g.model)
	g.exact(d)
	if d.Allowed {
		g.taken = append(g.taken, d)
	}
	g.last = d
}

func (g *game) peek(n int) {
	g.tb.Helper()
	d := g.limiter.Peek(n)
	g.note("Peek(%d) = %+v", n, d)
	g.agree("Peek", n, d, g.model.Clone())
	if again := g.limiter.Peek(n); d != again {
		g.fail("Peek(%d) = %+v,\n\tand then %+v", n, d, again)
	}
	g.last = d
}

func (g *game) refund(d ratelimit.Decision) {
	g.note("Refund(%+v)", d)
	g.limiter.Refund(d)
	g.model.Refund(g.clock.Now(), d)
	// How much has flowed in since is the difference of two readings, and both
	// are rounded.
	g.slack += rounding
}

// forge refunds a decision that was never made. All that is promised is that
// the limiter holds no less than before, and no more than a fresh one.
func (g *game) forge(d ratelimit.Decision) {
	g.tb.Helper()
	g.note("Refund(%+v), which is forged", d)
	before := g.limiter.Peek(0)
	g.limiter.Refund(d)
	if after := g.limiter.Peek(0); after.Remaining < before.Remaining || after.Remaining > g.limit {
		g.fail("before Peek(0) = %+v\n\tand after %+v", before, after)
	}
	g.reset()
}

func (g *game) reset() {
	g.note("Reset()")
	g.limiter.Reset()
	g.model.Reset()
	g.taken = nil
	g.settle()
}

// agree fails unless the model, asked for n, decides as the limiter did.
// Afterwards the model is in step with the limiter.
func (g *game) agree(verb string, n int, got ratelimit.Decision, model Model) {
	g.tb.Helper()
	now := g.clock.Now()
	compare := func(same bool, want ratelimit.Decision) {
		g.tb.Helper()
		if !same {
			g.fail("at %d, %s(%d) = %+v,\n\tof the model %+v, give or take %v", now, verb, n, got, want, g.slack)
		}
	}
	if b, ok := model.(*bucket); ok {
		// The limiter may be as far as the model is a little earlier or later.
		want := b.Peek(now, n)
		early, late := b.ahead(-g.slack), b.ahead(g.slack)
		compare(!got.Allowed || late.Peek(now, n).Allowed, want)
		compare(got.Allowed || !early.Peek(now, n).Allowed, want)
		compare(got.Allowed == (got.RetryAfter == 0) && (got.Allowed || g.near(got.RetryAfter, want.RetryAfter)), want)
		if got.Allowed && n > 0 {
			b.force(now, n)
		}
		want = b.Peek(now, 0)
		early, late = b.ahead(-g.slack), b.ahead(g.slack)
		compare(got.N == n && got.At == now && got.Limit == want.Limit && g.near(got.ResetAfter, want.ResetAfter), want)
		compare(early.Peek(now, 0).Remaining <= got.Remaining && got.Remaining <= late.Peek(now, 0).Remaining, want)
		return
	}
	want := model.Take(now, n)
	if now != clamp(now) && g.near(got.RetryAfter, want.RetryAfter) && g.near(got.ResetAfter, want.ResetAfter) {
		got.RetryAfter, got.ResetAfter = want.RetryAfter, want.ResetAfter
	}
	compare(got == want, want)
}

// near reports whether two waits from now end at the same time, give or take the
// slack. A wait beyond what the clock reads is Never.
func (g *game) near(a, b time.Duration) bool {
	now := g.clock.Now()
	if now != clamp(now) {
		return a >= 0 // no more is promised of a wait where time stands still
	}
	if a == ratelimit.Never || b == ratelimit.Never {
		end := add(now, min(a, b))
		return a == b || lastNow-end < g.slack
	}
	return max(a, b)-min(a, b) <= g.slack
}

// exact fails unless the limiter keeps what its decision says: n are admitted
// after RetryAfter and it is as good as new after ResetAfter, and not a
// nanosecond before.
func (g *game) exact(d ratelimit.Decision) {
	g.tb.Helper()
	now := g.clock.Now()
	if now < 0 || now > lastNow {
		return // where time stands still
	}
	defer g.clock.Set(now)
	after := func(wait time.Duration, n int) ratelimit.Decision {
		g.clock.Set(now + wait)
		return g.limiter.Peek(n)
	}
	if wait := d.RetryAfter; wait != 0 && wait != ratelimit.Never {
		if early := after(wait-1, d.N); early.Allowed {
			g.fail("%+v,\n\tbut 1ns before it is up %+v", d, early)
		}
		if then := after(wait, d.N); !then.Allowed {
			g.fail("%+v,\n\tbut when it is up %+v", d, then)
		}
	}
	if wait := d.ResetAfter; wait != 0 && wait != ratelimit.Never {
		if early := after(wait-1, g.limit); early.Allowed {
			g.fail("%+v,\n\tbut 1ns before it is as good as new %+v", d, early)
		}
		if then := after(wait, 0); then.ResetAfter != 0 || then.Remaining != g.limit {
			g.fail("%+v,\n\tbut when it is as good as new %+v", d, then)
		}
	}
}

// distance is how far a number moves the clock.
func distance(x int64) time.Duration {
	return time.Duration(max(x, -math.MaxInt64, -x))
}

// add is a+b, held within the range of a Duration.
func add(a, b time.Duration) time.Duration {
	switch {
	case b > 0 && a > math.MaxInt64-b:
		return math.MaxInt64
	case b < 0 && a < math.MinInt64-b:
		return math.MinInt64
	}
	return a + b
}

// seeds are scripts for the extremes that other limiters have failed at.
func seeds() [][]byte {
	type config struct{ epoch, window, limit, extra int64 }
	configs := []config{
		{0, int64(time.Second), 10, 0},
		{0, int64(time.Second), 3, 0},
		{0, int64(time.Second), 600_000_000, 0}, // an interval of 1.67 ns
		{0, int64(time.Second), 700_000_000, 0},
		{0, int64(time.Second), 1_000_000_000, 1},
		{0, 1, 1, 0},
		{0, 7, 7, 1},
		{1, int64(24 * time.Hour), 1e12, 0},
		{2, int64(24 * time.Hour), 1e12, 1},
		{3, int64(366 * 24 * time.Hour), 1, 0},
		{4, int64(366 * 24 * time.Hour), 1_000_000, 1},
		{5, int64(3660 * 24 * time.Hour), 1000, 0},
		{6, int64(3660 * 24 * time.Hour), math.MaxInt32, 0},
		{7, int64(time.Millisecond), 1_000_000, 0},
		{3, int64(time.Hour), 999_983, 104_729}, // primes
		{3, int64(time.Minute), 7, int64(-90 * time.Second)},
		{3, int64(7 * time.Second), 2, math.MaxInt64},
		{3, int64(7 * time.Second), 2, math.MinInt64},
		{0, 0, 0, 0},
		{0, -1, -1, -1},
		{0, math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{0, int64(time.Second), 1, math.MaxInt64},
	}
	var all [][]byte
	for _, c := range configs {
		s := slices.Concat([]byte{byte(c.epoch)}, exactly(c.window), exactly(c.limit), []byte{1}, exactly(c.extra))
		for _, d := range drills() {
			all = append(all, slices.Concat(s, d))
		}
	}
	return all
}

// drills are what the seeds do.
func drills() [][]byte {
	do := func(op byte, argument ...byte) []byte { return append([]byte{op}, argument...) }
	near := func(i, off byte) []byte { return []byte{off<<3 | 5, i} } // of what number is told
	take := func(i, off byte) []byte { return do(opTake, near(i, off)...) }
	const below, at, above = 0, 1, 2
	const one, limit, remaining, maxInt, minInt = 0, 1, 2, 3, 4
	toRetry := func(off byte) []byte { return do(opToRetry, off) }
	toReset := func(off byte) []byte { return do(opToReset, off) }

	var edges []byte // each boundary a nanosecond before, at and after it
	for _, off := range []byte{below, at, above} {
		edges = slices.Concat(edges,
			take(limit, at), take(one, at), toRetry(off), take(one, at), take(remaining, above),
			take(limit, at), toReset(off), take(limit, at), take(limit, above), take(one, below))
	}
	extremes := slices.Concat(
		take(maxInt, at), take(maxInt, below), take(minInt, at), take(minInt, above), take(one, at),
		do(opPeek, near(maxInt, at)...), do(opPeek, near(minInt, at)...))
	var years []byte
	for _, reading := range []int64{0, int64(15 * year), int64(lastNow) - 1, int64(lastNow), int64(lastNow) + 1, math.MaxInt64 - 1e9, math.MaxInt64, -1, -5 * int64(year), math.MinInt64 + 1, math.MinInt64, 0, int64(year)} {
		years = slices.Concat(years, do(opSet, exactly(reading)...), take(limit, at), take(one, at), toRetry(at), take(one, at))
	}
	var stale []byte // two readings in turn
	for range 15 {
		stale = slices.Concat(stale, take(one, at), do(opAdvance, near(1, at)...), take(one, at), do(opGoBack, near(2, at)...))
	}
	refunds := slices.Concat(
		take(one, at), take(one, at), take(remaining, at), do(opRefund, 0), do(opRefund, 1), do(opRefund, 0), take(limit, at),
		toRetry(at), do(opRefund, 0), take(remaining, at), take(one, at),
		do(opAdvance, near(0, at)...), take(limit, at), do(opRefund, 0), take(limit, at),
		do(opAdvance, near(0, above)...), take(one, at), do(opGoBack, near(1, at)...), take(one, at), do(opRefund, 1), take(limit, at))
	return [][]byte{edges, extremes, years, stale, refunds}
}
