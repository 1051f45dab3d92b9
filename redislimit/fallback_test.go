package redislimit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// away is a client whose server is not there.
func away(t *testing.T) redis.UniversalClient {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, DialerRetries: 1})
	t.Cleanup(func() { c.Close() })
	return c
}

// What a Decision says that the server did not make.
func TestDecisionsWithoutServer(t *testing.T) {
	ctx := context.Background()
	const cooldown = time.Minute
	config := tokenbucket.Config{Limit: 10, Window: time.Hour, Clock: clock.NewFake()}
	for _, tt := range []struct {
		options Options
		n       int
		want    ratelimit.Decision
		err     bool
	}{
		{Options{}, 1, ratelimit.Decision{N: 1, Limit: 10, RetryAfter: cooldown}, true},
		{Options{}, 0, ratelimit.Decision{Limit: 10, RetryAfter: cooldown}, true},
		{Options{}, 11, ratelimit.Decision{N: 11, Limit: 10, RetryAfter: ratelimit.Never}, true},
		{Options{WhenDown: Admit}, 3, ratelimit.Decision{Allowed: true, N: 3, Limit: 10, Remaining: 7}, false},
		{Options{WhenDown: Admit}, 0, ratelimit.Decision{Allowed: true, Limit: 10, Remaining: 10}, false},
		{Options{WhenDown: Admit}, 11, ratelimit.Decision{N: 11, Limit: 10, RetryAfter: ratelimit.Never}, false},
		{Options{WhenDown: Fallback, Share: 5}, 2, ratelimit.Decision{Allowed: true, N: 2, Limit: 2, ResetAfter: time.Hour}, false},
		{Options{WhenDown: Fallback, Share: 5}, 3, ratelimit.Decision{N: 3, Limit: 2, Remaining: 2, RetryAfter: cooldown}, false},
		{Options{WhenDown: Fallback, Share: 5}, 11, ratelimit.Decision{N: 11, Limit: 10, RetryAfter: ratelimit.Never}, false},
	} {
		tt.options.Cooldown = cooldown
		l, err := New(config, away(t), tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.Take(ctx, "key", tt.n); got != tt.want || errors.Is(err, ErrUnavailable) != tt.err || l.Err() == nil {
			t.Errorf("%v: Take(%d) = %+v, %v, want %+v", tt.options.WhenDown, tt.n, got, err, tt.want)
		}
	}
}

// Also on a clock that goes on between two readings a Refund finds what it is of.
func TestFallbackRefundsOnTheSystemClock(t *testing.T) {
	for name, l := range each(t, 10, time.Hour, Options{WhenDown: Fallback, Share: 1}) {
		l.client = away(t)
		d := take(t, l, "key", 10)
		if err := l.Refund(context.Background(), "key", d); err != nil {
			t.Fatal(err)
		}
		if d := take(t, l, "key", 10); !d.Allowed {
			t.Errorf("%s: after a refund of all %+v", name, d)
		}
	}
}

// Of an All only the leaky bucket spaces those who wait for the fallback, too.
func TestFallbackPaces(t *testing.T) {
	fake := clock.NewFake()
	f, err := newFallback([]any{
		leakybucket.Config{Limit: 100, Window: time.Second},
		tokenbucket.Config{Limit: 100, Window: time.Hour},
	}, 1, fake)
	if err != nil {
		t.Fatal(err)
	}
	q := question{n: 1, take: true, paced: true}
	for i := range 5 {
		if d := f.decide("key", q, fake.Now()); !d.Allowed {
			t.Fatalf("event %d: %+v", i, d)
		}
		if d := f.decide("key", q, fake.Now()); d.Allowed || d.RetryAfter != 10*time.Millisecond {
			t.Fatalf("at once after event %d: %+v", i, d)
		}
		fake.Advance(10 * time.Millisecond)
	}
}

// Who waits while the fallback decides hears of what is given back to it.
func TestFallbackWakes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for what, free := range map[string]func(*Limiter, ratelimit.Decision) error{
		"Refund": func(l *Limiter, d ratelimit.Decision) error { return l.Refund(ctx, "key", d) },
		"Reset": func(l *Limiter, _ ratelimit.Decision) error {
			if err := l.Reset(ctx, "key"); !errors.Is(err, ErrUnavailable) {
				return errors.Join(errors.New("the server was reset"), err)
			}
			return nil
		},
	} {
		fake := clock.NewFake()
		l, err := New(tokenbucket.Config{Limit: 1, Window: time.Hour, Clock: fake}, away(t),
			Options{WhenDown: Fallback, Share: 1, Cooldown: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for range failuresToOpen {
			l.health.breakers[0].failed(0, fake.Now(), time.Hour)
		}
		d := take(t, l, "key", 1)
		done := make(chan error, 1)
		go func() { done <- l.Wait(context.Background(), "key") }()
		if err := fake.BlockUntil(ctx, 1); err != nil {
			t.Fatal(err)
		}
		if err := free(l, d); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("after %s: %v", what, err)
			}
		case <-ctx.Done():
			t.Errorf("after %s who waits sleeps on", what)
		}
	}
}

// However many keys come while the server is away, the fallback keeps a bounded
// number, and refuses the others.
func TestFallbackIsBounded(t *testing.T) {
	fake := clock.NewFake()
	f, err := newFallback([]any{tokenbucket.Config{Limit: 10, Window: time.Second}}, 10, fake)
	if err != nil {
		t.Fatal(err)
	}
	q := question{n: 1, take: true}
	for i := range maxFallbackKeys {
		if d := f.decide(string(rune(i))+string(rune(i>>8)), q, 0); i < 1000 && !d.Allowed {
			t.Fatalf("key %d: %+v", i, d)
		}
	}
	for i := 0; len(f.keys) < maxFallbackKeys; i++ {
		f.decide(time.Duration(i).String(), q, 0)
	}
	if d := f.decide("one too many", q, 0); d.Allowed || d.RetryAfter == 0 {
		t.Errorf("without room %+v", d)
	}
	fake.Advance(time.Hour)
	if d := f.decide("one too many", q, fake.Now()); !d.Allowed {
		t.Errorf("where the others are as good as new %+v", d)
	}
	if len(f.keys) != 1 {
		t.Errorf("%d keys are kept", len(f.keys))
	}
}

// The fallback of each kind admits its share at once, and a refund gives back.
func TestFallbackAdmitsItsShare(t *testing.T) {
	const limit, share, window = 100, 20, time.Hour
	both := []any{tokenbucket.Config{Limit: limit, Window: window}, slidinglog.Config{Limit: 3 * share, Window: window}}
	for i, configs := range [][]any{
		{tokenbucket.Config{Limit: limit, Window: window}},
		{leakybucket.Config{Limit: limit, Window: window}},
		{fixedwindow.Config{Limit: limit, Window: window}},
		{slidingwindow.Config{Limit: limit, Window: window}},
		{slidinglog.Config{Limit: limit, Window: window}},
		both,
	} {
		want := limit / share
		if len(configs) > 1 {
			want = 3
		}
		f, err := newFallback(configs, share, clock.NewFake())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var taken []ratelimit.Decision
			for {
				d := f.decide("key", question{n: 1, take: true}, 0)
				if !d.Allowed {
					break
				}
				taken = append(taken, d)
			}
			if len(taken) != want {
				t.Errorf("%d: %d are admitted, want %d", i, len(taken), want)
			}
			if d := f.decide("key", question{n: 0}, 0); !d.Allowed || d.Remaining != 0 {
				t.Errorf("%d: Peek(0) = %+v", i, d)
			}
			for _, d := range taken {
				f.refund("key", d)
			}
		}
		f.decide("key", question{n: want, take: true}, 0)
		f.reset("key")
		if !f.decide("key", question{n: want, take: true}, 0).Allowed {
			t.Errorf("%d: after a reset %d are refused", i, want)
		}
	}
}

// All shares together are no more than the whole.
func TestShares(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 10, 99, 100, 1000} {
		for _, share := range []int{1, 2, 3, 7, 10, 99, 100, 1000} {
			n, w := part(limit, time.Second, share)
			if float64(n*share)/w.Seconds() > float64(limit) || n < 1 {
				t.Errorf("%d of %d per second, each a part of %d per %v", share, limit, n, w)
			}
		}
	}
}
