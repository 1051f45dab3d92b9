package redislimit

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
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
