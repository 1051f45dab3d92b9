package redislimit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
		if d, err := l.Peek(context.Background(), "key", 0); err != nil || !d.Allowed || d.Remaining != 4 {
			t.Errorf("%s: none of the 4 in the lease: %+v, %v", k.name, d, err)
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
		if cmd.(*command).script == reset {
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
	if d.Allowed || !errors.Is(err, ErrUnavailable) || l.Err() == nil {
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
		l.timeouts.latest.Store(nil) // as when an eighth of the time has passed
	}}
	if d := take(t, l, "key", 1); !d.Allowed || len(ends) != 2 || !ends[0].Equal(ends[1]) {
		t.Errorf("%+v of calls that end at %v", d, ends)
	}
}

// hiccup is a client of which one call is not answered. As the real one it does not
// make calls whose time is out.
type hiccup struct {
	redis.UniversalClient
	calls atomic.Int64
}

func (c *hiccup) Process(ctx context.Context, cmd redis.Cmder) error {
	end, _ := ctx.Deadline()
	if c.calls.Add(1) == 1 {
		<-ctx.Done()
	}
	if !time.Now().Before(end) {
		cmd.SetErr(context.DeadlineExceeded)
		return context.DeadlineExceeded
	}
	return c.UniversalClient.Process(ctx, cmd)
}

// However many wait for a lease that is not taken in time, that is one call
// without an answer.
func TestLeaseFailsOnce(t *testing.T) {
	for i := range 10 {
		l, err := New(tokenbucket.Config{Limit: 1_000_000, Window: time.Hour}, &hiccup{UniversalClient: shared(t)},
			Options{Prefix: fmt.Sprint(t.Name(), i), Timeout: 20 * time.Millisecond, Lease: 10})
		if err != nil {
			t.Fatal(err)
		}
		l.bounded = true
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { l.Take(context.Background(), "key", 1) })
		}
		all.Wait()
		if b := &l.health.breakers[0]; b.failures.Load() > 1 || b.openFor.Load() != 0 {
			t.Fatalf("one call without an answer counts as %d", b.failures.Load())
		}
	}
}

// A call for which a wait has left little time tells little of the server.
func TestHurriedCallsAreNotFailures(t *testing.T) {
	_, _, ls := onFakeTime(t, kinds[0], 100, time.Hour, Options{Lease: 10})
	l := ls[0]
	l.client = &hiccup{UniversalClient: l.client}
	l.client.(*hiccup).calls.Store(1)
	for range 2 * failuresToOpen {
		hurried := &timedContext{context.Background(), context.Background(), time.Now()}
		if _, err := l.leased(hurried, "key", takeOne); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		if _, err := l.change(hurried, "key", l.resetCommand(hurried, "key")); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	b := &l.health.breakers[0]
	if b.failures.Load() != 0 {
		t.Errorf("%d failures are counted", b.failures.Load())
	}
	// But what it says at once it says.
	l.client = away(t)
	hurried := &timedContext{context.Background(), context.Background(), time.Now().Add(l.options.Timeout / 5)}
	if _, err := l.leased(hurried, "key", takeOne); !errors.Is(err, ErrUnavailable) || b.failures.Load() != 1 {
		t.Errorf("a connection is refused: %v; %d failures are counted", err, b.failures.Load())
	}
}

// While one who tries the server again holds the lease, the others are told at once
// that it is left alone.
func TestLeaseWhileTheServerIsLeftAlone(t *testing.T) {
	ctx := context.Background()
	fake, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 10, WhenDown: Admit})
	l := ls[0]
	take(t, l, "another", 1)
	for range failuresToOpen {
		l.health.breakers[0].failed(fake.Now(), fake.Now(), l.options.Cooldown)
	}
	fake.Advance(l.options.Cooldown)
	var within, lasting ratelimit.Decision
	good := l.client
	l.client = &observed{good, func(context.Context, redis.Cmder) {
		d, err := inTime(t, func() (ratelimit.Decision, error) { return l.Take(ctx, "key", 1) })
		if err != nil {
			t.Error(err)
		}
		within = d
		lasting = take(t, l, "another", 1)
	}}
	if d := take(t, l, "key", 1); !decidedByServer(d) {
		t.Errorf("of one who tries the server: %+v", d)
	}
	if !within.Allowed || decidedByServer(within) {
		t.Errorf("of another meanwhile: %+v", within)
	}
	if !lasting.Allowed || !decidedByServer(lasting) {
		t.Errorf("of a lease that lasts: %+v", lasting)
	}
}

// What Close did not give back, because it was not asked for, the next Close does.
func TestCloseAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	fake, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 10}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	keys := []string{"a", "b", "c"}
	for _, key := range keys {
		take(t, l, key, 1)
	}
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close of a context that is done = %v", err)
	}
	for range failuresToOpen {
		l.health.breakers[0].failed(fake.Now(), fake.Now(), l.options.Cooldown)
	}
	if err := l.Close(context.Background()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close while the server is left alone = %v", err)
	}
	fake.Advance(l.options.Cooldown)
	for range 2 {
		if err := l.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range keys {
		if d, err := plain.Peek(context.Background(), key, 0); err != nil || d.Remaining != 99 {
			t.Errorf("key %q after Close: %+v, %v", key, d, err)
		}
	}
}

// lossy is a client whose server's answers are lost.
type lossy struct{ redis.UniversalClient }

func (c lossy) Process(ctx context.Context, cmd redis.Cmder) error {
	c.UniversalClient.Process(ctx, cmd)
	cmd.SetErr(io.EOF)
	return io.EOF
}

// What Close may have given back is not given back again.
func TestCloseOnce(t *testing.T) {
	ctx := context.Background()
	_, _, ls := onFakeTime(t, kinds[2], 100, time.Hour, Options{Lease: 10}, Options{Refusals: NoRefusals})
	l, plain := ls[0], ls[1]
	take(t, plain, "key", 50)
	take(t, l, "key", 1)
	good := l.client
	l.client = lossy{good}
	if err := l.Close(ctx); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Close without an answer = %v", err)
	}
	l.client = good
	if err := l.Close(ctx); err != nil {
		t.Error(err)
	}
	if d, err := plain.Peek(ctx, "key", 0); err != nil || d.Remaining != 49 {
		t.Errorf("of 100, 51 are used: %+v, %v", d, err)
	}
}

// Who waited for a lease finds out that it has lapsed in the meantime, or gone.
func TestLeaseAfterAWait(t *testing.T) {
	send := fromBubbles(sendTimed(shared(t)))
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		fake := clock.NewFake()
		now := func() int64 { return farFuture + fake.Now().Microseconds() }
		l, err := kinds[2].on(&timed{now: now, send: send}, t.Name(), 100, time.Hour, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.clock, l.leases, l.options.Lease, l.options.LeaseFor = fake, newLeases(), 10, time.Second
		take(t, l, "key", 1)
		m := l.leases.keys["key"]
		m.turn <- struct{}{}
		var all sync.WaitGroup
		all.Go(func() { take(t, l, "key", 1) })
		synctest.Wait()
		fake.Advance(time.Second)
		m.exit()
		all.Wait()
		if d, err := l.request(ctx, "key", question{}); err != nil || d.Remaining != 80 {
			t.Errorf("after two leases of 10, of which one lapsed during a wait for it: %+v, %v", d, err)
		}
		// Also of one that is only handed out, while the server is left alone.
		for range failuresToOpen {
			l.health.breakers[0].failed(fake.Now(), fake.Now(), time.Hour)
		}
		m.turn <- struct{}{}
		all.Go(func() { take(t, l, "key", 1) })
		synctest.Wait()
		m.exit()
		all.Wait()
		m.gone = true
		if m.tryEnter() {
			t.Error("a lease is handed out that is gone")
		}
		if m.gone = false; !m.tryEnter() {
			t.Error("one that is gone holds up others")
		}
		m.exit()
	})
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
	if err := leasing.Reset(context.Background(), long); err != nil {
		t.Fatal(err)
	}
	take(t, leasing, long, 10)
	if leasing.leases.keys[long] != nil {
		t.Error("a lease is kept")
	}
	for _, l := range ls {
		if n := client.tripsOf(func() { take(t, l, long, 1) }); n != 1 {
			t.Errorf("a refusal that is not kept makes %d round trips", n)
		}
		if f := l.refusals.place(long).Load(); f != nil && f.key != "" {
			t.Error("a refusal is kept")
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
	sum := sha256.Sum256([]byte(long))
	if !f.decide(string(sum[:]), all, 0).Allowed {
		t.Error("a digest is taken for the key that it is of")
	}
	bytes := 0
	for key := range f.keys {
		bytes += len(key.of)
	}
	if bytes != maxKept+3*32 {
		t.Errorf("%d bytes of keys are kept", bytes)
	}
}
