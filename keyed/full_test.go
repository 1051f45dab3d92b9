package keyed_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// TestSpray drains some keys and sends a hundred times as many new ones as there
// are places. None of the drained ones gets anything back, and there are never
// more keys than MaxKeys, at whatever moment one looks.
func TestSpray(t *testing.T) {
	const maxKeys, drained, limit = 512, 100, 5
	for _, k := range allKinds() {
		for _, when := range []keyed.WhenFull{keyed.Refuse, keyed.Share} {
			t.Run(fmt.Sprintf("%s/%d", k.name, when), func(t *testing.T) {
				c := clock.NewFake()
				c.Set(1000 * time.Hour)
				l := keyed.MustNew[int](k.config(limit, 900*time.Hour, c), keyed.Options{MaxKeys: maxKeys, WhenFull: when})
				for key := range drained {
					if !l.AllowN(key, limit) {
						t.Fatalf("key %d is refused", key)
					}
				}
				var sprayed atomic.Int32
				together(3, func(id int) {
					for id == 0 && sprayed.Load() < 2 {
						if n := l.Len(); n > maxKeys || n < drained {
							t.Errorf("%d keys are kept, %d at most", n, maxKeys)
							return
						}
					}
					for i := 0; id > 0 && i < 50*maxKeys; i++ {
						l.Allow(id*1_000_000 + i)
					}
					sprayed.Add(1)
				})
				for key := range drained {
					if l.Allow(key) {
						t.Errorf("key %d has its burst back", key)
					}
				}
				if n := l.Len(); n != maxKeys {
					t.Errorf("%d keys are kept, want %d", n, maxKeys)
				}
				st := l.Stats()
				if st.Active != maxKeys || st.Keys != maxKeys || st.MaxKeys != maxKeys || st.NoPlace < 99*maxKeys {
					t.Errorf("%+v", st)
				}
				if st.Renewals > 40 {
					t.Errorf("the table was renewed %d times: more than its growth takes", st.Renewals)
				}
				if wrong := l.Check(); wrong != "" {
					t.Error(wrong)
				}
			})
		}
	}
}

// TestPlacesAreUsed has as many keys come as there must be places, and then
// again when those have ended.
func TestPlacesAreUsed(t *testing.T) {
	for _, maxKeys := range []int{1, 2, 10, 63, 64, 65, 127, 128, 1000, 4096, 8191, 8192, 100_000} {
		t.Run(fmt.Sprint(maxKeys), func(t *testing.T) {
			c := clock.NewFake()
			l := keyed.MustNew[int](tokenbucket.Config{Limit: 1, Window: time.Hour, Clock: c}, keyed.Options{MaxKeys: maxKeys})
			parts, _ := l.Parts()
			want := maxKeys
			if parts > 1 {
				want = maxKeys * 7 / 8
			}
			for round := range 4 {
				for key := range want {
					if !l.Allow(round<<24 + key) {
						t.Fatalf("round %d: only %d keys are admitted", round, key)
					}
				}
				for key := range maxKeys {
					l.Allow(round<<24 + 1<<23 + key)
				}
				if n := l.Len(); n > maxKeys || n < want {
					t.Errorf("round %d: %d are kept of %d", round, n, maxKeys)
				}
				c.Advance(time.Hour)
			}
			if wrong := l.Check(); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestPlacesAreFreed frees a few of all places, in each of the ways there are.
// A new key finds one at once where so many are free that it must.
func TestPlacesAreFreed(t *testing.T) {
	for _, k := range allKinds() {
		for _, maxKeys := range []int{1, 10, 64, 1000} {
			const limit = 4
			fill := func(t *testing.T) (*clock.Fake, *keyed.Limiter[int], []ratelimit.Decision) {
				c := clock.NewFake()
				c.Set(1000 * time.Hour)
				l := keyed.MustNew[int](k.config(limit, time.Hour, c), keyed.Options{MaxKeys: maxKeys})
				var taken []ratelimit.Decision
				for key := range maxKeys {
					taken = append(taken, l.Take(key, limit))
				}
				for range 3 {
					if d := l.Take(-1, 1); d.Allowed || l.Allow(-2) {
						t.Fatalf("there is a place for one more than %d: %+v", maxKeys, d)
					}
				}
				return c, l, taken
			}
			freed := max(maxKeys/8, 1)
			t.Run(fmt.Sprintf("%s/%d/refund", k.name, maxKeys), func(t *testing.T) {
				_, l, taken := fill(t)
				for key := range freed {
					l.Refund(key, taken[key])
				}
				if d := l.Take(-1, 1); !d.Allowed {
					t.Errorf("%d keys are as good as new, and %+v", freed, d)
				}
			})
			t.Run(fmt.Sprintf("%s/%d/forget", k.name, maxKeys), func(t *testing.T) {
				_, l, _ := fill(t)
				for key := range freed {
					l.Forget(key)
					if !l.Allow(-1 - key) {
						t.Errorf("no place after %d were forgotten", key+1)
					}
				}
				if l.Allow(-1 - freed) {
					t.Error("one more has a place than were forgotten")
				}
			})
			t.Run(fmt.Sprintf("%s/%d/partial refund", k.name, maxKeys), func(t *testing.T) {
				c := clock.NewFake()
				c.Set(1000 * time.Hour)
				l := keyed.MustNew[int](k.config(limit, time.Hour, c), keyed.Options{MaxKeys: maxKeys})
				var taken []ratelimit.Decision
				for key := range maxKeys {
					l.Take(key, 1)
				}
				c.Advance(time.Millisecond)
				for key := range maxKeys {
					taken = append(taken, l.Take(key, limit-1))
				}
				l.Allow(-1)
				for key, d := range taken {
					l.Refund(key, d)
				}
				// They are as good as new at the end of the first that they took.
				c.Advance(l.Peek(0, 0).ResetAfter)
				if d := l.Take(-1, 1); !d.Allowed {
					t.Errorf("all keys are as good as new, and %+v", d)
				}
			})
			t.Run(fmt.Sprintf("%s/%d/time", k.name, maxKeys), func(t *testing.T) {
				c, l, _ := fill(t)
				d := l.Take(-1, 1)
				if d.RetryAfter == ratelimit.Never || d.RetryAfter > 2*time.Hour || d.RetryAfter != d.ResetAfter {
					t.Errorf("%+v", d)
				}
				c.Advance(d.RetryAfter - 1)
				if l.Allow(-1) {
					t.Error("there is a place before RetryAfter is up")
				}
				c.Advance(1)
				if !l.Allow(-1) {
					t.Error("there is no place when RetryAfter is up, and nobody has come")
				}
			})
		}
	}
}

// TestFullDecision is what those are told who find no place.
func TestFullDecision(t *testing.T) {
	c := clock.NewFake()
	c.Set(time.Hour)
	l := keyed.MustNew[string](fixedwindow.Config{Limit: 7, Window: time.Hour, Clock: c}, keyed.Options{MaxKeys: 1})
	l.Allow("first")
	for _, tt := range []struct {
		n    int
		want ratelimit.Decision
	}{
		{1, ratelimit.Decision{N: 1, At: time.Hour, Limit: 7, RetryAfter: time.Hour, ResetAfter: time.Hour}},
		{7, ratelimit.Decision{N: 7, At: time.Hour, Limit: 7, RetryAfter: time.Hour, ResetAfter: time.Hour}},
		{8, ratelimit.Decision{N: 8, At: time.Hour, Limit: 7, RetryAfter: ratelimit.Never, ResetAfter: time.Hour}},
		{-1, ratelimit.Decision{N: -1, At: time.Hour, Limit: 7, RetryAfter: ratelimit.Never, ResetAfter: time.Hour}},
		{0, ratelimit.Decision{Allowed: true, At: time.Hour, Limit: 7, ResetAfter: time.Hour}},
	} {
		if got := l.Take("other", tt.n); got != tt.want {
			t.Errorf("Take(%d) = %+v, want %+v", tt.n, got, tt.want)
		}
		if got := l.Peek("other", tt.n); got != tt.want {
			t.Errorf("Peek(%d) = %+v, want %+v", tt.n, got, tt.want)
		}
	}
	if l.Allow("other") || l.AllowN("other", 7) || !l.AllowN("other", 0) {
		t.Error("Allow answers otherwise")
	}
	if err := l.Wait(t.Context(), "other"); !errors.Is(err, keyed.ErrFull) {
		t.Errorf("Wait = %v", err)
	}
	if n := l.Stats().NoPlace; n < 4 || n > 6 {
		t.Errorf("%d are counted as refused", n)
	}
}

// TestSharedDecision is what those are told who share.
func TestSharedDecision(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			c.Set(time.Hour)
			l := keyed.MustNew[int](k.config(5, time.Hour, c), keyed.Options{MaxKeys: 1, WhenFull: keyed.Share})
			l.Allow(0)
			var taken []ratelimit.Decision
			for key := 1; key <= 5; key++ {
				d := l.Take(key, 1)
				if !d.Allowed || d.Remaining != 5-key || d.Limit != 5 {
					t.Errorf("key %d: %+v", key, d)
				}
				taken = append(taken, d)
			}
			if d := l.Take(6, 1); d.Allowed || d.RetryAfter < 1 || l.Allow(7) {
				t.Errorf("more than one limit is shared: %+v", d)
			}
			if n := l.Len(); n != 1 {
				t.Errorf("%d keys are kept", n)
			}
			// Those that were shared give nothing back, neither to the shared
			// one nor to a key that has gained a place since.
			for key, d := range taken {
				l.Refund(key+1, d)
			}
			if l.Allow(8) {
				t.Error("a refund gives back what was shared")
			}
			l.Forget(0)
			if !l.AllowN(1, 5) {
				t.Error("a key that gains a place does not start fresh")
			}
			for _, d := range taken {
				l.Refund(1, d)
			}
			if l.Allow(1) {
				t.Error("a refund of what was shared gives something back to a key of its own")
			}
			// What it has admitted itself is another matter.
			c.Advance(2 * time.Hour)
			d := l.Take(1, 5)
			l.Refund(1, d)
			if !l.AllowN(1, 5) {
				t.Error("what was not shared is not given back")
			}
		})
	}
}

// TestRenewalsAreAmortized counts renewals, each of which takes time linear in
// the keys of a part: they must be few for as many new keys, however these come.
func TestRenewalsAreAmortized(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *clock.Fake, l *keyed.Limiter[int]) (calls int)
		most float64 // renewals for each call, of a part of 4159 keys
	}{
		{"growth", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 4096 {
				l.Allow(key)
			}
			return 4096
		}, 1.0 / 100},
		{"flood when full", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 100_000 {
				l.Allow(key)
			}
			return 100_000
		}, 1.0 / 2000},
		{"flood when full, the clock going on", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 100_000 {
				l.Allow(key)
				c.Advance(time.Millisecond)
			}
			return 100_000
		}, 1.0 / 500},
		{"keys that end at once", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 100_000 {
				l.Allow(key)
				c.Advance(time.Second)
			}
			return 100_000
		}, 1.0 / 200},
		{"peeks when full", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 50_000 {
				l.Allow(key)
				l.Peek(-key, 1)
			}
			return 100_000
		}, 1.0 / 2000},
		{"refunds when full", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 20_000 {
				if d := l.Take(key, 1); d.Allowed && key > 4000 {
					l.Refund(key, d)
				}
			}
			return 20_000
		}, 1.0 / 50},
		{"forgotten when full", func(c *clock.Fake, l *keyed.Limiter[int]) int {
			for key := range 20_000 {
				l.Allow(key)
				if key >= 5000 {
					l.Forget(key - 5000)
				}
			}
			return 20_000
		}, 1.0 / 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := clock.NewFake()
			// For so many keys the allocator gives nothing besides.
			l := keyed.MustNew[int](tokenbucket.Config{Limit: 1, Window: 1000 * time.Second, Clock: c}, keyed.Options{MaxKeys: 4159})
			calls := tt.do(c, l)
			n := l.Stats().Renewals
			if float64(n) > tt.most*float64(calls) {
				t.Errorf("%d renewals in %d calls, more than %v", n, calls, tt.most*float64(calls))
			}
		})
	}
}
