package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
)

// TestEachKeyAdmitsItsLimit has many goroutines use some keys up at one reading
// of the clock, while other keys come, are as good as new at once, and are
// forgotten, and the table grows. Each key admits its limit, to the event.
func TestEachKeyAdmitsItsLimit(t *testing.T) {
	const limit, keys, goroutines = 40, 300, 4
	for _, k := range allKinds() {
		for _, o := range []keyed.Options{{MaxKeys: 2048}, {MaxKeys: 2048, Exact: true}} {
			t.Run(fmt.Sprintf("%s/exact=%t", k.name, o.Exact), func(t *testing.T) {
				c := clock.NewFake()
				c.Set(time.Hour)
				l := keyed.MustNew[int](k.config(limit, time.Hour, c), o)
				var admitted [keys]atomic.Int64
				together(goroutines, func(id int) {
					rng := rand.New(rand.NewPCG(uint64(id), 0))
					for i, key := range rng.Perm(keys * limit) {
						key %= keys
						if l.AllowN(key, 1) {
							admitted[key].Add(1)
						}
						// One that is as good as new again at once, so that its
						// place is free.
						idle := 1 + keys + id*1_000_000 + i
						if d := l.Take(idle, 1); d.Allowed {
							l.Refund(idle, d)
						}
						if i%50 == 0 {
							l.Forget(idle - 1)
							l.Peek(key, 1)
						}
					}
				})
				for key := range admitted {
					if n := admitted[key].Load(); n != limit {
						t.Errorf("key %d: %d are admitted, limit %d", key, n, limit)
					}
				}
				if wrong := l.Check(); wrong != "" {
					t.Error(wrong)
				}
				if st := l.Stats(); st.Renewals < 10 {
					t.Errorf("the table was renewed only %d times", st.Renewals)
				}
			})
		}
	}
}

// TestHotKeyAdmitsItsLimit has all use up one key, while others come and go.
func TestHotKeyAdmitsItsLimit(t *testing.T) {
	const limit, hot = 300_000, -1
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour)
			l := keyed.MustNew[int](k.config(limit, 24*time.Hour, c), keyed.Options{MaxKeys: 64})
			var admitted atomic.Int64
			together(4, func(id int) {
				n := 0
				for n < 2*limit && l.Allow(hot) {
					if n++; n%64 == 0 {
						l.Allow(id<<20 + n)
						l.Forget(id<<20 + n)
					}
				}
				admitted.Add(int64(n))
			})
			if n := admitted.Load(); n != limit {
				t.Errorf("%d are admitted, limit %d", n, limit)
			}
			if st := l.Stats(); st.Renewals < 100 {
				t.Errorf("the table was renewed only %d times", st.Renewals)
			}
		})
	}
}

// wavering is a clock whose readings are late by up to an hour.
type wavering struct {
	*clock.Fake
	state atomic.Uint64
}

func (w *wavering) Now() time.Duration {
	x := w.state.Add(0x9e3779b97f4a7c15)
	x ^= x >> 31
	x *= 0xbf58476d1ce4e5b9
	return w.Fake.Now() - time.Duration(x>>1)%time.Hour
}

// TestLateReadingsMintNothing does the same with readings that come in any order.
// A key without a state is as of the latest at which keys were forgotten: nobody
// gets a second burst by coming late.
func TestLateReadingsMintNothing(t *testing.T) {
	const limit, keys, goroutines = 5, 100, 4
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			c := &wavering{Fake: clock.NewFake()}
			end := 100 * time.Hour
			c.Set(end)
			l := keyed.MustNew[int](k.config(limit, time.Second, c), keyed.Options{MaxKeys: 128})
			var admitted [keys]atomic.Int64
			var earliest, latest atomic.Int64
			earliest.Store(int64(end))
			note := func(now time.Duration) {
				for old := earliest.Load(); int64(now) < old && !earliest.CompareAndSwap(old, int64(now)); old = earliest.Load() {
				}
				for old := latest.Load(); int64(now) > old && !latest.CompareAndSwap(old, int64(now)); old = latest.Load() {
				}
			}
			together(goroutines, func(id int) {
				rng := rand.New(rand.NewPCG(uint64(id), 0))
				for range 20_000 {
					// One is asked for most, in turn with some that make the
					// table be renewed.
					key := rng.IntN(keys)
					if rng.IntN(2) == 0 {
						key = 0
					}
					if d := l.Take(key, 1); d.Allowed {
						admitted[key].Add(1)
						note(d.At)
					}
				}
			})
			bound := k.bound(limit, time.Second, time.Duration(earliest.Load()), time.Duration(latest.Load()))
			for key := range admitted {
				if n := admitted[key].Load(); int(n) > bound {
					t.Errorf("key %d: %d are admitted, bound %d", key, n, bound)
				}
			}
			if wrong := l.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestLateKeyStartsAtTheFloor forgets a key and has it come again at an earlier
// reading.
func TestLateKeyStartsAtTheFloor(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			l := keyed.MustNew[int](k.config(10, time.Second, c), keyed.Options{MaxKeys: 10})
			for i := range 1000 {
				now := time.Duration(i+10) * 10 * time.Second
				c.Set(now)
				if !l.AllowN(1, 10) {
					t.Fatalf("at %v: the limit is not there", now)
				}
				c.Set(now + 3*time.Second)
				l.Renew(1)
				if l.Kept(1) {
					t.Fatal("it is not forgotten")
				}
				// All that is admitted from the earlier reading on is within
				// the bound.
				c.Set(now)
				n := 10
				for l.Allow(1) {
					n++
				}
				c.Set(now + 500*time.Millisecond)
				for l.Allow(1) {
					n++
				}
				c.Set(now + 3*time.Second)
				for l.Allow(1) {
					n++
				}
				if bound := 20; n > bound {
					t.Fatalf("%d are admitted, %d more than may be", n, n-bound)
				}
			}
		})
	}
}

// TestRefundsAtOnce takes and refunds while the table is renewed: in the end all
// keys are as good as new.
func TestRefundsAtOnce(t *testing.T) {
	const keys = 20
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour)
			l := keyed.MustNew[int](k.config(12, time.Hour, c), keyed.Options{MaxKeys: keys})
			together(4, func(id int) {
				rng := rand.New(rand.NewPCG(uint64(id), 0))
				for range 8000 {
					key := rng.IntN(keys)
					if d := l.Take(key, 1+rng.IntN(3)); d.Allowed {
						l.Refund(key, d)
					}
					if rng.IntN(100) == 0 {
						l.Renew(key)
					}
				}
			})
			for key := range keys {
				if d := l.Peek(key, 0); d.Remaining != d.Limit || d.ResetAfter != 0 {
					t.Errorf("key %d: %+v", key, d)
				}
			}
			if st := l.Stats(); st.Active != 0 {
				t.Errorf("%+v", st)
			}
			l.Renew(0)
			if n := l.Len(); n != 0 {
				t.Errorf("%d keys are kept, though all are as good as new", n)
			}
			if wrong := l.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}
