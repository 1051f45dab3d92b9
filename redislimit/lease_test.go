package redislimit

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// Leased events cost a round trip for each lease, and not one of them is handed
// out twice or lost.
func TestLease(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			_, client, ls := onFakeTime(t, k, 100, time.Hour, Options{Lease: 10}, Options{Refusals: NoRefusals})
			l, plain := ls[0], ls[1]
			trips := client.tripsOf(func() {
				for i := range 100 {
					if d := take(t, l, "key", 1); !d.Allowed || d.N != 1 || d.Remaining != 99-i {
						t.Fatalf("Take %d = %+v", i, d)
					}
				}
			})
			if trips != 10 {
				t.Errorf("100 events of leases of 10 make %d round trips", trips)
			}
			if d := take(t, l, "key", 1); d.Allowed {
				t.Errorf("beyond the limit %+v", d)
			}
			if d := take(t, plain, "key", 1); d.Allowed {
				t.Errorf("without a lease beyond the limit %+v", d)
			}
		})
	}
}

// Whatever is asked for, there are never more in a lease than its size; near the
// limit what is there is admitted to the last event.
func TestLeaseOfVariousNumbers(t *testing.T) {
	ctx := context.Background()
	_, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 7}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	sum := 0
	for _, n := range []int{3, 3, 3, 7, 1, 8, 2, 7, 7, 5, 6, 9, 1, 7, 7, 7, 7, 7} {
		if take(t, l, "key", n).Allowed {
			sum += n
		}
		d, err := plain.Peek(ctx, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		if unused := 100 - d.Remaining - sum; unused < 0 || unused > 7 {
			t.Fatalf("after %d events %d are in a lease of 7", sum, unused)
		}
	}
	for take(t, l, "key", 1).Allowed {
		sum++
	}
	if sum != 100 {
		t.Errorf("%d are admitted in all, want 100", sum)
	}
}

func TestLeaseIsGivenBack(t *testing.T) {
	ctx := context.Background()
	fake, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 10, LeaseFor: time.Minute}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	remaining := func() int {
		t.Helper()
		d, err := plain.Peek(ctx, "key", 0)
		if err != nil {
			t.Fatal(err)
		}
		return d.Remaining
	}
	take(t, l, "key", 3)
	if got := remaining(); got != 90 {
		t.Fatalf("with a lease of 10 taken %d remain", got)
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := remaining(); got != 97 {
		t.Errorf("after Close %d remain, want 97", got)
	}
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if got := remaining(); got != 97 {
		t.Errorf("after Close again %d remain, want 97", got)
	}
	d := take(t, l, "key", 1)
	if err := l.Refund(ctx, "key", d); err != nil {
		t.Fatal(err)
	}
	if got := remaining(); got != 88 {
		t.Errorf("after a lease of 10 and a refund of 1 %d remain, want 88", got)
	}
	fake.Advance(time.Minute)
	take(t, l, "key", 1)
	if got := remaining(); got != 78 {
		t.Errorf("after the lease lapsed, and another, %d remain, want 78", got)
	}
	if err := l.Reset(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	take(t, l, "key", 1)
	if got := remaining(); got != 90 {
		t.Errorf("after Reset and a lease %d remain, want 90", got)
	}
}

// What is left in the lease remains, also where more is refused.
func TestLeaseRemains(t *testing.T) {
	for _, k := range kinds {
		_, _, ls := onFakeTime(t, k, 10, time.Hour, Options{Lease: 7, Prefix: k.name}, Options{Refusals: NoRefusals, Prefix: k.name})
		l, plain := ls[0], ls[1]
		take(t, l, "key", 3)
		take(t, plain, "key", 3)
		for _, ask := range []func(context.Context, string, int) (ratelimit.Decision, error){l.Take, l.Peek} {
			if d, err := ask(context.Background(), "key", 5); err != nil || d.Allowed || d.N != 5 || d.Remaining != 4 {
				t.Errorf("%s: 5 of the 4 in the lease: %+v, %v", k.name, d, err)
			}
		}
		if d := take(t, l, "key", 4); !d.Allowed {
			t.Errorf("%s: 4 of the 4 in the lease: %+v", k.name, d)
		}
	}
}

// observed is a client that tells what is sent.
type observed struct {
	redis.UniversalClient
	see func(context.Context, redis.Cmder)
}

func (c *observed) Process(ctx context.Context, cmd redis.Cmder) error {
	c.see(ctx, cmd)
	return c.UniversalClient.Process(ctx, cmd)
}

// A Reset leaves no lease behind of what it has the server forget.
func TestResetEndsTheLease(t *testing.T) {
	ctx := context.Background()
	_, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 10}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	take(t, l, "key", 1)
	l.client = &observed{l.client, func(_ context.Context, cmd redis.Cmder) {
		if cmd.Name() == "unlink" {
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			defer cancel()
			l.Take(short, "key", 1)
		}
	}}
	if err := l.Reset(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	take(t, l, "key", 1)
	if d, err := plain.Peek(ctx, "key", 0); err != nil || d.Remaining != 90 {
		t.Errorf("after Reset and a lease of 10: %+v, %v", d, err)
	}
}

// Those who wait for another to fill up the lease wait for no longer than the
// time-out, and all that a call does has to be done by then.
func TestLeaseEndsInTime(t *testing.T) {
	ctx := context.Background()
	_, _, ls := onFakeTime(t, kinds[0], 100, time.Hour, Options{Lease: 10})
	l := ls[0]
	l.timeouts = timeouts{after: 20 * time.Millisecond}
	m, err := l.leases.enter(ctx, "key", 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := inTime(t, func() (ratelimit.Decision, error) { return l.Take(ctx, "key", 1) })
	if d.Allowed || !errors.Is(err, ErrUnavailable) {
		t.Errorf("Take while another has the lease = %+v, %v", d, err)
	}
	if _, err := inTime(t, func() (d ratelimit.Decision, err error) { return d, l.Reset(ctx, "key") }); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Reset while another has the lease = %v", err)
	}
	l.timeouts = timeouts{after: time.Minute}
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if err == context.Canceled {
			cancel()
			short, cancel = context.WithCancel(ctx)
			time.AfterFunc(10*time.Millisecond, cancel)
		}
		d, got := inTime(t, func() (ratelimit.Decision, error) { return l.Take(short, "key", 1) })
		if d.Allowed || got != err {
			t.Errorf("Take of one that gives up = %+v, %v, want %v", d, got, err)
		}
		cancel()
	}
	m.exit()

	// 95 are used, so that a lease of 10 is refused, and 1 is admitted.
	for take(t, l, "key", 9); m.left > 0; {
		take(t, l, "key", 1)
	}
	l.request(ctx, "key", question{n: 85, take: true})
	var ends []time.Time
	l.client = &observed{l.client, func(ctx context.Context, _ redis.Cmder) {
		end, ok := ctx.Deadline()
		if !ok {
			t.Error("a call has no deadline")
		}
		ends = append(ends, end)
	}}
	if d := take(t, l, "key", 1); !d.Allowed || len(ends) != 2 || !ends[0].Equal(ends[1]) {
		t.Errorf("%+v of calls that end at %v", d, ends)
	}
}

// Those who find the lease empty at the same time take one new one, not one each.
func TestLeaseIsTakenOnce(t *testing.T) {
	_, client, ls := onFakeTime(t, kinds[0], 1000, time.Hour, Options{Lease: 50})
	l := ls[0]
	var admitted atomic.Int64
	trips := client.tripsOf(func() {
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for range 5 {
					if d, err := l.Take(context.Background(), "key", 1); err == nil && d.Allowed {
						admitted.Add(1)
					}
				}
			})
		}
		all.Wait()
	})
	if admitted.Load() != 320 || trips != 7 {
		t.Errorf("%d of 320 are admitted in %d round trips, want 7", admitted.Load(), trips)
	}
}

// Where there is no room for a lease the server decides, and room is made where
// leases have lapsed.
func TestLeasesAreBounded(t *testing.T) {
	s := newLeases()
	for i := range maxLeases {
		s.keys[strconv.Itoa(i)] = &lease{turn: make(chan struct{}, 1), until: 10}
	}
	if m, err := s.enter(context.Background(), "key", 9); m != nil || err != nil {
		t.Errorf("among %d leases there is room for one more", len(s.keys))
	}
	s.sweepAt = 0
	m, err := s.enter(context.Background(), "key", 10)
	if m == nil || err != nil {
		t.Fatal("no room is made of leases that have lapsed")
	}
	m.exit()
	if len(s.keys) != 1 {
		t.Errorf("%d leases are left", len(s.keys))
	}
}

// What a stranger sends is not kept if it is long.
func TestLongKeysAreNotKept(t *testing.T) {
	long := strings.Repeat("x", maxKept+1)
	_, client, ls := onFakeTime(t, kinds[0], 10, time.Hour, Options{Lease: 5}, Options{})
	leasing, plain := ls[0], ls[1]
	for i := range 12 {
		if d := take(t, leasing, long, 1); d.Allowed != (i < 10) || d.Remaining != max(9-i, 0) {
			t.Errorf("Take %d = %+v", i, d)
		}
	}
	if len(leasing.leases.keys) != 0 {
		t.Error("a lease is kept")
	}
	for _, l := range ls {
		if n := client.tripsOf(func() { take(t, l, long, 1) }); n != 1 {
			t.Errorf("a refusal that is not kept makes %d round trips", n)
		}
	}
	short := long[1:]
	take(t, plain, short, 10)
	take(t, plain, short, 1)
	if n := client.tripsOf(func() { take(t, plain, short, 1) }); n != 0 {
		t.Errorf("a refusal that is kept makes %d round trips", n)
	}

	f, err := newFallback([]any{tokenbucket.Config{Limit: 10, Window: time.Hour}}, 1, clock.NewFake())
	if err != nil {
		t.Fatal(err)
	}
	all := question{n: 10, take: true}
	for _, key := range []string{long, long + "y", short} {
		d := f.decide(key, all, 0)
		if !d.Allowed {
			t.Errorf("key of %d bytes: %+v", len(key), d)
		}
		if f.decide(key, all, 0).Allowed {
			t.Errorf("key of %d bytes is admitted twice", len(key))
		}
		f.refund(key, d)
		if !f.decide(key, all, 0).Allowed {
			t.Errorf("key of %d bytes is refused after a refund", len(key))
		}
		f.reset(key)
		if !f.decide(key, all, 0).Allowed {
			t.Errorf("key of %d bytes is refused after a reset", len(key))
		}
	}
	bytes := 0
	for key := range f.keys {
		bytes += len(key)
	}
	if bytes != maxKept+2*32 {
		t.Errorf("%d bytes of keys are kept", bytes)
	}
}
