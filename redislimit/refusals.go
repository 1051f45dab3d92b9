package redislimit

import (
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"
)

// refusals remembers what the server has refused. Each key has one place, found
// by its hash, and shares it with others: the latest comer stays. So memory is
// bounded, and reading takes no lock.
type refusals struct {
	seed   maphash.Seed
	places []atomic.Pointer[refusal]
}

// refusal is what the server refused to a key. Nothing in it changes.
type refusal struct {
	key    string
	n      int           // this many, and so more, are refused
	until  time.Duration // before this reading of the clock
	sent   time.Duration // the reading at which the server was asked
	answer answer        // what it said

	// What was asked at this reading or before is not remembered at this place:
	// a key of it was forgotten then.
	forgot time.Duration
}

func newRefusals(places int) *refusals {
	return &refusals{maphash.MakeSeed(), make([]atomic.Pointer[refusal], places)}
}

func (r *refusals) place(key string) *atomic.Pointer[refusal] {
	return &r.places[maphash.String(r.seed, key)%uint64(len(r.places))]
}

// find returns why n events of a key are refused at now; nil if they may not be.
func (r *refusals) find(key string, n int, now time.Duration) *refusal {
	if f := r.place(key).Load(); f != nil && n >= f.n && now < f.until && f.key == key {
		return f
	}
	return nil
}

// add remembers a refusal.
func (r *refusals) add(f *refusal) {
	place := r.place(f.key)
	old := place.Load()
	f.forgot = math.MinInt64
	if old != nil {
		f.forgot = old.forgot
	}
	if f.sent > f.forgot {
		place.CompareAndSwap(old, f)
	}
}

// forget forgets a key at now.
func (r *refusals) forget(key string, now time.Duration) {
	r.place(key).Store(&refusal{n: math.MaxInt, until: math.MinInt64, forgot: now})
}
