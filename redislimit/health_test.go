package redislimit

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// The Logger is told when the server is away and when it is back, and not by every
// call, nor by every limit.
func TestLogger(t *testing.T) {
	var out bytes.Buffer
	ctx := context.Background()
	s := newServer(t)
	fake := clock.NewFake()
	o := Options{Timeout: 10 * time.Second, Cooldown: time.Second, WhenDown: Admit, Logger: slog.New(slog.NewTextHandler(&out, nil))}
	second, err := New(tokenbucket.Config{Limit: 1_000, Window: time.Second, Clock: fake}, s.client(t), o)
	if err != nil {
		t.Fatal(err)
	}
	hour, err := New(tokenbucket.Config{Limit: 1_000, Window: time.Hour, Clock: fake}, second.client, o)
	if err != nil {
		t.Fatal(err)
	}
	both, err := All(second, hour)
	if err != nil {
		t.Fatal(err)
	}
	check := func(errors, infos int) {
		t.Helper()
		if e, i := strings.Count(out.String(), "level=ERROR"), strings.Count(out.String(), "level=INFO"); e != errors || i != infos {
			t.Fatalf("the Logger was told:\n%s", &out)
		}
	}
	take(t, both, "key", 1)
	check(0, 0)
	for i := range 2 {
		s.kill()
		for range 3 * failuresToOpen {
			if !take(t, both, "key", 1).Allowed || !take(t, second, "key", 1).Allowed {
				t.Fatal("it is not admitted")
			}
			fake.Advance(time.Second)
		}
		check(i+1, i)
		s.start(t)
		eventually(t, "the server decides", func() bool {
			fake.Advance(time.Second)
			return decidedByServer(take(t, second, "key", 1))
		})
		take(t, both, "key", 1)
		check(i+1, i+1)
	}
	// One that fails now and then does not fill the log.
	if err := second.client.Set(ctx, second.keys(nil, "broken")[0].(string), "no state", 0).Err(); err != nil {
		t.Fatal(err)
	}
	fake.Advance(time.Second)
	for range 10 {
		take(t, second, "broken", 1)
		if second.Err() == nil {
			t.Error("Err is nil after an error of the server")
		}
		take(t, second, "key", 1)
		if second.Err() != nil {
			t.Errorf("Err is %v after a decision", second.Err())
		}
	}
	check(3, 3)

	// A failure and a decision at the same time leave it knowing what to tell.
	h := newHealth(nil)
	for range 10_000 {
		var both sync.WaitGroup
		both.Go(func() { h.failed(ErrUnavailable, o.Logger, 0, 0) })
		both.Go(func() { h.decided(o.Logger) })
		both.Wait()
		if (h.trouble.Load() != nil) != h.told {
			t.Fatalf("the Logger knows of trouble: %v; there is: %v", h.told, h.trouble.Load())
		}
		h.decided(o.Logger)
	}
}

// An outage that only those see who do not wait for long is told, too.
func TestLoggerOfImpatientCallers(t *testing.T) {
	var out bytes.Buffer
	fake := clock.NewFake()
	fake.Set(time.Hour)
	o := Options{Cooldown: time.Hour, Logger: slog.New(slog.NewTextHandler(&out, nil))}
	l, err := New(tokenbucket.Config{Limit: 1_000, Window: time.Second, Clock: fake}, &canceling{}, o)
	if err != nil {
		t.Fatal(err)
	}
	l.health.failed(ErrUnavailable, o.Logger, fake.Now(), o.Cooldown)
	l.health.decided(o.Logger)
	for range 20 {
		ctx, cancel := context.WithCancel(context.Background())
		l.client.(*canceling).cancel = cancel
		l.bounded = true
		l.Take(ctx, "key", 1)
		fake.Advance(l.options.Timeout / 8)
	}
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Errorf("within a Cooldown the Logger was told:\n%s", &out)
	}
	fake.Advance(time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	l.client.(*canceling).cancel = cancel
	l.Take(ctx, "key", 1)
	if n := strings.Count(out.String(), "level=ERROR"); n != 2 {
		t.Errorf("after it the Logger was told:\n%s", &out)
	}
}

// canceling is a client whose callers give up.
type canceling struct {
	redis.UniversalClient
	cancel func()
}

func (c *canceling) Process(ctx context.Context, cmd redis.Cmder) error {
	c.cancel()
	<-ctx.Done()
	cmd.SetErr(ctx.Err())
	return ctx.Err()
}

// The limits of a Store find out together that the server is away.
func TestStoreFailsTogether(t *testing.T) {
	ctx := context.Background()
	of := Store(away(t), Options{})
	var stores []httplimit.Store
	for _, id := range []string{"a", "b", "c", "d"} {
		s, err := of(httplimit.Spec{ID: id, Count: 10, Window: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	for i, s := range stores {
		_, err := s.Take(ctx, "key", 1)
		if !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "asked again") != (i >= failuresToOpen) {
			t.Errorf("limit %d: %v", i, err)
		}
	}
}
