package redislimit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// counting is a client that counts the round trips.
type counting struct {
	redis.UniversalClient
	trips atomic.Int64
}

func (c *counting) Process(ctx context.Context, cmd redis.Cmder) error {
	c.trips.Add(1)
	return c.UniversalClient.Process(ctx, cmd)
}

func (c *counting) Pipeline() redis.Pipeliner {
	c.trips.Add(1)
	return c.UniversalClient.Pipeline()
}

// trips is how many round trips do makes.
func (c *counting) tripsOf(do func()) int64 {
	before := c.trips.Load()
	do()
	return c.trips.Load() - before
}

// onFakeTime returns limiters of one kind and limit on one server, whose time is
// that of a fake clock, as their own is.
func onFakeTime(t *testing.T, k kind, events int, window time.Duration, options ...Options) (fake *clock.Fake, client *counting, limiters []*Limiter) {
	t.Helper()
	server := shared(t)
	fake = clock.NewFake()
	fake.Set(time.Hour)
	now := func() int64 { return farFuture + fake.Now().Microseconds() }
	client = &counting{UniversalClient: &timed{UniversalClient: server, now: now, send: sendTimed(server)}}
	for _, o := range options {
		of, err := k.here(events, window, 0)
		if err != nil {
			t.Fatal(err)
		}
		o.Prefix = t.Name()
		o.Timeout = time.Minute
		if o, err = o.complete(of.most()); err != nil {
			t.Fatal(err)
		}
		l, err := (&Limiter{client: client, clock: fake, options: o}).complete([]limit{of}, k.name == "leakybucket", nil)
		if err != nil {
			t.Fatal(err)
		}
		l.bounded = true
		l.scripts = newScripts(onTestTime, l.limits)
		// So that the server knows the script, and it takes one round trip.
		if _, err := l.Peek(context.Background(), "another", 0); err != nil {
			t.Fatal(err)
		}
		limiters = append(limiters, l)
	}
	return fake, client, limiters
}

func take(t testing.TB, l *Limiter, key string, n int) ratelimit.Decision {
	t.Helper()
	d, err := l.Take(context.Background(), key, n)
	if err != nil {
		t.Fatalf("Take(%q, %d): %v", key, n, err)
	}
	return d
}

// What the server refused until t is refused until t without asking, in the same
// words, and then not any more.
func TestRefusalIsRemembered(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			fake, client, ls := onFakeTime(t, k, 10, time.Second, Options{}, Options{Refusals: NoRefusals})
			l, asking := ls[0], ls[1]
			take(t, l, "key", 8)
			d := take(t, l, "key", 4)
			if d.Allowed {
				t.Fatalf("Take(4) of 2 left = %+v", d)
			}
			for fake.Now() < time.Hour+d.RetryAfter-time.Microsecond {
				for n := 4; n <= 10; n += 3 {
					var got, want ratelimit.Decision
					if trips := client.tripsOf(func() { got = take(t, l, "key", n) }); trips != 0 {
						t.Fatalf("Take(%d) at %v, until %v: %d round trips", n, fake.Now(), d.RetryAfter, trips)
					}
					if client.tripsOf(func() { want = take(t, asking, "key", n) }) != 1 {
						t.Fatal("with NoRefusals it did not ask")
					}
					if k.name == "slidinglog" && n != 4 {
						want.RetryAfter = got.RetryAfter // it was not asked about that
					}
					if got != want {
						t.Fatalf("at %v Take(%d) = %+v\n\tand of the server %+v", fake.Now(), n, got, want)
					}
				}
				fake.Advance(d.RetryAfter/7 + time.Microsecond)
			}
			fake.Set(time.Hour + d.RetryAfter)
			if d := take(t, l, "key", 4); !d.Allowed {
				t.Fatalf("when RetryAfter is up Take(4) = %+v", d)
			}
		})
	}
}

// A refusal may outlast the window it was made in: then it tells what the server
// would of the next one, however large the limit and however many windows later.
func TestRefusalOutlastsItsWindow(t *testing.T) {
	sliding := kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == "slidingwindow" })]
	for _, limit := range []int{10, 10_000_000} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			fake, client, ls := onFakeTime(t, sliding, limit, time.Second, Options{}, Options{Refusals: NoRefusals})
			l, asking := ls[0], ls[1]
			if err := l.Reset(context.Background(), "key"); err != nil {
				t.Fatal(err)
			}
			take(t, l, "key", limit)
			fake.Advance(1900 * time.Millisecond)
			if d := take(t, l, "key", limit*9/10); !d.Allowed {
				t.Fatalf("Take(%d) = %+v", limit*9/10, d)
			}
			d := take(t, l, "key", limit/2)
			if d.Allowed || d.RetryAfter <= 150*time.Millisecond {
				t.Fatalf("Take(%d) at the end of a window = %+v", limit/2, d)
			}
			fake.Advance(150 * time.Millisecond)
			want := take(t, asking, "key", limit/2)
			var got ratelimit.Decision
			if trips := client.tripsOf(func() { got = take(t, l, "key", limit/2) }); trips != 0 {
				t.Errorf("%d round trips, want 0", trips)
			}
			if got != want {
				t.Errorf("Take(%d) = %+v\n\tand of the server %+v", limit/2, got, want)
			}
		})
	}
	w := newSliding(10, time.Second)
	for after, want := range []ratelimit.Decision{
		{Allowed: true, Remaining: 3, ResetAfter: 2 * time.Second},
		{Allowed: true, Remaining: 3, ResetAfter: time.Second},
		{Allowed: true, Remaining: 10},
		{Allowed: true, Remaining: 10},
	} {
		d := ratelimit.Decision{Allowed: true}
		w.answer(&d, state{1, 100, 0, 7}, 100_000_000+int64(after)*1_000_000, question{})
		if d != want {
			t.Errorf("%d windows later %+v, want %+v", after, d, want)
		}
	}
}

// A smaller request is asked for; a key is not mistaken for another; whoever gives
// back here is heard at once, and whoever does elsewhere when the refusal ends.
func TestRefusalIsForgotten(t *testing.T) {
	ctx := context.Background()
	fake, client, ls := onFakeTime(t, kinds[0], 10, time.Second, Options{}, Options{})
	here, elsewhere := ls[0], ls[1]
	all := take(t, here, "key", 10)
	if take(t, here, "key", 5).Allowed {
		t.Fatal("Take(5) of 0 left admits")
	}
	if trips := client.tripsOf(func() { take(t, here, "key", 4); take(t, here, "other", 5) }); trips != 2 {
		t.Errorf("for fewer, and for another key: %d round trips, want 2", trips)
	}
	if err := elsewhere.Refund(ctx, "key", all); err != nil {
		t.Fatal(err)
	}
	if d := take(t, here, "key", 5); d.Allowed {
		t.Errorf("a refund elsewhere is heard before the refusal ends: %+v", d)
	}
	fake.Advance(500 * time.Millisecond)
	if d := take(t, here, "key", 5); !d.Allowed {
		t.Errorf("a refund elsewhere is not heard when the refusal ends: %+v", d)
	}

	for name, free := range map[string]func() error{
		"Refund": func() error { return here.Refund(ctx, "key", all) },
		"Reset":  func() error { return here.Reset(ctx, "key") },
	} {
		if err := here.Reset(ctx, "key"); err != nil {
			t.Fatal(err)
		}
		all = take(t, here, "key", 10)
		take(t, here, "key", 5)
		if err := free(); err != nil {
			t.Fatal(err)
		}
		if d := take(t, here, "key", 5); !d.Allowed {
			t.Errorf("after %s here: %+v", name, d)
		}
	}
}

// A refusal that was asked for before the key was cleared must not be remembered
// after it.
func TestLateRefusalIsNotRemembered(t *testing.T) {
	r := newRefusals(1)
	r.forget("key", 10)
	r.add(&refusal{key: "key", n: 1, until: 100, sent: 10})
	if r.find("key", 1, 20) != nil {
		t.Error("a refusal of the past is remembered")
	}
	r.add(&refusal{key: "key", n: 1, until: 100, sent: 11})
	if r.find("key", 1, 20) == nil {
		t.Error("a refusal is not remembered")
	}
	if r.find("key", 1, 100) != nil || r.find("key", 0, 20) != nil {
		t.Error("a refusal is remembered for too long, or for too little")
	}
	r.add(&refusal{key: "other", n: 1, until: 100, sent: 11})
	if r.find("key", 1, 20) != nil || r.find("other", 1, 20) == nil {
		t.Error("the latest comer does not have the place")
	}
}

// However many keys are refused, no more are remembered than there is room for.
func TestRefusalsAreBounded(t *testing.T) {
	r := newRefusals(8)
	for i := range 1000 {
		r.add(&refusal{key: fmt.Sprint(i), n: 1, until: 100})
	}
	found := 0
	for i := range 1000 {
		if r.find(fmt.Sprint(i), 1, 0) != nil {
			found++
		}
	}
	if found == 0 || found > 8 {
		t.Errorf("%d are remembered in 8 places", found)
	}
}

// Nobody is refused here for longer than there, be it on a clock that is late.
func TestRefusalEndsInTime(t *testing.T) {
	coarse := clock.NewCoarse(time.Hour) // which moves only when it is refreshed
	defer coarse.Close()
	for name, c := range map[string]clock.Clock{"system": clock.System(), "coarse": coarse} {
		t.Run(name, func(t *testing.T) {
			client := &counting{UniversalClient: shared(t)}
			l, err := New(tokenbucket.Config{Limit: 1, Window: 20 * time.Millisecond, Clock: c}, client, Options{Prefix: t.Name(), Timeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				take(t, l, "key", 1)
				if d := take(t, l, "key", 1); !d.Allowed {
					if err := c.Sleep(context.Background(), d.RetryAfter); err != nil {
						t.Fatal(err)
					}
					// What was remembered may be older by the way to the server.
					trips := client.tripsOf(func() { d = take(t, l, "key", 1) })
					if !d.Allowed && trips == 0 {
						t.Fatalf("after RetryAfter the server is not asked: %+v", d)
					}
				}
			}
		})
	}
}

// While somebody waits for a key, the others are refused without asking, in the
// server's words.
func TestRefusalBehindOthersIsRemembered(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			defer all.Wait()
			defer cancel()
			fake, client, ls := onFakeTime(t, k, 10, time.Second, Options{}, Options{Refusals: NoRefusals})
			for i, l := range ls {
				key := []string{"key", "another"}[i]
				take(t, l, key, 6)
				take(t, l, key, 2)
				take(t, l, key, 2)
				all.Go(func() { l.WaitN(ctx, key, 3) })
				if err := fake.BlockUntil(ctx, i+1); err != nil {
					t.Fatal(err)
				}
			}
			for range 5 {
				for n := 1; n <= 10; n += 3 {
					for _, ask := range []func(*Limiter, context.Context, string, int) (ratelimit.Decision, error){(*Limiter).Take, (*Limiter).Peek} {
						var got ratelimit.Decision
						if trips := client.tripsOf(func() { got, _ = ask(ls[0], ctx, "key", n) }); trips != 0 {
							t.Errorf("%d round trips", trips)
						}
						want, err := ask(ls[1], ctx, "another", n)
						if k.name == "slidinglog" && got.RetryAfter <= want.RetryAfter {
							want.RetryAfter, want.ResetAfter = got.RetryAfter, got.ResetAfter // lower bounds
						}
						if err != nil || got != want {
							t.Fatalf("%d, at %v: %+v\n\tand of the server %+v, %v", n, fake.Now(), got, want, err)
						}
					}
				}
				fake.Advance(17 * time.Millisecond)
			}
		})
	}
}

// What has one wait whose events leave one by one refuses nobody else.
func TestPacedRefusalIsNotRemembered(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	fake, _, ls := onFakeTime(t, kinds[1], 10, time.Second, Options{})
	l := ls[0]
	take(t, l, "key", 1)
	done := make(chan error)
	go func() { done <- l.Wait(ctx, "key") }()
	if err := fake.BlockUntil(ctx, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if d := take(t, l, "key", 9); !d.Allowed {
		t.Errorf("after one gave up %+v", d)
	}
}

// A refusal that comes late is not remembered, also if another key has taken the
// place meanwhile.
func TestForgottenStaysForgotten(t *testing.T) {
	r := newRefusals(1)
	r.add(&refusal{key: "key", n: 1, until: 100, sent: 5})
	r.forget("key", 10)
	r.add(&refusal{key: "other", n: 1, until: 100, sent: 10})
	if r.find("other", 1, 20) != nil {
		t.Error("one that was asked at the same time is remembered")
	}
	r.add(&refusal{key: "other", n: 1, until: 100, sent: 11})
	if r.find("other", 1, 20) == nil {
		t.Error("one that was asked later is not remembered")
	}
	r.add(&refusal{key: "key", n: 1, until: 100, sent: 9})
	if r.find("key", 1, 20) != nil {
		t.Error("one that was asked before is remembered")
	}
}

// What is refused for the sake of those who wait is not remembered without them.
func TestRefusalBehindOthersEndsWithThem(t *testing.T) {
	for _, k := range kinds {
		ctx, cancel := context.WithCancel(context.Background())
		fake, client, ls := onFakeTime(t, k, 10, time.Second, Options{Refusals: 1})
		l := ls[0]
		take(t, l, "another", 10)
		take(t, l, "key", 5)
		done := make(chan error)
		go func() { done <- l.WaitN(ctx, "key", 10) }()
		if err := fake.BlockUntil(ctx, 1); err != nil {
			t.Fatal(err)
		}
		take(t, l, "another", 1) // in the only place
		if d := take(t, l, "key", 1); d.Allowed {
			t.Errorf("%s: behind others %+v", k.name, d)
		}
		cancel()
		<-done
		if trips := client.tripsOf(func() { take(t, l, "key", 1) }); trips != 1 {
			t.Errorf("%s: after they gave up it makes %d round trips", k.name, trips)
		}
	}
}
