package tokenbucket_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
	"golang.org/x/time/rate"
)

// On a clock that runs forward, and where its floating point is exact,
// golang.org/x/time/rate decides as this package does.
func TestAgreesWithXTimeRate(t *testing.T) {
	const (
		burst = 5
		tick  = time.Second / 8 // a token each
	)
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	fake := clock.NewFake()
	ours := tokenbucket.MustNew(tokenbucket.Config{Limit: 8, Window: time.Second, Burst: burst, Clock: fake})
	theirs := rate.NewLimiter(8, burst)
	rnd := rand.New(rand.NewPCG(1, 2))
	admitted := 0
	for range 10_000 {
		fake.Advance(time.Duration(rnd.IntN(4)) * tick)
		n := 1 + rnd.IntN(burst+1)
		got, want := ours.AllowN(n), theirs.AllowN(start.Add(fake.Now()), n)
		if got != want {
			t.Fatalf("at %v, AllowN(%d) = %v, of x/time/rate %v", fake.Now(), n, got, want)
		}
		if got {
			admitted++
		}
	}
	if admitted == 0 || admitted == 10_000 {
		t.Errorf("%d of 10,000 calls admitted: that compares nothing", admitted)
	}
}

// Readings of the clock that go back and forth between two instants mint nothing
// here. golang.org/x/time/rate gives out the time between them again and again.
func TestStaleReadingsAndXTimeRate(t *testing.T) {
	const burst, rounds = 10, 1000
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	fake := clock.NewFake()
	ours := tokenbucket.MustNew(tokenbucket.Config{Limit: 10, Window: time.Second, Burst: burst, Clock: fake})
	theirs := rate.NewLimiter(10, burst)
	var admitted, minted int
	for range rounds {
		for _, now := range []time.Duration{0, time.Second} {
			fake.Set(now)
			if ours.Allow() {
				admitted++
			}
			if theirs.AllowN(start.Add(now), 1) {
				minted++
			}
		}
	}
	// One at the first instant, and a full bucket at the other.
	if want := 1 + burst; admitted != want {
		t.Errorf("%d admitted within a second, want %d", admitted, want)
	}
	if minted != 2*rounds {
		t.Errorf("x/time/rate admitted %d of %d: it no longer mints", minted, 2*rounds)
	}
}

func BenchmarkXTimeRate(b *testing.B) {
	for _, path := range []struct {
		name string
		l    *rate.Limiter
	}{
		{"granted", rate.NewLimiter(1e9, 1e9)},
		{"refused", rate.NewLimiter(1e-9, 0)},
	} {
		b.Run("verb=Allow/path="+path.name+"/clock=system", func(b *testing.B) {
			for b.Loop() {
				path.l.Allow()
			}
		})
	}
}
