package keyed_test

import (
	"math"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
)

// TestExactTellsKeysOfOneHashApart gives many keys the same hash.
func TestExactTellsKeysOfOneHashApart(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			for _, hash := range []uint64{0, 1, 42, math.MaxUint64, 1 << 63} {
				c := clock.NewFake()
				exact := keyed.MustNew[int](k.config(3, time.Hour, c), keyed.Options{MaxKeys: 100, Exact: true})
				hashed := keyed.MustNew[int](k.config(3, time.Hour, c), keyed.Options{MaxKeys: 100})
				for key := range 50 {
					if !exact.TakeAs(hash, key, 3) || exact.TakeAs(hash, key, 1) {
						t.Fatalf("hash %x: key %d has not exactly its own limit", hash, key)
					}
					if got, want := hashed.TakeAs(hash, key, 3), key == 0; got != want {
						t.Fatalf("hash %x, not exact: key %d: %v", hash, key, got)
					}
				}
				if n := exact.Len(); n != 50 {
					t.Errorf("hash %x: %d keys are kept, want 50", hash, n)
				}
				if n := hashed.Len(); n != 1 {
					t.Errorf("hash %x, not exact: %d keys are kept, want 1", hash, n)
				}
			}
		})
	}
}

// TestSeedIsOfTheTable hashes a key in many tables.
func TestSeedIsOfTheTable(t *testing.T) {
	seen := map[uint64]bool{}
	for range 100 {
		l := keyed.MustNew[string](kinds[0].config(1, time.Hour, nil), keyed.Options{})
		hash := l.Hash("key")
		if again := l.Hash("key"); again != hash {
			t.Fatal("a key has two hashes")
		}
		seen[hash] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different hashes in 100 tables", len(seen))
	}
}

// TestNaN is a new key each time, which takes a place each time.
func TestNaN(t *testing.T) {
	for _, exact := range []bool{false, true} {
		c := clock.NewFake()
		l := keyed.MustNew[float64](kinds[0].config(1, time.Hour, c), keyed.Options{MaxKeys: 10, Exact: exact})
		for i := range 20 {
			if got, want := l.Allow(math.NaN()), i < 10; got != want {
				t.Errorf("exact %v, NaN %d: %v", exact, i, got)
			}
		}
		c.Advance(time.Hour)
		if !l.Allow(math.NaN()) || !l.Allow(0) || l.Allow(math.Copysign(0, -1)) {
			t.Error("after an hour it is otherwise")
		}
		if wrong := l.Check(); wrong != "" {
			t.Error(wrong)
		}
	}
}

// TestKeyThatCannotBeCompared panics as in a map, and leaves the table as it was.
func TestKeyThatCannotBeCompared(t *testing.T) {
	l := keyed.MustNew[any](kinds[0].config(1, time.Hour, clock.NewFake()), keyed.Options{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		l.Allow([]int{1})
	}()
	if !l.Allow(1) || l.Allow(1) || !l.Allow("1") {
		t.Error("afterwards it does not work")
	}
}
