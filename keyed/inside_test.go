package keyed_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
)

// TestIterators has keys that are busy to different degrees.
func TestIterators(t *testing.T) {
	for _, k := range kinds {
		for _, exact := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/exact=%t", k.name, exact), func(t *testing.T) {
				c := clock.NewFake()
				c.Set(time.Hour)
				l := keyed.MustNew[string](k.config(10, time.Hour, c), keyed.Options{MaxKeys: 10_000, Exact: exact})
				used := map[string]int{}
				for i := range 40 {
					key := fmt.Sprint("key", i)
					used[key] = i % 11
					l.AllowN(key, i%11)
				}
				d := l.Take("idle", 3)
				l.Refund("idle", d)

				names := func(key string, d ratelimit.Decision) {
					t.Helper()
					if !exact {
						if key != "" {
							t.Errorf("the key is %q", key)
						}
						return
					}
					if want := l.Peek(key, 1); d != want {
						t.Errorf("%s: %+v, want %+v", key, d, want)
					}
				}
				refused := map[string]bool{}
				n := 0
				for key, d := range l.Refused() {
					if d.Allowed || d.N != 1 || d.Limit != 10 || d.Remaining != 0 {
						t.Errorf("%s is refused: %+v", key, d)
					}
					names(key, d)
					refused[key] = true
					n++
				}
				if n != 3 {
					t.Errorf("%d are refused, want 3: %v", n, slices.Sorted(maps.Keys(refused)))
				}
				if exact && !(refused["key10"] && refused["key21"] && refused["key32"]) {
					t.Errorf("refused are %v", slices.Sorted(maps.Keys(refused)))
				}

				for _, most := range []int{-1, 0, 1, 5, 20, 1000} {
					var parts []int
					for key, d := range l.Busiest(most) {
						names(key, d)
						used := 10 - l.Peek(key, 0).Remaining
						if !exact {
							used = 10 - d.Remaining
							if d.Allowed {
								used-- // the one it asked for
							}
						}
						parts = append(parts, used)
						// The body may call what it likes.
						l.Forget("idle")
						l.Renew("idle")
						l.Stats()
					}
					if !slices.IsSortedFunc(parts, func(a, b int) int { return b - a }) {
						t.Errorf("Busiest(%d) have used %v", most, parts)
					}
					if want := min(max(most, 0), 36); len(parts) != want {
						t.Errorf("Busiest(%d) are %d, want %d", most, len(parts), want)
					}
					if len(parts) > 0 && parts[0] != 10 {
						t.Errorf("Busiest(%d) begins with %d of 10 used", most, parts[0])
					}
				}
				for range l.Refused() {
					break
				}
				n = 0
				for range l.Busiest(20) {
					if n++; n == 2 {
						break
					}
				}
				if n != 2 {
					t.Errorf("a loop that ends at 2 has had %d", n)
				}

				st := l.Stats()
				if st.Active != 36 || st.Keys != l.Len() || st.MaxKeys != 10_000 || st.Renewals == 0 || st.NoPlace != 0 {
					t.Errorf("%+v", st)
				}
				c.Advance(3 * time.Hour)
				for key, d := range l.Refused() {
					t.Errorf("%s: %+v", key, d)
				}
				for key, d := range l.Busiest(5) {
					t.Errorf("%s: %+v", key, d)
				}
				if st := l.Stats(); st.Active != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// TestIteratorsOfPlans has keys under two plans: the part of the limit counts.
func TestIteratorsOfPlans(t *testing.T) {
	c := clock.NewFake()
	l := keyed.MustNew[string](kinds[0].config(10, time.Hour, c), keyed.Options{Exact: true})
	paid := l.MustWith(kinds[0].config(1000, time.Hour, nil))
	l.AllowN("free", 8)
	paid.AllowN("paid", 500)
	var got []string
	for key, d := range l.Busiest(2) {
		got = append(got, fmt.Sprint(key, d.Limit))
	}
	if want := "[free10 paid1000]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestLookup tells a key that is refused from one that finds no place.
func TestLookup(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			c := clock.NewFake()
			l := keyed.MustNew[int](k.config(2, time.Hour, c), keyed.Options{MaxKeys: 1})
			if d, ok := l.Lookup(1); ok || !d.Allowed {
				t.Errorf("of a new key: %+v, %t", d, ok)
			}
			l.Allow(1)
			if d, ok := l.Lookup(1); !ok || d != l.Peek(1, 1) {
				t.Errorf("of a key that is kept: %+v, %t, and Peek %+v", d, ok, l.Peek(1, 1))
			}
			l.Allow(1)
			if d, ok := l.Lookup(1); !ok || d.Allowed || d != l.Peek(1, 1) {
				t.Errorf("of a key that is refused: %+v, %t, and Peek %+v", d, ok, l.Peek(1, 1))
			}
			if d, ok := l.Lookup(2); ok || !d.Allowed || l.Peek(2, 1).Allowed {
				t.Errorf("of a key that finds no place: %+v, %t", d, ok)
			}
			other := l.MustWith(k.config(3, time.Hour, nil))
			if d, ok := other.Lookup(1); !ok || d != other.Peek(1, 1) {
				t.Errorf("of a key that is kept under another plan: %+v, %t", d, ok)
			}
			l.Forget(1)
			if d, ok := l.Lookup(1); ok || !d.Allowed {
				t.Errorf("of a key that is forgotten: %+v, %t", d, ok)
			}
			if l.Len() != 0 {
				t.Errorf("%d keys are kept", l.Len())
			}
		})
	}
}
