package keyed_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// TestPlanKeepsWhatWasUsed changes the plan of a key in both directions.
func TestPlanKeepsWhatWasUsed(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour + 1)
			free := keyed.MustNew[string](k.config(10, time.Hour, c), keyed.Options{})
			paid := free.MustWith(k.config(1000, time.Hour, nil))
			for _, tt := range []struct {
				name                  string
				from, to              *keyed.Limiter[string]
				used, limit, leftOver int
			}{
				{"up", free, paid, 7, 1000, 993},
				{"down", paid, free, 7, 10, 3},
				{"down from more than there is", paid, free, 700, 10, 0},
				{"up, all used", free, paid, 10, 1000, 990},
				{"up, nothing used", free, paid, 0, 1000, 1000},
			} {
				t.Run(tt.name, func(t *testing.T) {
					if !tt.from.AllowN(tt.name, tt.used) {
						t.Fatal("not admitted at first")
					}
					kept := free.Len()
					// To look does not move it.
					for range 2 {
						if d := tt.to.Peek(tt.name, 0); d.Remaining != tt.leftOver || d.Limit != tt.limit {
							t.Errorf("before: Peek = %+v, want %d remaining", d, tt.leftOver)
						}
						if d := tt.from.Peek(tt.name, 0); d.Remaining != d.Limit-tt.used {
							t.Errorf("before, under the old plan: Peek = %+v, want %d used", d, tt.used)
						}
						if d := tt.to.Take(tt.name, 0); !d.Allowed || d.Remaining != tt.leftOver {
							t.Errorf("before: Take(0) = %+v, want %d remaining", d, tt.leftOver)
						}
						if d := tt.to.Take(tt.name, -1); d.Allowed || d.RetryAfter != ratelimit.Never {
							t.Errorf("before: Take(-1) = %+v", d)
						}
					}
					if tt.used > 0 && (tt.to.Kept(tt.name) || !tt.from.Kept(tt.name)) {
						t.Error("moved by a look")
					}
					if tt.leftOver > 0 && tt.to.AllowN(tt.name, tt.leftOver+1) {
						t.Error("more is admitted than was left over")
					}
					if !tt.to.AllowN(tt.name, tt.leftOver) || tt.to.Allow(tt.name) {
						t.Errorf("what is admitted is not the %d that were left over", tt.leftOver)
					}
					if tt.used > 0 && free.Len() != kept {
						t.Errorf("%d keys are kept, before the change %d", free.Len(), kept)
					}
					if wrong := free.Check(); wrong != "" {
						t.Error(wrong)
					}
				})
			}
		})
	}
}

// TestPlanOfATableInUse adds a plan to a table that has keys already. What is
// known of a key under the new plan is not taken for a state under the first
// when the table is made anew.
func TestPlanOfATableInUse(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(100 * time.Hour)
			free := keyed.MustNew[string](k.config(10_000, time.Second, c), keyed.Options{MaxKeys: 1000})
			free.Allow("first")
			paid := free.MustWith(k.config(5, 1000*time.Hour, nil))
			if !paid.AllowN("victim", 5) {
				t.Fatal("a new key is refused")
			}
			for i := range 100 {
				c.Advance(time.Second)
				free.Allow(fmt.Sprint(i))
				if paid.Allow("victim") {
					t.Fatalf("after %d other keys the victim has its limit back", i+1)
				}
			}
			if wrong := free.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestPlanChangesMintNothing changes the plan of a key at every step, at random
// readings. All that is admitted is the larger limit, and what flows in at the
// higher rate.
func TestPlanChangesMintNothing(t *testing.T) {
	const window = time.Second
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for seed := range uint64(60) {
				rng := rand.New(rand.NewPCG(seed, 0))
				c := clock.NewFake()
				start := time.Hour + time.Duration(rng.Int64N(int64(window)))
				c.Set(start)
				limits := []int{1 + rng.IntN(10), 1 + rng.IntN(100), 1 + rng.IntN(30)}
				first := keyed.MustNew[int](k.config(limits[0], window, c), keyed.Options{MaxKeys: 2})
				plans := []*keyed.Limiter[int]{first}
				for _, limit := range limits[1:] {
					plans = append(plans, first.MustWith(k.config(limit, window, nil)))
				}
				most := max(limits[0], limits[1], limits[2])
				var latest time.Duration
				admitted := 0
				for range 1000 {
					p := plans[rng.IntN(len(plans))]
					if n := 1 + rng.IntN(3); p.AllowN(1, n) {
						admitted += n
					}
					p.Peek(1, 1)
					// Readings go back and forth within one and a half windows.
					c.Set(start + time.Duration(rng.Int64N(int64(window*3/2))))
					latest = max(latest, c.Now())
				}
				if bound := k.bound(most, window, start, latest); admitted > bound {
					t.Fatalf("seed %d: %v per %v, changing all the time: %d are admitted in %v, bound %d", seed, limits, window, admitted, latest-start, bound)
				}
			}
		})
	}
}

// TestPlanChangeAtALateReading has one whose reading is late take the key to
// another plan, when a new window has begun and is all but used up already.
func TestPlanChangeAtALateReading(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			const window = time.Second
			for _, late := range []time.Duration{1, window / 2, window, 3 * window, 10 * window} {
				c := clock.NewFake()
				one := keyed.MustNew[int](k.config(10, window, c), keyed.Options{MaxKeys: 10})
				other := one.MustWith(k.config(11, window, nil))
				one.Allow(0) // the table is made at 0, and not again
				now := 100 * window
				c.Set(now)
				if !one.AllowN(1, 10) {
					t.Fatal("not admitted at first")
				}
				c.Set(now - late)
				n := 10
				for other.Allow(1) {
					n++
				}
				c.Set(now)
				for other.Allow(1) || one.Allow(1) {
					n++
				}
				if n > 11 {
					t.Errorf("%v late: %d are admitted in a window", late, n)
				}
				if n < 11 {
					t.Errorf("%v late: %d are admitted in a window, which is less than there are", late, n)
				}
			}
		})
	}
}

// TestPlanRefusesExactly asks at random for keys whose state is under another
// plan. Who is refused is admitted after RetryAfter, and not before.
func TestPlanRefusesExactly(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			refused := 0
			for seed := range uint64(300) {
				rng := rand.New(rand.NewPCG(seed, 0))
				c := clock.NewFake()
				c.Set(time.Duration(rng.Int64N(int64(time.Hour))))
				limits := []int{1 + rng.IntN(10), 1 + rng.IntN(100)}
				rng.Shuffle(2, func(i, j int) { limits[i], limits[j] = limits[j], limits[i] })
				one := keyed.MustNew[int](k.config(limits[0], time.Second, c), keyed.Options{})
				other := one.MustWith(k.config(limits[1], time.Minute, nil))
				for range 1 + rng.IntN(limits[0]) {
					one.Allow(1)
					c.Advance(time.Duration(rng.IntN(1e6)))
				}
				n := 1 + rng.IntN(limits[1])
				before := one.Peek(1, 0)
				d := other.Take(1, n)
				if d != other.Peek(1, n) && !d.Allowed {
					t.Fatalf("seed %d: Take = %+v, then Peek = %+v", seed, d, other.Peek(1, n))
				}
				if d.N != n || d.Limit != limits[1] || d.Allowed != (d.RetryAfter == 0) || d.Remaining < 0 || d.Remaining > limits[1] {
					t.Fatalf("seed %d: Take(%d) = %+v, limit %d", seed, n, d, limits[1])
				}
				if d.Allowed {
					continue
				}
				refused++
				if after := one.Peek(1, 0); after != before {
					t.Fatalf("seed %d: a refusal changes the state from %+v to %+v", seed, before, after)
				}
				if used := before.Limit - before.Remaining; d.Remaining != max(limits[1]-used, 0) {
					t.Fatalf("seed %d: %d are used, and %+v", seed, used, d)
				}
				c.Advance(d.RetryAfter - 1)
				if early := other.Peek(1, n); early.Allowed {
					t.Fatalf("seed %d: %d of %d after %d of %d: %+v, but 1ns before that %+v", seed, n, limits[1], before.Limit-before.Remaining, limits[0], d, early)
				}
				c.Advance(1)
				if then := other.Take(1, n); !then.Allowed {
					t.Fatalf("seed %d: %d of %d after %d of %d: %+v, but then %+v", seed, n, limits[1], before.Limit-before.Remaining, limits[0], d, then)
				}
			}
			if refused < 20 {
				t.Errorf("only %d were refused", refused)
			}
		})
	}
}

// TestRefundUnderAnotherPlan refunds decisions when the key has come under
// another plan. However many they are, none lets more through than the bound of
// that plan.
func TestRefundUnderAnotherPlan(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			hourly := keyed.MustNew[int](k.config(1000, time.Hour, c), keyed.Options{})
			perSecond := hourly.MustWith(k.config(10, time.Second, nil))
			var taken []ratelimit.Decision
			for range 100 {
				taken = append(taken, hourly.Take(1, 10))
			}
			perSecond.Allow(1)
			// The last second of the hour.
			c.Set(time.Hour - time.Second)
			admitted := 0
			for _, d := range taken {
				for perSecond.Allow(1) {
					admitted++
				}
				hourly.Refund(1, d)
				perSecond.Refund(1, d)
			}
			if admitted > 10 {
				t.Errorf("%d are admitted at one reading, limit 10", admitted)
			}

			// At the reading of the decisions.
			c.Set(2 * time.Hour)
			hourly.Forget(1)
			taken, admitted = nil, 0
			for range 100 {
				taken = append(taken, hourly.Take(1, 10))
			}
			for _, d := range taken {
				for perSecond.Allow(1) {
					admitted++
				}
				hourly.Refund(1, d)
			}
			if admitted > 10 {
				t.Errorf("%d are admitted at the reading of what is refunded, limit 10", admitted)
			}
		})
	}
}

// TestPlansInLine has those who wait under different plans of a key served in
// order of arrival.
func TestPlansInLine(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.NewFake()
				c.Set(time.Hour)
				one := keyed.MustNew[int](k.config(4, time.Second, c), keyed.Options{})
				other := one.MustWith(k.config(8, time.Second, nil))
				one.AllowN(1, 4)
				var served []int
				var mu sync.Mutex
				for i, l := range []*keyed.Limiter[int]{one, other, one, other} {
					go func() {
						if err := l.WaitN(t.Context(), 1, 1); err != nil {
							t.Error(err)
						}
						mu.Lock()
						served = append(served, i)
						mu.Unlock()
					}()
					synctest.Wait()
				}
				for _, l := range []*keyed.Limiter[int]{one, other} {
					if d := l.Peek(1, 1); d.Allowed || d.RetryAfter == 0 {
						t.Errorf("while others wait Peek = %+v", d)
					}
					if l.Allow(1) {
						t.Error("Allow overtakes those who wait")
					}
				}
				for range 100 {
					c.Advance(100 * time.Millisecond)
					synctest.Wait()
				}
				if got, want := fmt.Sprint(served), "[0 1 2 3]"; got != want {
					t.Errorf("served in order %s, want %s", got, want)
				}
				if lines, bits := one.Lines(); lines != 0 || bits != 0 {
					t.Errorf("%d lines are left, bits %b", lines, bits)
				}
			})
		})
	}
}

// TestPlansAtOnce uses keys under two plans from many goroutines at one reading.
// Together they admit the larger limit of each key.
func TestPlansAtOnce(t *testing.T) {
	const few, many, keys = 50, 200, 20
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour)
			one := keyed.MustNew[int](k.config(few, time.Hour, c), keyed.Options{MaxKeys: 64})
			plans := []*keyed.Limiter[int]{one, one.MustWith(k.config(many, time.Hour, nil))}
			var admitted [keys]atomic.Int64
			together(4, func(i int) {
				rng := rand.New(rand.NewPCG(uint64(i), 0))
				for range 20_000 {
					k := rng.IntN(keys)
					if plans[rng.IntN(2)].Allow(k) {
						admitted[k].Add(1)
					}
				}
			})
			for k := range admitted {
				for range many {
					if plans[1].Allow(k) {
						admitted[k].Add(1)
					}
				}
				if n := admitted[k].Load(); n != many {
					t.Errorf("%d are admitted, limit %d", n, many)
				}
			}
			if wrong := one.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestPlansOfOneLimitAtOnce is TestPlansAtOnce where both plans are the same, so
// that nothing is lost on the way: exactly the limit is admitted.
func TestPlansOfOneLimitAtOnce(t *testing.T) {
	const limit, keys = 500, 5
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour)
			one := keyed.MustNew[int](k.config(limit, time.Hour, c), keyed.Options{MaxKeys: 64})
			plans := []*keyed.Limiter[int]{one, one.MustWith(k.config(limit, time.Hour, nil))}
			var admitted [keys]atomic.Int64
			together(4, func(i int) {
				rng := rand.New(rand.NewPCG(uint64(i), 0))
				for range 5000 {
					k := rng.IntN(keys)
					if plans[rng.IntN(2)].Allow(k) {
						admitted[k].Add(1)
					}
					plans[rng.IntN(2)].Allow(keys + rng.IntN(50))
				}
			})
			for k := range admitted {
				if n := admitted[k].Load(); n != limit {
					t.Errorf("%d are admitted, limit %d", n, limit)
				}
			}
			if wrong := one.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

func TestWithErrors(t *testing.T) {
	c := clock.NewFake()
	l := keyed.MustNew[string](tokenbucket.Config{Limit: 10, Window: time.Second, Clock: c}, keyed.Options{})
	wide := keyed.MustNew[string](slidingwindow.Config{Limit: 60, Window: 64, Clock: c}, keyed.Options{})
	for _, tt := range []struct {
		name   string
		l      *keyed.Limiter[string]
		config keyed.Config
		want   string
	}{
		{"no config", l, nil, "nil"},
		{"another clock", l, tokenbucket.Config{Limit: 1, Window: time.Second, Clock: clock.NewFake()}, "Clock"},
		{"a clock that cannot be compared", l, tokenbucket.Config{Limit: 1, Window: time.Second, Clock: incomparable{Fake: c}}, "Clock"},
		{"a bad config", l, tokenbucket.Config{Limit: 0, Window: time.Second}, "Limit 0"},
		{"records to words", l, slidinglog.Config{Limit: 1, Window: time.Second}, "slidinglog.Config"},
		{"words to records", wide, slidingwindow.Config{Limit: 1, Window: time.Second}, "slidingwindow.Config"},
		{"records to other records", wide, slidinglog.Config{Limit: 1, Window: time.Second}, "slidinglog.Config"},
		{"a log too long", wide, slidinglog.Config{Limit: 0, Window: time.Second}, "Limit 0"},
	} {
		with, err := tt.l.With(tt.config)
		if err == nil || with != nil {
			t.Errorf("%s: With = %v, %v", tt.name, with, err)
		} else if !strings.HasPrefix(err.Error(), "keyed: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the error does not say %q: %v", tt.name, tt.want, err)
		}
	}
	for _, same := range []clock.Clock{nil, c} {
		if _, err := l.With(tokenbucket.Config{Limit: 1, Window: time.Second, Clock: same}); err != nil {
			t.Errorf("with clock %v: %v", same, err)
		}
	}
	for range 61 {
		l.MustWith(tokenbucket.Config{Limit: 1, Window: time.Second})
	}
	if _, err := l.With(tokenbucket.Config{Limit: 1, Window: time.Second}); err == nil || !strings.Contains(err.Error(), "64") {
		t.Errorf("the 65th plan: %v", err)
	}
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), "64") {
			t.Errorf("MustWith panics with %v", err)
		}
	}()
	l.MustWith(tokenbucket.Config{Limit: 1, Window: time.Second})
}

type incomparable struct {
	*clock.Fake
	_ []int
}

// TestPlansUpToTheLast uses a key under every plan there may be.
func TestPlansUpToTheLast(t *testing.T) {
	c := clock.NewFake()
	c.Set(time.Hour)
	plans := []*keyed.Limiter[string]{keyed.MustNew[string](fixedwindow.Config{Limit: 100, Window: time.Hour, Clock: c}, keyed.Options{MaxKeys: 1})}
	for range 63 {
		plans = append(plans, plans[0].MustWith(fixedwindow.Config{Limit: 100, Window: time.Hour}))
	}
	for i, p := range plans {
		if d := p.Take("key", 1); d.Remaining != 99-i {
			t.Errorf("plan %d: %+v, want %d remaining", i, d, 99-i)
		}
	}
	if n := plans[0].Len(); n != 1 {
		t.Errorf("%d keys are kept, want 1", n)
	}
	if d := plans[7].Peek("other", 1); d.Allowed {
		t.Errorf("another key: %+v", d)
	}
}

// TestNewErrors is of what New refuses.
func TestNewErrors(t *testing.T) {
	good := leakybucket.Config{Limit: 1, Window: time.Second}
	for _, tt := range []struct {
		config keyed.Config
		o      keyed.Options
		want   string
	}{
		{nil, keyed.Options{}, "config is nil"},
		{leakybucket.Config{}, keyed.Options{}, "Window 0s"},
		{good, keyed.Options{MaxKeys: -1}, "MaxKeys -1 is out of range [1, 1073741824]"},
		{good, keyed.Options{MaxKeys: 1<<30 + 1}, "MaxKeys 1073741825"},
		{good, keyed.Options{WhenFull: 2}, "WhenFull 2"},
		{good, keyed.Options{WhenFull: -1}, "WhenFull -1"},
	} {
		l, err := keyed.New[int](tt.config, tt.o)
		if err == nil || l != nil || !strings.HasPrefix(err.Error(), "keyed: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("New(%+v, %+v) = %v, %v; want an error that says %q", tt.config, tt.o, l, err, tt.want)
		}
	}
	if l, err := keyed.New[int](good, keyed.Options{}); err != nil || l.Stats().MaxKeys != 1<<20 {
		t.Errorf("with no options: %v, %v", l, err)
	}
	defer func() {
		if err, ok := recover().(error); !ok || errors.Unwrap(err) == nil {
			t.Errorf("MustNew panics with %v", err)
		}
	}()
	keyed.MustNew[int](leakybucket.Config{}, keyed.Options{})
}

// together runs f in some goroutines at once, and returns when all have
// returned.
func together(goroutines int, f func(i int)) {
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range goroutines {
		all.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	all.Wait()
}
