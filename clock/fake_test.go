package clock

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	minTime time.Duration = math.MinInt64
	maxTime time.Duration = math.MaxInt64
)

func TestFakeBegins(t *testing.T) {
	f := NewFake()
	if got := f.Now(); got != 0 {
		t.Errorf("Now() = %v, want 0", got)
	}
	if got, want := f.Epoch().String(), "2000-01-01 00:00:00 +0000 UTC"; got != want {
		t.Errorf("Epoch() = %s, want %s", got, want)
	}
}

func TestFakeMoves(t *testing.T) {
	set := func(d time.Duration) func(*Fake) { return func(f *Fake) { f.Set(d) } }
	advance := func(d time.Duration) func(*Fake) { return func(f *Fake) { f.Advance(d) } }
	for _, tt := range []struct {
		name  string
		moves []func(*Fake)
		want  time.Duration
	}{
		{"forward", []func(*Fake){advance(time.Second), advance(time.Minute)}, 61 * time.Second},
		{"back", []func(*Fake){advance(time.Second), advance(-time.Minute)}, -59 * time.Second},
		{"nowhere", []func(*Fake){advance(time.Second), advance(0)}, time.Second},
		{"set", []func(*Fake){advance(time.Second), set(time.Hour)}, time.Hour},
		{"set back", []func(*Fake){advance(time.Second), set(-time.Hour)}, -time.Hour},
		{"to the end", []func(*Fake){set(maxTime - 5), advance(5)}, maxTime},
		{"beyond the end", []func(*Fake){set(maxTime - 5), advance(6)}, maxTime},
		{"far beyond the end", []func(*Fake){set(maxTime), advance(maxTime)}, maxTime},
		{"to the beginning", []func(*Fake){set(minTime + 5), advance(-5)}, minTime},
		{"before the beginning", []func(*Fake){set(minTime + 5), advance(-6)}, minTime},
		{"far before the beginning", []func(*Fake){set(minTime), advance(minTime)}, minTime},
		{"from end to end", []func(*Fake){set(minTime), advance(maxTime), advance(maxTime)}, maxTime - 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFake()
			for _, move := range tt.moves {
				move(f)
			}
			if got := f.Now(); got != tt.want {
				t.Errorf("Now() = %d, want %d", got, tt.want)
			}
			if got, want := f.Epoch(), NewFake().Epoch(); got != want {
				t.Errorf("Epoch() = %v, want %v: it does not move", got, want)
			}
		})
	}
}

func TestFakeSleepReturnsAtOnce(t *testing.T) {
	f := NewFake()
	ctx, cancel := context.WithCancel(context.Background())
	for _, d := range []time.Duration{0, -1, minTime} {
		if err := f.Sleep(ctx, d); err != nil {
			t.Errorf("Sleep(%d) = %v, want nil", d, err)
		}
	}
	cancel()
	for _, d := range []time.Duration{time.Second, 1, 0, -1, minTime} {
		if err := f.Sleep(ctx, d); !errors.Is(err, context.Canceled) {
			t.Errorf("Sleep(%d) of a cancelled context = %v, want %v", d, err, context.Canceled)
		}
	}
	if len(f.sleepers) > 0 {
		t.Errorf("%d sleepers are left", len(f.sleepers))
	}
}

// TestFakeWakesExactly moves the clock to one nanosecond before the end of a
// sleep, and then to it.
func TestFakeWakesExactly(t *testing.T) {
	for _, tt := range []struct {
		name  string
		start time.Duration
		d     time.Duration
		until time.Duration
	}{
		{"a second", 0, time.Second, time.Second},
		{"a nanosecond", time.Hour, 1, time.Hour + 1},
		{"from before 0", -time.Hour, time.Minute, -59 * time.Minute},
		{"from the beginning of time", minTime, 1, minTime + 1},
		{"over the end of time", maxTime - 5, 10, maxTime},
		{"for ever", 1, maxTime, maxTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := NewFake()
				f.Set(tt.start)
				awake := false
				go func() {
					if err := f.Sleep(t.Context(), tt.d); err != nil {
						t.Errorf("Sleep(%v) = %v", tt.d, err)
					}
					awake = true
				}()
				synctest.Wait()
				for _, now := range []time.Duration{tt.start, minTime, tt.until - 1} {
					f.Set(now)
					if synctest.Wait(); awake {
						t.Fatalf("a sleep until %d is over at %d", tt.until, now)
					}
				}
				f.Set(tt.until)
				if synctest.Wait(); !awake {
					t.Errorf("a sleep until %d is not over then", tt.until)
					f.Set(maxTime)
				}
			})
		})
	}
}

// TestFakeWakesManySleepers has a thousand of them, and moves the clock from
// end to end.
func TestFakeWakesManySleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sleepers = 1000
		f := NewFake()
		rng := rand.New(rand.NewPCG(1, 2))
		durations := make([]time.Duration, sleepers)
		var mu sync.Mutex
		var woken []time.Duration
		for i := range durations {
			d := 1 + time.Duration(rng.Int64N(int64(100*time.Millisecond)))
			durations[i] = d
			go func() {
				err := f.Sleep(context.Background(), d)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					woken = append(woken, d)
				}
			}()
		}
		if err := f.BlockUntil(t.Context(), sleepers); err != nil {
			t.Fatal(err)
		}
		slices.Sort(durations)
		for i := 0; i < sleepers; i += 100 {
			due := durations[i]
			f.Set(due)
			synctest.Wait()
			for i+1 < sleepers && durations[i+1] == due {
				i++
			}
			slices.Sort(woken)
			if !slices.Equal(woken, durations[:i+1]) {
				t.Errorf("at %v %d are awake, want %d", due, len(woken), i+1)
				break
			}
		}
		f.Advance(maxTime)
		synctest.Wait()
		if len(woken) != sleepers || len(f.sleepers) != 0 {
			t.Errorf("%d of %d are awake, %d asleep", len(woken), sleepers, len(f.sleepers))
		}
	})
}

func TestFakeSleepIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake()
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		go func() { err = f.Sleep(ctx, time.Second) }()
		synctest.Wait()
		cancel()
		if synctest.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("Sleep = %v, want %v", err, context.Canceled)
		}
		if len(f.sleepers) != 0 {
			t.Errorf("%d sleepers are left", len(f.sleepers))
		}
	})
}

func TestFakeBlockUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake()
		ctx, cancel := context.WithCancel(t.Context())
		sleep := func(ctx context.Context, d time.Duration) {
			go f.Sleep(ctx, d)
			synctest.Wait()
		}
		blocked := func(sleepers int) bool {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			returned := false
			go func() {
				defer func() { returned = true }()
				if err := f.BlockUntil(ctx, sleepers); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("BlockUntil(%d) = %v", sleepers, err)
				}
			}()
			synctest.Wait()
			defer synctest.Wait()
			defer cancel()
			return !returned
		}
		want := func(asleep int) {
			t.Helper()
			for n := range 5 {
				if got, want := blocked(n), n > asleep; got != want {
					t.Errorf("with %d asleep, BlockUntil(%d) blocks: %v, want %v", asleep, n, got, want)
				}
			}
		}

		want(0)
		sleep(ctx, time.Second)
		want(1)
		sleep(t.Context(), time.Minute)
		sleep(t.Context(), time.Hour)
		want(3)

		// It counts neither one whose context is done nor one whose sleep is
		// over, even before they have run.
		cancel()
		if n, _ := f.asleep(); n != 2 {
			t.Errorf("%d are asleep right after one was cancelled, want 2", n)
		}
		want(2)
		f.Advance(time.Minute)
		if n, _ := f.asleep(); n != 1 {
			t.Errorf("%d are asleep right after one was woken, want 1", n)
		}
		want(1)
		f.Advance(-time.Hour)
		want(1)
		f.Advance(2 * time.Hour)
		want(0)
	})
}

func TestFakeBlockUntilSeesNewSleepers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake()
		returned := false
		go func() {
			if err := f.BlockUntil(t.Context(), 3); err != nil {
				t.Error(err)
			}
			returned = true
		}()
		for n := range 3 {
			if synctest.Wait(); returned {
				t.Fatalf("BlockUntil(3) returned with %d asleep", n)
			}
			go f.Sleep(t.Context(), time.Second)
		}
		if synctest.Wait(); !returned {
			t.Error("BlockUntil(3) has not returned with 3 asleep")
		}
		f.Advance(time.Second)
	})
}

func TestFakeBlockUntilIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFake()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.BlockUntil(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("BlockUntil = %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// TestFakeIsSafeForConcurrentUse is for the race detector, and against a waking
// that gets lost.
func TestFakeIsSafeForConcurrentUse(t *testing.T) {
	f := NewFake()
	var wg sync.WaitGroup
	const sleepers, sleeps = 8, 200
	var left sync.WaitGroup
	left.Add(sleepers)
	for range sleepers {
		wg.Go(func() {
			defer left.Done()
			for i := range sleeps {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					go cancel()
				}
				if err := f.Sleep(ctx, time.Duration(i%7)); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	done := make(chan struct{})
	go func() { left.Wait(); close(done) }()
	wg.Go(func() {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-done; cancel() }()
		for f.BlockUntil(ctx, 1) == nil {
			f.Advance(1)
		}
	})
	wg.Wait()
	if n, _ := f.asleep(); n != 0 {
		t.Errorf("%d are asleep at the end", n)
	}
}
