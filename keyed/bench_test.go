package keyed_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

const million = 1_000_000

var (
	names  []string
	lookup []uint32
)

func population() {
	if names != nil {
		return
	}
	for i := range million {
		names = append(names, fmt.Sprintf("client-%d", i))
	}
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.07, 1, million-1)
	perm := r.Perm(million)
	for range 1 << 20 {
		lookup = append(lookup, uint32(perm[z.Uint64()]))
	}
}

func BenchmarkAllow(b *testing.B) {
	population()
	b.Run("floor", func(b *testing.B) {
		words := make([]struct{ id, word atomic.Uint64 }, million*5/4)
		seed := maphash.MakeSeed()
		c := clock.System()
		i := 0
		for b.Loop() {
			i++
			h := maphash.String(seed, names[lookup[i&(1<<20-1)]])
			now := c.Now()
			w := &words[h%uint64(len(words))].word
			old := w.Load()
			w.CompareAndSwap(old, old+uint64(now))
		}
	})
	b.Run("granted", func(b *testing.B) {
		l := keyed.MustNew[string](tokenbucket.Config{Limit: 1e9, Window: time.Second}, keyed.Options{MaxKeys: million})
		for _, n := range names {
			l.Allow(n)
		}
		i := 0
		for b.Loop() {
			i++
			l.Allow(names[lookup[i&(1<<20-1)]])
		}
	})
	b.Run("refused", func(b *testing.B) {
		l := keyed.MustNew[string](tokenbucket.Config{Limit: 1, Window: time.Hour}, keyed.Options{MaxKeys: million * 5 / 4})
		for _, n := range names {
			l.Allow(n)
		}
		i := 0
		for b.Loop() {
			i++
			l.Allow(names[lookup[i&(1<<20-1)]])
		}
	})
}
