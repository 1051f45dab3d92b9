package verify

import (
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/internal/limitertest"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// busy is one key of a table in which others come and are forgotten during the
// history: before each call there is another key, so that the table is made anew
// every few calls, while the others call.
type busy struct {
	all *keyed.Limiter[uint64]
}

const watched = 1 << 63

func (b *busy) stir() {
	for range 1 + rand.N(4) {
		other := rand.Uint64N(1 << 62)
		if b.all.Allow(other); rand.N(2) == 0 {
			b.all.Forget(other)
		}
	}
}

func (b *busy) AllowN(n int) bool             { b.stir(); return b.all.AllowN(watched, n) }
func (b *busy) Take(n int) ratelimit.Decision { b.stir(); return b.all.Take(watched, n) }
func (b *busy) Peek(n int) ratelimit.Decision { b.stir(); return b.all.Peek(watched, n) }
func (b *busy) Refund(d ratelimit.Decision)   { b.stir(); b.all.Refund(watched, d) }
func (b *busy) Reset()                        { b.stir(); b.all.Forget(watched) }

var keyedSubjects = []struct {
	name   string
	scale  int
	config func(c clock.Clock) keyed.Config
	model  limitertest.Model
}{
	{"tokenbucket", 1, func(c clock.Clock) keyed.Config {
		return tokenbucket.Config{Limit: 4, Window: window, Burst: 5, Clock: c}
	}, limitertest.NewTokenBucket(4, window, 5)},
	{"leakybucket", 1, func(c clock.Clock) keyed.Config {
		return leakybucket.Config{Limit: 4, Window: window, Capacity: 5, Clock: c}
	}, limitertest.NewLeakyBucket(4, window, 5)},
	{"fixedwindow", 1, func(c clock.Clock) keyed.Config {
		return fixedwindow.Config{Limit: 6, Window: window, Offset: 5, Clock: c}
	}, limitertest.NewFixedWindow(6, window, 5, epoch)},
	{"slidingwindow", 1, func(c clock.Clock) keyed.Config {
		return slidingwindow.Config{Limit: 6, Window: window, Clock: c}
	}, limitertest.NewSlidingWindow(6, window, epoch)},
	{"slidingwindow/wide", 10, func(c clock.Clock) keyed.Config {
		return slidingwindow.Config{Limit: 60, Window: window, Clock: c}
	}, limitertest.NewSlidingWindow(60, window, epoch)},
	{"slidinglog", 1, func(c clock.Clock) keyed.Config {
		return slidinglog.Config{Limit: 6, Window: window, Clock: c}
	}, limitertest.NewSlidingLog(6, window)},
}

// TestKeyIsLinearizable checks histories of one key of a busy table. The clock
// does not go back: what is forgotten between two readings of which the earlier
// one comes later is as good as new only at the later, which the model of a
// single limiter does not know.
func TestKeyIsLinearizable(t *testing.T) {
	for _, k := range keyedSubjects {
		renewals := int64(0)
		var last *busy
		s := subject{name: k.name, scale: k.scale, model: k.model, build: func(c clock.Clock) limiter {
			if last != nil {
				renewals += last.all.Stats().Renewals
			}
			last = &busy{all: keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 4096})}
			return last
		}}
		spec := specification(s.model)
		for _, m := range movements[:2] {
			t.Run(s.name+"/clock="+m.name, func(t *testing.T) {
				first := rand.Uint64()
				var seen summary
				for i := range *histories {
					history := s.record(first+uint64(i), m.read)
					if !porcupine.CheckOperations(spec, history) {
						t.Fatalf("history %d is not linearizable:%s", i, describe(history))
					}
					seen.add(history)
				}
				seen.check(t)
				if renewals < int64(*histories) {
					t.Errorf("the table was renewed %d times in %d histories", renewals, *histories)
				}
			})
		}
	}
}

// steady is busy without chance: before each call another key comes, or goes.
type steady struct {
	all *keyed.Limiter[uint64]
	n   uint64
}

func (s *steady) stir() {
	if s.n++; s.n%2 == 1 {
		s.all.Allow(s.n)
	} else {
		s.all.Forget(s.n - 1)
	}
}

func (s *steady) AllowN(n int) bool             { s.stir(); return s.all.AllowN(watched, n) }
func (s *steady) Take(n int) ratelimit.Decision { s.stir(); return s.all.Take(watched, n) }
func (s *steady) Peek(n int) ratelimit.Decision { s.stir(); return s.all.Peek(watched, n) }
func (s *steady) Refund(d ratelimit.Decision)   { s.stir(); s.all.Refund(watched, d) }
func (s *steady) Reset()                        { s.stir(); s.all.Forget(watched) }

// TestKeyInterleavings is TestInterleavings for one key of a table that is made
// anew every few calls. The clock stands still, lest a key be forgotten at one
// reading and asked for at an earlier one.
func TestKeyInterleavings(t *testing.T) {
	if !*stepped {
		t.Skip("TestStepped runs it")
	}
	for _, k := range keyedSubjects {
		t.Run(k.name, func(t *testing.T) {
			e := newExplorer(&subject{name: k.name, scale: k.scale, model: k.model, build: func(c clock.Clock) limiter {
				return &steady{all: keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 100})}
			}})
			e.frozen = true
			programs := uint64(1) // the first of eight has too many
			for ; e.interleavings < *interleavings/4; programs++ {
				if history := e.program(programs); history != nil {
					t.Fatalf("program %d is not linearizable in interleaving %d of all:%s", programs, e.interleavings, describe(history))
				}
			}
			t.Logf("%d programs, %d interleavings, %d steps", programs, e.interleavings, e.steps)
			if e.steps < 20*e.interleavings {
				t.Error("the table takes few steps: it was not built against package step")
			}
		})
	}
}

// TestKeyStepByStep has one client interrupted after each of its steps by
// another that goes on until it is done, or must wait for the first. They use a
// key up, under one plan or the other, or make the table anew. Whatever they do,
// exactly the limit is admitted.
func TestKeyStepByStep(t *testing.T) {
	e := stepByStep(t)

	// What is admitted of the key.
	type table struct {
		one, other *keyed.Limiter[uint64]
		admitted   int
	}
	take := func(tb *table, l *keyed.Limiter[uint64]) {
		for l.Allow(watched) {
			tb.admitted++
		}
	}
	renew := func(tb *table) {
		for key := range uint64(6) {
			tb.one.Allow(key)
		}
	}
	clients := []func(tb *table){
		func(tb *table) { take(tb, tb.one) },
		func(tb *table) { take(tb, tb.other) },
		renew,
	}
	for _, k := range keyedSubjects {
		t.Run(k.name, func(t *testing.T) {
			tries := 0
			for i, first := range clients {
				for j, second := range clients {
					for used := range 2 {
						for steps := 0; ; steps++ {
							c := &handClock{hand: &hand{now: 40}}
							tb := &table{one: keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 100})}
							tb.other = tb.one.MustWith(k.config(nil))
							d := tb.one.Take(watched, 1)
							if used == 0 {
								tb.one.Refund(watched, d) // as good as new, and kept
							}
							client := func(calls func(*table)) *process {
								p := &process{hand: hand{now: 40}}
								next, stop := iter.Pull(func(yield func(pause) bool) {
									p.pause = yield
									calls(tb)
								})
								t.Cleanup(stop)
								p.next = next
								return p
							}
							a, b := client(first), client(second)
							for n := 0; n < steps && !a.done; n++ {
								e.resume(a, c)
							}
							last := a.done
							for !b.done {
								if e.resume(b, c); b.yielded && !a.done {
									e.resume(a, c) // it has the lock
								}
							}
							for !a.done {
								e.resume(a, c)
							}
							tries++
							c.hand = &hand{now: 40}
							take(tb, tb.one)
							take(tb, tb.other)
							if want := tb.one.Peek(watched, 0).Limit - used; tb.admitted != want {
								t.Fatalf("client %d after %d steps of client %d, %d used: %d are admitted, want %d", j, steps, i, used, tb.admitted, want)
							}
							if last {
								break
							}
						}
					}
				}
			}
			t.Logf("%d tries", tries)
			if tries < 500 {
				t.Errorf("only %d tries: the table was not built against package step", tries)
			}
		})
	}
}

// TestPlaceIsNotMissed has the only key of a full table become as good as new
// after each step of one who finds no place. Whoever comes afterwards finds it.
func TestPlaceIsNotMissed(t *testing.T) {
	for _, k := range keyedSubjects {
		for name, free := range map[string]func(l *keyed.Limiter[uint64], d ratelimit.Decision){
			"Refund": func(l *keyed.Limiter[uint64], d ratelimit.Decision) { l.Refund(1, d) },
			"Forget": func(l *keyed.Limiter[uint64], _ ratelimit.Decision) { l.Forget(1) },
		} {
			t.Run(k.name+"/"+name, func(t *testing.T) {
				interrupt(t, func(c clock.Clock) (a, b func(), check func(steps int)) {
					l := keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 1})
					d := l.Take(1, 1)
					admitted := false
					return func() { admitted = l.Allow(2) }, func() { free(l, d) }, func(steps int) {
						if !admitted && !l.Allow(3) {
							t.Fatalf("freed after %d steps of one who found no place: nobody finds it", steps)
						}
					}
				})
			})
		}
	}
}

// TestPlaceIsNotLost has a key gain the last place, and another find none, after
// each step of one who asks for the first. Its place is found.
func TestPlaceIsNotLost(t *testing.T) {
	for _, k := range keyedSubjects {
		t.Run(k.name, func(t *testing.T) {
			interrupt(t, func(c clock.Clock) (a, b func(), check func(steps int)) {
				l := keyed.MustNew[uint64](k.config(c), keyed.Options{MaxKeys: 1})
				var first, second, other bool
				return func() { first = l.Allow(1) }, func() { second, other = l.Allow(1), l.Allow(2) }, func(steps int) {
					if !first || !second || other {
						t.Fatalf("after %d steps of the first: admitted %t and %t, and a key without a place %t", steps, first, second, other)
					}
				}
			})
		})
	}
}

// interrupt runs a on a clock that stands still, and all of b after each of its
// steps.
func interrupt(t *testing.T, scene func(c clock.Clock) (a, b func(), check func(steps int))) {
	e := stepByStep(t)
	client := func(calls func()) *process {
		p := &process{hand: hand{now: 40}}
		next, stop := iter.Pull(func(yield func(pause) bool) {
			p.pause = yield
			calls()
		})
		t.Cleanup(stop)
		p.next = next
		return p
	}
	for steps := 0; ; steps++ {
		c := &handClock{hand: &hand{now: 40}}
		first, second, check := scene(c)
		a, b := client(first), client(second)
		for n := 0; n < steps && !a.done; n++ {
			e.resume(a, c)
		}
		last := a.done
		for !b.done {
			if e.resume(b, c); b.yielded && !a.done {
				e.resume(a, c)
			}
		}
		for !a.done {
			e.resume(a, c)
		}
		c.hand = &hand{now: 40}
		check(steps)
		if last {
			if steps < 5 {
				t.Errorf("%d steps: the table was not built against package step", steps)
			}
			return
		}
	}
}
