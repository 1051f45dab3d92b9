package redislimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/httplimit"
	"github.com/ratekeep/ratelimit/internal/fifo"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// A server's limits move to Redis by a change of the Store.
var _ httplimit.Store = (*Limiter)(nil)

// Every error names the field, the value and the range.
func TestNewRefuses(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	ok := tokenbucket.Config{Limit: 10, Window: time.Second}
	const year = 366 * 24 * time.Hour
	for _, tt := range []struct {
		make func() (*Limiter, error)
		want string
	}{
		{func() (*Limiter, error) { return New(ok, nil, Options{}) }, "client is nil"},
		{func() (*Limiter, error) { return New(ok, (*redis.Client)(nil), Options{}) }, "client is nil"},
		{func() (*Limiter, error) { return New(tokenbucket.Config{}, client, Options{}) }, "Window 0s is out of range [1ns,"},
		{func() (*Limiter, error) {
			return New(tokenbucket.Config{Limit: -1, Window: time.Second}, client, Options{})
		}, "Limit -1 is out of range [1, 1000000000]"},
		{func() (*Limiter, error) {
			return New(slidinglog.Config{Limit: 1, Window: 1500 * time.Nanosecond}, client, Options{})
		}, "Window 1.5µs is out of range: the server counts in whole microseconds"},
		{func() (*Limiter, error) {
			return New(slidingwindow.Config{Limit: 1 << 29, Window: year}, client, Options{})
		}, "Limit 536870912 is out of range [1, 268435456]"},
		{func() (*Limiter, error) {
			return New(tokenbucket.Config{Limit: 1, Window: year, Burst: 100}, client, Options{})
		}, "Burst 100 is out of range [1, 71] for 1 per 8784h0m0s"},
		{func() (*Limiter, error) {
			return New(leakybucket.Config{Limit: 1, Window: time.Second, Capacity: -1}, client, Options{})
		}, "Capacity -1 is out of range [1, "},
		{func() (*Limiter, error) {
			return New(fixedwindow.Config{Limit: 1, Window: time.Second, Offset: 1}, client, Options{})
		}, "Offset 1ns is out of range"},
		{func() (*Limiter, error) { return New(ok, client, Options{Prefix: "a{b"}) }, `Prefix "a{b"`},
		// Or its key "k" would be the key "b:k" of the Prefix "a".
		{func() (*Limiter, error) { return New(ok, client, Options{Prefix: "a:b"}) }, `Prefix "a:b" contains a colon`},
		{func() (*Limiter, error) { return New(ok, client, Options{Timeout: -1}) }, "Timeout -1ns is out of range [1ms, 1m0s]"},
		{func() (*Limiter, error) { return New(ok, client, Options{Cooldown: 2 * time.Hour}) }, "Cooldown 2h0m0s is out of range [1ms, 1h0m0s]"},
		{func() (*Limiter, error) { return New(ok, client, Options{Lease: 2, LeaseFor: 1}) }, "LeaseFor 1ns is out of range [1ms, 24h0m0s]"},
		{func() (*Limiter, error) { return New(ok, client, Options{LeaseFor: time.Second}) }, "LeaseFor 1s is for leases only, and Lease is 0"},
		{func() (*Limiter, error) { return New(ok, client, Options{Lease: 11}) }, "Lease 11 is out of range [0, 10]"},
		{func() (*Limiter, error) { return New(ok, client, Options{Lease: -1}) }, "Lease -1 is out of range [0, 10]"},
		{func() (*Limiter, error) { return New(ok, client, Options{Refusals: -2}) }, "Refusals -2 is out of range [0, 16777216]"},
		{func() (*Limiter, error) { return New(ok, client, Options{WhenDown: 3}) }, "WhenDown 3 is not one of"},
		{func() (*Limiter, error) { return New(ok, client, Options{WhenDown: Fallback}) }, "Share 0 is out of range [1, 1000000]"},
		{func() (*Limiter, error) { return New(ok, client, Options{Share: 2}) }, "Share 2 is for Fallback only"},
		{func() (*Limiter, error) {
			return New(fixedwindow.Config{Limit: 1, Window: year}, client, Options{WhenDown: Fallback, Share: 100})
		}, "Share 100: fixedwindow: Window"},
		{func() (*Limiter, error) { return All() }, "there are no limiters"},
		{func() (*Limiter, error) {
			a, _ := New(ok, client, Options{})
			b, _ := New(tokenbucket.Config{Limit: 1, Window: time.Hour}, client, Options{Prefix: "b"})
			return All(a, b)
		}, "limiter 1 has another client or other Options"},
		{func() (*Limiter, error) {
			a, _ := New(ok, client, Options{})
			return All(a, a)
		}, "limiter 1 is the same"},
		{func() (*Limiter, error) { return All(nil) }, "limiter 0 is nil"},
	} {
		if l, err := tt.make(); l != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "redislimit: ") {
			t.Errorf("New = %v, %v; want an error with %q", l, err, tt.want)
		}
	}
}

// What the root module promises to accept is accepted, of whole microseconds.
func TestNewAccepts(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	for _, window := range []time.Duration{time.Millisecond, time.Second, 24 * time.Hour, 366 * 24 * time.Hour} {
		for _, limit := range []int{1, 7, 999_983, 1_000_000} {
			for _, err := range []error{
				second(New(tokenbucket.Config{Limit: limit, Window: window}, client, Options{})),
				second(New(leakybucket.Config{Limit: limit, Window: window}, client, Options{})),
				second(New(fixedwindow.Config{Limit: limit, Window: window, Offset: math.MinInt64 / 1000 * 1000}, client, Options{})),
				second(New(slidingwindow.Config{Limit: limit, Window: window}, client, Options{})),
				second(New(slidinglog.Config{Limit: limit, Window: window}, client, Options{})),
			} {
				if err != nil {
					t.Errorf("%d per %v: %v", limit, window, err)
				}
			}
		}
	}
	if strconv.IntSize == 32 {
		return
	}
	perDay := int64(1e12)
	if _, err := New(tokenbucket.Config{Limit: int(perDay), Window: 24 * time.Hour}, client, Options{}); err != nil {
		t.Error(err)
	}
	if _, err := New(tokenbucket.Config{Limit: int(2 * perDay), Window: 24 * time.Hour}, client, Options{}); err == nil || !strings.Contains(err.Error(), "Limit 2000000000000 is out of range [1, 1099511627776]") {
		t.Errorf("2e12 per day: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// each makes a limiter of each kind on the shared server.
func each(t *testing.T, events int, window time.Duration, o Options) map[string]*Limiter {
	t.Helper()
	client := shared(t)
	o.Prefix, o.Timeout = t.Name(), time.Minute
	limiters := make(map[string]*Limiter)
	add := func(name string, l *Limiter, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		limiters[name] = l
	}
	l, err := New(tokenbucket.Config{Limit: events, Window: window}, client, o)
	add("tokenbucket", l, err)
	l, err = New(leakybucket.Config{Limit: events, Window: window}, client, o)
	add("leakybucket", l, err)
	l, err = New(fixedwindow.Config{Limit: events, Window: window}, client, o)
	add("fixedwindow", l, err)
	l, err = New(slidingwindow.Config{Limit: events, Window: window}, client, o)
	add("slidingwindow", l, err)
	l, err = New(slidinglog.Config{Limit: events, Window: window}, client, o)
	add("slidinglog", l, err)
	return limiters
}

// A decision's time is the server's, since 1970.
func TestAtIsTheServersTime(t *testing.T) {
	ctx := context.Background()
	client := shared(t)
	for name, l := range each(t, 10, time.Hour, Options{}) {
		before, err := client.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		d := take(t, l, "key", 1)
		after, err := client.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		if at := time.Unix(0, int64(d.At)); at.Before(before) || at.After(after) {
			t.Errorf("%s: At is %v, want from %v to %v", name, at, before, after)
		}
	}
}

// The server that has forgotten the scripts is told them again, in the middle of
// traffic, and one that has forgotten everything begins anew.
func TestServerForgets(t *testing.T) {
	ctx := context.Background()
	client := newServer(t).client(t)
	l, err := New(fixedwindow.Config{Limit: 10, Window: 3660 * 24 * time.Hour}, client, Options{Timeout: time.Minute, Refusals: NoRefusals})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := client.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if d := take(t, l, "key", 1); !d.Allowed || d.Remaining != 9-i {
			t.Fatalf("after SCRIPT FLUSH, event %d: %+v", i, d)
		}
	}
	if err := client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if take(t, l, "key", 1).Allowed {
		t.Error("an 11th event is admitted")
	}
	if err := client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	decisions, err := l.Batch(ctx, []Request{{"a", 1}, {"b", 2}, {"a", 3}})
	if err != nil || decisions[0].Remaining != 9 || decisions[1].Remaining != 8 || decisions[2].Remaining != 6 {
		t.Errorf("after SCRIPT FLUSH, Batch = %+v, %v", decisions, err)
	}
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if d := take(t, l, "key", 10); !d.Allowed {
		t.Errorf("after FLUSHALL %+v", d)
	}
	if err := client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	d := take(t, l, "other", 5)
	if err := client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.Refund(ctx, "other", d); err != nil {
		t.Fatal(err)
	}
	if d := take(t, l, "other", 10); !d.Allowed {
		t.Errorf("after a refund of all %+v", d)
	}
	if err := client.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := l.Reset(ctx, "other"); err != nil {
		t.Fatal(err)
	}
	if d := take(t, l, "other", 10); !d.Allowed {
		t.Errorf("after Reset %+v", d)
	}
}

// A Refund of what is forgotten leaves nothing behind.
func TestRefundAfterReset(t *testing.T) {
	ctx := context.Background()
	client := shared(t)
	for name, l := range each(t, 7, time.Hour, Options{}) {
		d := take(t, l, "key", 5)
		if err := l.Reset(ctx, "key"); err != nil {
			t.Fatal(err)
		}
		if err := l.Refund(ctx, "key", d); err != nil {
			t.Fatal(err)
		}
		if n := client.Exists(ctx, l.keys(nil, "key")[0].(string)).Val(); n != 0 {
			t.Errorf("%s: something is stored of a fresh key", name)
		}
	}
}

// A refusal that is remembered outlives a FLUSHALL, until its time is up.
func TestFlushIsHeardWhenTheRefusalEnds(t *testing.T) {
	ctx := context.Background()
	client := newServer(t).client(t)
	fake := clock.NewFake()
	l, err := New(slidinglog.Config{Limit: 1, Window: time.Hour, Clock: fake}, client, Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	take(t, l, "key", 1)
	d := take(t, l, "key", 1)
	if err := client.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	fake.Advance(d.RetryAfter - 1)
	if take(t, l, "key", 1).Allowed {
		t.Error("admitted before the refusal ends")
	}
	fake.Advance(1)
	if !take(t, l, "key", 1).Allowed {
		t.Error("refused after the refusal has ended")
	}
}

// Every key goes away by itself once its state is fresh, and not before.
func TestKeysExpire(t *testing.T) {
	ctx := context.Background()
	client := shared(t)
	for name, l := range each(t, 1000, 10*time.Hour, Options{}) {
		key := l.keys(nil, "key")[0].(string)
		for _, n := range []int{1, 3, 1} {
			d := take(t, l, "key", n)
			expiry := client.PExpireTime(ctx, key).Val()
			if fresh := d.At + d.ResetAfter; expiry < fresh || expiry > fresh+2*time.Millisecond {
				t.Errorf("%s: the key expires at %v, its state is fresh at %v", name, expiry, fresh)
			}
			if err := l.Refund(ctx, "key", d); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, l := range each(t, 10, 50*time.Millisecond, Options{}) {
		take(t, l, "key", 10)
		eventually(t, name+": the key goes away", func() bool { return client.Exists(ctx, l.keys(nil, "key")[0].(string)).Val() == 0 })
	}
}

// Several limits are decided all or nothing, in one round trip, and count in each
// other's.
func TestAll(t *testing.T) {
	ctx := context.Background()
	client := &counting{UniversalClient: shared(t)}
	o := Options{Prefix: t.Name(), Timeout: time.Minute, Refusals: NoRefusals}
	const long = 3660 * 24 * time.Hour
	few, err := New(fixedwindow.Config{Limit: 5, Window: long}, client, o)
	if err != nil {
		t.Fatal(err)
	}
	many, err := New(slidinglog.Config{Limit: 8, Window: time.Hour}, client, o)
	if err != nil {
		t.Fatal(err)
	}
	both, err := All(few, many)
	if err != nil {
		t.Fatal(err)
	}
	take(t, both, "another", 1)
	for range 3 {
		if d, err := both.Peek(ctx, "key", 5); err != nil || !d.Allowed {
			t.Errorf("Peek(5) = %+v, %v", d, err)
		}
	}
	var d ratelimit.Decision
	if trips := client.tripsOf(func() { d = take(t, both, "key", 3) }); trips != 1 {
		t.Errorf("%d round trips", trips)
	}
	if !d.Allowed || d.Limit != 5 || d.Remaining != 2 {
		t.Errorf("Take(3) = %+v", d)
	}
	if refused := take(t, both, "key", 3); refused.Allowed || refused.Remaining != 2 || refused.RetryAfter <= 0 {
		t.Errorf("Take(3) = %+v", refused)
	}
	remaining := func(l *Limiter) int {
		t.Helper()
		d, err := l.Peek(ctx, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		return d.Remaining
	}
	if few, many := remaining(few), remaining(many); few != 2 || many != 5 {
		t.Errorf("after 3 and a refusal %d and %d remain, want 2 and 5", few, many)
	}
	take(t, many, "key", 4)
	if d := take(t, both, "key", 2); d.Allowed || d.Limit != 8 || d.RetryAfter > time.Hour {
		t.Errorf("Take(2) = %+v", d)
	}
	if d := take(t, both, "key", 6); d.Allowed || d.RetryAfter != ratelimit.Never {
		t.Errorf("Take(6) = %+v", d)
	}
	if err := both.Refund(ctx, "key", d); err != nil {
		t.Fatal(err)
	}
	if few, many := remaining(few), remaining(many); few != 5 || many != 4 {
		t.Errorf("after the refund %d and %d remain, want 5 and 4", few, many)
	}
	if err := both.Reset(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	if few, many := remaining(few), remaining(many); few != 5 || many != 8 {
		t.Errorf("after Reset %d and %d remain, want 5 and 8", few, many)
	}
}

// A batch is one round trip, and its decisions are those of as many Takes.
func TestBatch(t *testing.T) {
	ctx := context.Background()
	_, client, ls := onFakeTime(t, kinds[0], 10, time.Second, Options{}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var requests []Request
		for range 1 + random.IntN(20) {
			requests = append(requests, Request{fmt.Sprint("key ", random.IntN(6)), random.IntN(14) - 1})
		}
		for i := range 6 {
			key := fmt.Sprint("key ", i)
			if random.IntN(3) == 0 {
				if err := l.Reset(ctx, key); err != nil {
					t.Fatal(err)
				}
			}
			// The same state for both.
			if err := plain.Reset(ctx, "twin of "+key); err != nil {
				t.Fatal(err)
			}
			if d, err := l.Peek(ctx, key, 0); err != nil {
				t.Fatal(err)
			} else if d.Remaining < 10 {
				take(t, plain, "twin of "+key, 10-d.Remaining)
			}
		}
		got, err := l.Batch(ctx, requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range requests {
			if want := take(t, plain, "twin of "+r.Key, r.N); got[i] != want {
				t.Fatalf("round %d: of the batch %v, %d is %+v, want %+v", round, requests, i, got[i], want)
			}
		}
	}
	requests := []Request{{"new 1", 1}, {"new 2", 10}, {"new 2", 10}}
	if trips := client.tripsOf(func() { l.Batch(ctx, requests) }); trips != 1 {
		t.Errorf("a batch makes %d round trips", trips)
	}
	if trips := client.tripsOf(func() { l.Batch(ctx, []Request{{"new 2", 10}}) }); trips != 0 {
		t.Errorf("a batch of what is refused makes %d round trips", trips)
	}
	if d, err := l.Batch(ctx, nil); len(d) != 0 || err != nil {
		t.Errorf("a batch of nothing = %v, %v", d, err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Batch(done, requests); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch with a context that is done: %v", err)
	}
}

// On a real server and a real clock, a wait ends as soon as it can, and not
// before; another process's events are waited for, too.
func TestWait(t *testing.T) {
	ctx := context.Background()
	for name, l := range each(t, 4, 100*time.Millisecond, Options{}) {
		other := each(t, 4, 100*time.Millisecond, Options{})[name]
		for i := range 6 {
			waiting, asking := l, other
			if i%2 > 0 {
				waiting, asking = other, l
			}
			for take(t, asking, "key", 1).Allowed {
			}
			d, err := asking.Peek(ctx, "key", 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := waiting.WaitN(ctx, "key", 1); err != nil {
				t.Fatal(err)
			}
			then, err := asking.Peek(ctx, "key", 0)
			if err != nil {
				t.Fatal(err)
			}
			if then.At < d.At+d.RetryAfter {
				t.Errorf("%s: at %v: %+v, and a wait ended at %v", name, d.At, d, then.At)
			}
		}
		if err := l.WaitN(ctx, "key", 5); !errors.Is(err, ratelimit.ErrExceedsLimit) {
			t.Errorf("%s: WaitN(5) = %v", name, err)
		}
	}
}

// Of an All only the leaky bucket spaces those who wait, and nobody waits for
// longer than that takes.
func TestWaitOfAll(t *testing.T) {
	ctx := context.Background()
	client := shared(t)
	o := Options{Prefix: t.Name(), Timeout: time.Minute}
	leaky, err := New(leakybucket.Config{Limit: 20, Window: time.Second}, client, o)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := New(tokenbucket.Config{Limit: 1000, Window: 1000 * time.Hour}, client, o)
	if err != nil {
		t.Fatal(err)
	}
	day, err := New(fixedwindow.Config{Limit: 1000, Window: 3660 * 24 * time.Hour}, client, o)
	if err != nil {
		t.Fatal(err)
	}
	all, err := All(day, tokens, leaky)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		before, err := leaky.Peek(ctx, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := all.Wait(ctx, "key"); err != nil {
			t.Fatal(err)
		}
		after, err := leaky.Peek(ctx, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		if after.At < before.At+before.ResetAfter {
			t.Errorf("wait %d ends at %v, what went in before has leaked out at %v", i, after.At, before.At+before.ResetAfter)
		}
	}
}

// While the server is away a wait ends with the reason.
func TestWaitWithoutServer(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true, DialerRetries: 1})
	defer client.Close()
	for _, o := range []Options{{}, {WhenDown: Admit}, {WhenDown: Fallback, Share: 1}} {
		l, err := New(tokenbucket.Config{Limit: 1, Window: 10 * time.Millisecond}, client, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			err := l.Wait(context.Background(), "key")
			if o.WhenDown == Refuse && !errors.Is(err, ErrUnavailable) || o.WhenDown != Refuse && err != nil {
				t.Errorf("%v: Wait = %v", o.WhenDown, err)
			}
		}
		if d, err := l.Take(context.Background(), "key", 2); d.Allowed || o.WhenDown != Refuse && (err != nil || d.RetryAfter != ratelimit.Never) {
			t.Errorf("%v: Take(2) of a limit of 1 = %+v, %v", o.WhenDown, d, err)
		}
	}
}

// So it is if the wait for the server to be asked again would outlast the deadline.
func TestWaitTellsWhy(t *testing.T) {
	l, err := New(tokenbucket.Config{Limit: 10, Window: time.Hour}, away(t), Options{Cooldown: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	// Somebody is in line, and the next comes to be the first of it.
	line := l.lines.join("key")
	defer l.lines.leave("key", line)
	served := make(chan struct{})
	go line.queue.Wait(context.Background(), fifo.Request{
		Events: 1,
		Serve:  func(int) (time.Duration, bool) { <-served; return 0, true },
	})
	eventually(t, "somebody is in line", func() bool { return l.lines.ahead("key") == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.Wait(ctx, "key") }()
	eventually(t, "somebody is behind", func() bool { return l.lines.ahead("key") == 2 })
	for range failuresToOpen {
		l.Peek(ctx, "another", 1)
	}
	close(served)
	if err := <-done; !errors.Is(err, ErrUnavailable) {
		t.Errorf("Wait = %v", err)
	}
}

// Whatever the key, it is that key.
func TestKeysAreTold(t *testing.T) {
	l := each(t, 3, time.Hour, Options{})["tokenbucket"]
	keys := []string{"", "}", "{", "{}", "a", "a}", "a}t3/1h0m0s", "{a", "a\x00", "\xff", " a", "a ", "*", "a\r\nb", strings.Repeat("k", 1<<16)}
	for _, key := range keys {
		for i := range 3 {
			if d := take(t, l, key, 1); !d.Allowed || d.Remaining != 2-i {
				t.Errorf("key %.20q: %+v", key, d)
			}
		}
	}
}

// Limits that differ do not share a state.
func TestLimitsAreTold(t *testing.T) {
	client := shared(t)
	seen := make(map[string]bool)
	o := Options{Prefix: t.Name()}
	for _, limit := range []int{1, 2, 10} {
		for _, window := range []time.Duration{time.Second, time.Minute} {
			for extra := range 3 {
				a, err := New(tokenbucket.Config{Limit: limit, Window: window, Burst: 3 + extra}, client, o)
				if err != nil {
					t.Fatal(err)
				}
				b, err := New(fixedwindow.Config{Limit: limit, Window: window, Offset: time.Duration(extra) * time.Millisecond}, client, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, l := range []*Limiter{a, b} {
					id := l.limits[0].id()
					if seen[id] {
						t.Errorf("two limits are %q", id)
					}
					seen[id] = true
				}
			}
		}
	}
}

// Who waits while the fallback decides hears that the server is back, even if the
// fallback's share never lets that many go.
func TestWaitOutlastsTheFallback(t *testing.T) {
	s := newServer(t)
	fake := clock.NewFake()
	const cooldown = 20 * time.Millisecond
	l, err := New(tokenbucket.Config{Limit: 100, Window: time.Second, Clock: fake}, s.client(t),
		Options{Timeout: 10 * time.Second, Cooldown: cooldown, WhenDown: Fallback, Share: 10})
	if err != nil {
		t.Fatal(err)
	}
	s.kill()
	done := make(chan error, 2)
	for i := range 2 {
		go func() { done <- l.WaitN(context.Background(), "key", 50) }()
		eventually(t, "it waits", func() bool { return l.lines.ahead("key") == 50*(i+1) })
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := fake.BlockUntil(ctx, 1); err != nil {
		t.Fatalf("nobody sleeps: %v", err)
	}
	s.start(t)
	for range 2 {
		eventually(t, "who waits is admitted", func() bool {
			fake.Advance(cooldown)
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				return true
			default:
				return false
			}
		})
	}
}
