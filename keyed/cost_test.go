package keyed_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

type composite struct {
	user  int64
	route string
}

// TestNothingAllocates is of every verb, granted and refused, for keys of
// different types.
func TestNothingAllocates(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			allocates(t, k, "alice", "bob")
			allocates(t, k, 1, 2)
			allocates(t, k, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.1"))
			allocates(t, k, composite{1, "/users"}, composite{2, "/users"})
		})
	}
}

func allocates[K comparable](t *testing.T, k kind, granted, refused K) {
	t.Helper()
	c := clock.NewFake()
	c.Set(time.Hour)
	for _, o := range []keyed.Options{{}, {Exact: true}, {MaxKeys: 1, WhenFull: keyed.Share}, {MaxKeys: 1}} {
		l := keyed.MustNew[K](k.config(1000, time.Hour, c), o)
		l.Allow(granted)
		l.AllowN(refused, 1000)
		for name, verb := range map[string]func(key K){
			"Allow":  func(key K) { l.Allow(key) },
			"Peek":   func(key K) { l.Peek(key, 1) },
			"Wait":   func(key K) { _ = l.WaitN(t.Context(), key, 0) },
			"Refund": func(key K) { l.Refund(key, l.Take(key, 1)) },
			"Take":   func(key K) { l.Take(key, 1) },
			"Len":    func(key K) { l.Len() },
		} {
			for _, key := range []K{granted, refused} {
				if n := testing.AllocsPerRun(100, func() { verb(key) }); n != 0 {
					t.Errorf("%T, %+v: %s allocates %v times", key, o, name, n)
				}
			}
		}
	}
}

// TestMemory counts the bytes of the table, for a million keys of one word, and
// the arrays they are in.
func TestMemory(t *testing.T) {
	keys := 1_000_000
	if raced {
		keys /= 20 // its parts are as large
	}
	for _, o := range []keyed.Options{{MaxKeys: keys * 9 / 8}, {MaxKeys: 4 * keys}} {
		t.Run(fmt.Sprint(o.MaxKeys), func(t *testing.T) {
			c := clock.NewFake()
			l := keyed.MustNew[int](tokenbucket.Config{Limit: 1, Window: time.Hour, Clock: c}, o)
			empty, _ := l.Memory()
			if per := float64(empty) / float64(o.MaxKeys) * 4096; per > 208 {
				t.Errorf("an empty table takes %.0f bytes for each 4096 keys", per)
			}
			parts, _ := l.Parts()
			for key := range keys {
				if !l.Allow(key) {
					t.Fatalf("key %d is refused", key)
				}
				if key%(keys/1000) == 0 && key > 0 {
					if per := l.LeastFull(200); per > 32 {
						t.Fatalf("after %d keys, a part takes %.1f bytes a key", key, per)
					}
				}
			}
			bytes, arrays := l.Memory()
			if per := float64(bytes) / float64(l.Len()); per > 24 {
				t.Errorf("%.1f bytes a key", per)
			}
			if arrays > 3*parts {
				t.Errorf("%d arrays in %d parts", arrays, parts)
			}
		})
	}
}

// TestMemoryOfTheLog is 16 bytes for each admission that counts, and next to
// nothing when they no longer do.
func TestMemoryOfTheLog(t *testing.T) {
	const keys, limit = 500, 60
	log := kinds[4]
	c := clock.NewFake()
	l := keyed.MustNew[int](log.config(limit, time.Hour, c), keyed.Options{MaxKeys: 1000})
	before, _ := l.Memory()
	for range limit {
		c.Advance(time.Second)
		for key := range keys {
			l.Allow(key)
		}
	}
	bytes, _ := l.Memory()
	if per := float64(bytes-before-keys*50) / (keys * limit); per > 17 {
		t.Errorf("%.1f bytes for each admission", per)
	}
	c.Advance(2 * time.Hour)
	l.Renew(0)
	if bytes, _ := l.Memory(); l.Len() != 0 || bytes > before+4096 {
		t.Errorf("%d keys and %d bytes are left of nothing, %d before", l.Len(), bytes, before)
	}
}

// TestEntriesAreGivenBack uses logs in every way that gives entries back: they
// are not more in the end than before.
func TestEntriesAreGivenBack(t *testing.T) {
	log := kinds[4]
	c := clock.NewFake()
	l := keyed.MustNew[int](log.config(100, time.Hour, c), keyed.Options{MaxKeys: 100})
	other := l.MustWith(log.config(50, time.Hour, nil))
	for name, use := range map[string]func(){
		"peeks": func() { other.Peek(1, 1) },
		"refusals under another plan": func() {
			other.AllowN(1, 50)
		},
		"changes of plan": func() { l.Allow(2); other.Allow(2) },
		"forgotten":       func() { l.Allow(3); c.Advance(1); l.Allow(3); l.Forget(3) },
		"refunds":         func() { l.Refund(4, l.Take(4, 2)) },
		"as good as new":  func() { l.Allow(5); c.Advance(time.Hour); l.Renew(5) },
	} {
		l.Allow(1)
		before, _ := l.Memory()
		for range 1000 {
			use()
		}
		for key := range 10 {
			l.Forget(key)
		}
		l.Renew(0)
		if after, _ := l.Memory(); after > before+1024 {
			t.Errorf("%s: %d bytes before and %d after", name, before, after)
		}
	}
}

var _ ratelimit.Limiter = (*keyed.Limiter[int])(nil).Key(1)
