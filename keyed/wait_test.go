package keyed_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/keyed"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// served is one who has waited.
type served struct {
	key, number int
	at          time.Duration
}

// TestWaitersOfEachKey has many wait for some keys, while the table is renewed
// all the time. Those of one key are served in order of arrival, at the very
// readings at which they would be if theirs were the only key.
func TestWaitersOfEachKey(t *testing.T) {
	const keys, waiters = 70, 5
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.NewFake()
				c.Set(time.Hour)
				l := keyed.MustNew[int](k.config(3, time.Minute, c), keyed.Options{MaxKeys: 200})
				got, want := make(chan served, keys*waiters), make(chan served, keys*waiters)
				wait := func(l ratelimit.Limiter, key, number int, to chan served) {
					go func() {
						err := l.Wait(t.Context())
						if err == nil {
							to <- served{key, number, c.Now()}
						} else if !errors.Is(err, ratelimit.ErrQueueFull) {
							t.Error(err)
						}
					}()
					synctest.Wait()
				}
				for key := range keys {
					single := k.single(3, time.Minute, c)
					single.AllowN(3)
					l.AllowN(key, 3)
					for number := range waiters {
						wait(single, key, number, want)
						wait(l.Key(key), key, number, got)
					}
				}
				if l.Allow(0) || l.Take(keys-1, 1).Allowed {
					t.Error("somebody overtakes")
				}
				if lines, _ := l.Lines(); lines != keys {
					t.Errorf("%d lines, want %d", lines, keys)
				}
				other := 1000
				for range 12 * 30 {
					c.Advance(time.Second)
					// A key that nobody waits for is not held up, whatever bit
					// it has.
					if !l.Allow(other) {
						t.Fatalf("key %d, for which nobody waits, is refused", other)
					}
					l.Forget(other - 100)
					other++
					l.Renew(0)
					synctest.Wait()
				}
				byKey := func(c chan served) (all [keys][]served) {
					close(c)
					for s := range c {
						all[s.key] = append(all[s.key], s)
					}
					for _, those := range all {
						// Those of one reading may tell of it in any order.
						slices.SortStableFunc(those, func(a, b served) int {
							return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.number, b.number))
						})
					}
					return all
				}
				were, are := byKey(want), byKey(got)
				for key := range keys {
					if !slices.Equal(are[key], were[key]) || len(are[key]) < 3 {
						t.Errorf("key %d: served %v, want %v", key, are[key], were[key])
					}
				}
				if lines, bits := l.Lines(); lines != 0 || bits != 0 {
					t.Errorf("%d lines are left, and the bits %b", lines, bits)
				}
			})
		})
	}
}

// TestWaitersGiveUp cancels some in any order. Nobody is left in line, and what
// was not taken is there.
func TestWaitersGiveUp(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 1))
				c := clock.NewFake()
				c.Set(time.Hour)
				l := keyed.MustNew[int](k.config(10, time.Minute, c), keyed.Options{MaxKeys: 100})
				var cancels []context.CancelFunc
				for key := range 100 {
					l.AllowN(key, 10)
					before := l.Peek(key, 1)
					for range 3 {
						ctx, cancel := context.WithCancel(t.Context())
						cancels = append(cancels, cancel)
						go func() {
							if err := l.Wait(ctx, key); err != context.Canceled {
								t.Errorf("Wait = %v", err)
							}
						}()
					}
					synctest.Wait()
					if d := l.Peek(key, 1); d.Allowed || d.RetryAfter < before.RetryAfter {
						t.Errorf("behind others: %+v, and without them %+v", d, before)
					}
				}
				if lines, bits := l.Lines(); lines != 100 || bits == 0 {
					t.Errorf("%d lines, bits %b", lines, bits)
				}
				rng.Shuffle(len(cancels), func(i, j int) { cancels[i], cancels[j] = cancels[j], cancels[i] })
				for i, cancel := range cancels {
					cancel()
					synctest.Wait()
					if !l.Told() {
						t.Fatalf("after %d have given up, nothing tells that others wait", i+1)
					}
					if i == len(cancels)/2 {
						l.Renew(0)
					}
				}
				if lines, bits := l.Lines(); lines != 0 || bits != 0 {
					t.Errorf("%d lines are left, and the bits %b", lines, bits)
				}
				for key := range 100 {
					if d := l.Peek(key, 1); d.Allowed || d.RetryAfter > 6*time.Second && !windowed(k) {
						t.Errorf("afterwards %+v", d)
					}
				}
			})
		})
	}
}

func windowed(k kind) bool { return k.name != "tokenbucket" && k.name != "leakybucket" }

// TestWaitersAreWoken gives back what was taken, or forgets it: who is first in
// line asks again at once.
func TestWaitersAreWoken(t *testing.T) {
	for _, k := range allKinds() {
		for _, share := range []bool{false, true} {
			for name, free := range map[string]func(l *keyed.Limiter[string], d ratelimit.Decision){
				"Refund": func(l *keyed.Limiter[string], d ratelimit.Decision) { l.Refund("one", d) },
				"Forget": func(l *keyed.Limiter[string], d ratelimit.Decision) { l.Forget("one") },
				"Key": func(l *keyed.Limiter[string], d ratelimit.Decision) {
					l.Key("one").(ratelimit.Resetter).Reset()
				},
			} {
				t.Run(fmt.Sprintf("%s/%s/share=%t", k.name, name, share), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := clock.NewFake()
						c.Set(time.Hour)
						o := keyed.Options{MaxKeys: 10}
						if share {
							o.WhenFull = keyed.Share
						}
						l := keyed.MustNew[string](k.config(4, time.Hour, c), o)
						d := l.Take("one", 4)
						err := errors.New("waiting")
						go func() { err = l.WaitN(t.Context(), "one", 1) }()
						synctest.Wait()
						l.Renew("one")
						free(l, d)
						if synctest.Wait(); err != nil {
							t.Errorf("Wait = %v", err)
						}
					})
				})
			}
		}
	}
}

// TestWaitersWithoutAPlace are told at once.
func TestWaitersWithoutAPlace(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.NewFake()
				c.Set(time.Hour)
				l := keyed.MustNew[int](k.config(4, time.Hour, c), keyed.Options{MaxKeys: 1})
				l.AllowN(1, 4)
				if err := l.Wait(t.Context(), 2); !errors.Is(err, keyed.ErrFull) {
					t.Errorf("Wait for a new key = %v", err)
				}
				if err := l.WaitN(t.Context(), 2, 5); !errors.Is(err, ratelimit.ErrExceedsLimit) {
					t.Errorf("WaitN above the limit = %v", err)
				}
				if err := l.WaitN(t.Context(), 2, 0); err != nil {
					t.Errorf("WaitN(0) = %v", err)
				}
			})
		})
	}
}

// TestWaiterLosesItsPlace has the key of one in line be forgotten, and another
// take its place, before it wakes. It is told so, or shares.
func TestWaiterLosesItsPlace(t *testing.T) {
	for _, share := range []bool{false, true} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &drowsy{Fake: clock.NewFake()}
				o := keyed.Options{MaxKeys: 1}
				if share {
					o.WhenFull = keyed.Share
				}
				l := keyed.MustNew[int](tokenbucket.Config{Limit: 4, Window: time.Hour, Clock: c}, o)
				l.AllowN(1, 4)
				err := errors.New("waiting")
				go func() { err = l.WaitN(t.Context(), 1, 4) }()
				synctest.Wait()
				c.late.Advance(time.Hour)
				if !l.Allow(2) {
					t.Fatal("no place, though the other key is as good as new")
				}
				c.Advance(time.Hour)
				synctest.Wait()
				if share && err != nil || !share && !errors.Is(err, keyed.ErrFull) {
					t.Errorf("share %v: Wait = %v", share, err)
				}
				if lines, bits := l.Lines(); lines != 0 || bits != 0 {
					t.Errorf("%d lines are left, bits %b", lines, bits)
				}
			})
		})
	}
}

// drowsy is a clock on which those who sleep wake later than it reads.
type drowsy struct {
	*clock.Fake
	late lateHand
}

type lateHand struct{ time.Duration }

func (l *lateHand) Advance(d time.Duration) { l.Duration += d }

func (d *drowsy) Now() time.Duration { return max(d.Fake.Now(), d.late.Duration) }

// TestDeadlineOfAKey is found out at once, and is that of the key's own line.
func TestDeadlineOfAKey(t *testing.T) {
	for _, k := range allKinds() {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.System()
				l := keyed.MustNew[int](k.config(2, time.Hour, c), keyed.Options{})
				for key := range 10 {
					l.AllowN(key, 2)
				}
				go func() { _ = l.Wait(t.Context(), 1) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				start := time.Now()
				if err := l.WaitN(ctx, 2, 2); !errors.Is(err, ratelimit.ErrWouldExceedDeadline) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Wait = %v", err)
				}
				if time.Since(start) > 0 {
					t.Error("not at once")
				}
				time.Sleep(4 * time.Hour)
				if lines, bits := l.Lines(); lines != 0 || bits != 0 {
					t.Errorf("%d lines are left, bits %b", lines, bits)
				}
			})
		})
	}
}
