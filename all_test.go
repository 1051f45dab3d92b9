package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/fixedwindow"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/slidinglog"
	"github.com/ratekeep/ratelimit/slidingwindow"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// kinds makes one limiter of each algorithm.
var kinds = map[string]func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter{
	"tokenbucket": func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter {
		return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c})
	},
	"leakybucket": func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter {
		return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
	},
	"fixedwindow": func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter {
		return fixedwindow.MustNew(fixedwindow.Config{Limit: limit, Window: window, Clock: c})
	},
	"slidingwindow": func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter {
		return slidingwindow.MustNew(slidingwindow.Config{Limit: limit, Window: window, Clock: c})
	},
	"slidinglog": func(limit int, window time.Duration, c clock.Clock) ratelimit.Limiter {
		return slidinglog.MustNew(slidinglog.Config{Limit: limit, Window: window, Clock: c})
	},
}

func bucket(limit int, window time.Duration, c clock.Clock) *tokenbucket.Limiter {
	return tokenbucket.MustNew(tokenbucket.Config{Limit: limit, Window: window, Clock: c})
}

// foreign is a limiter of somebody else's: it admits limit events in all, has no
// Clock method, and can be made to say one thing and do another.
type foreign struct {
	mu     sync.Mutex
	limit  int
	used   int
	liar   bool // Peek allows what Take refuses
	retry  time.Duration
	refund int // events refunded in all
}

func (f *foreign) decide(n int, take bool) ratelimit.Decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := ratelimit.Decision{N: n, Limit: f.limit, Remaining: f.limit - f.used, RetryAfter: f.retry}
	if n < 0 || n > f.limit {
		d.RetryAfter = ratelimit.Never
		return d
	}
	if n > 0 && (f.used+n > f.limit || f.liar && take) {
		return d
	}
	d.Allowed, d.RetryAfter = true, 0
	d.Remaining -= n
	if take {
		f.used += n
	}
	return d
}

func (f *foreign) Allow() bool                      { return f.AllowN(1) }
func (f *foreign) AllowN(n int) bool                { return f.Take(n).Allowed }
func (f *foreign) Take(n int) ratelimit.Decision    { return f.decide(n, true) }
func (f *foreign) Peek(n int) ratelimit.Decision    { return f.decide(n, false) }
func (f *foreign) Wait(ctx context.Context) error   { return f.WaitN(ctx, 1) }
func (f *foreign) WaitN(context.Context, int) error { return errors.New("not in this test") }

func (f *foreign) Refund(d ratelimit.Decision) {
	if !d.Allowed {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used -= d.N
	f.refund += d.N
}

// fixed is a limiter that always says the same.
type fixed struct {
	ratelimit.Limiter
	d ratelimit.Decision
}

func (f *fixed) Take(n int) ratelimit.Decision { f.d.N = n; return f.d }
func (f *fixed) Peek(n int) ratelimit.Decision { f.d.N = n; return f.d }
func (f *fixed) Refund(ratelimit.Decision)     {}

// TestAllChargesNoneWhenOneRefuses looks at each limiter before and after.
func TestAllChargesNoneWhenOneRefuses(t *testing.T) {
	for name, newLimiter := range kinds {
		for refusing, newRefusing := range kinds {
			t.Run(name+"/"+refusing, func(t *testing.T) {
				fake := clock.NewFake()
				a, b, c := newLimiter(10, time.Minute, fake), newRefusing(5, time.Minute, fake), newLimiter(10, time.Minute, fake)
				l := ratelimit.All(a, b, c)
				if !l.AllowN(4) {
					t.Fatal("AllowN(4) is refused")
				}
				fake.Advance(time.Nanosecond)
				look := func() [3]ratelimit.Decision { return [3]ratelimit.Decision{a.Peek(1), b.Peek(1), c.Peek(1)} }
				before := look()
				for range 100 {
					if l.AllowN(2) || l.Take(2).Allowed || l.Peek(2).Allowed || l.Take(6).Allowed || l.Take(-1).Allowed {
						t.Fatal("what one of three refuses is admitted")
					}
				}
				if diff := cmp.Diff(before, look()); diff != "" {
					t.Errorf("refusals change the limiters: (-before +after)\n%s", diff)
				}
				if !l.Allow() || l.Allow() {
					t.Error("there is not room for exactly one more")
				}
				if got := [3]int{a.Peek(0).Remaining, b.Peek(0).Remaining, c.Peek(0).Remaining}; got != [3]int{5, 0, 5} {
					t.Errorf("afterwards %v remain, want [5 0 5]", got)
				}
			})
		}
	}
}

// TestAllRefundsWhatWasTaken has the last of four refuse what it has promised,
// as if somebody else had taken it in between.
func TestAllRefundsWhatWasTaken(t *testing.T) {
	for name, newLimiter := range kinds {
		t.Run(name, func(t *testing.T) {
			fake := clock.NewFake()
			a, b := newLimiter(20, time.Minute, fake), newLimiter(20, time.Hour, fake)
			liar := &foreign{limit: 10, liar: true, retry: time.Second}
			l := ratelimit.All(a, b, a, liar)
			before := [2]ratelimit.Decision{a.Peek(1), b.Peek(1)}
			for n := 1; n <= 5; n++ {
				want := ratelimit.Decision{N: n, Limit: 10, Remaining: 10, RetryAfter: time.Second}
				if diff := cmp.Diff(want, l.Take(n)); diff != "" {
					t.Errorf("Take(%d): (-want +got)\n%s", n, diff)
				}
			}
			if diff := cmp.Diff(before, [2]ratelimit.Decision{a.Peek(1), b.Peek(1)}); diff != "" {
				t.Errorf("what was taken is not refunded: (-before +after)\n%s", diff)
			}
		})
	}
}

func TestAllDecision(t *testing.T) {
	const never = ratelimit.Never
	made := time.Duration(0)
	decide := func(d ratelimit.Decision) *fixed {
		made++
		d.Limit, d.ResetAfter = 9, made // to tell one from the other
		return &fixed{d: d}
	}
	allowed := func(remaining int) *fixed {
		return decide(ratelimit.Decision{Allowed: true, Remaining: remaining})
	}
	refused := func(retry time.Duration) *fixed { return decide(ratelimit.Decision{RetryAfter: retry}) }
	for _, tt := range []struct {
		name     string
		limiters []ratelimit.Limiter
		want     int // whose decision it is
	}{
		{"one", []ratelimit.Limiter{allowed(5)}, 0},
		{"least remaining first", []ratelimit.Limiter{allowed(3), allowed(4), allowed(5)}, 0},
		{"least remaining last", []ratelimit.Limiter{allowed(5), allowed(4), allowed(3)}, 2},
		{"as much remaining", []ratelimit.Limiter{allowed(5), allowed(4), allowed(4)}, 1},
		{"nothing remaining", []ratelimit.Limiter{allowed(5), allowed(0)}, 1},
		{"a refusal rather than the least remaining", []ratelimit.Limiter{allowed(0), refused(1), allowed(0)}, 1},
		{"longest refusal first", []ratelimit.Limiter{refused(3), refused(2), allowed(0)}, 0},
		{"longest refusal last", []ratelimit.Limiter{refused(2), allowed(0), refused(3)}, 2},
		{"as long refusals", []ratelimit.Limiter{refused(2), refused(3), refused(3)}, 1},
		{"never is the longest", []ratelimit.Limiter{refused(never - 1), refused(never)}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := ratelimit.All(tt.limiters...)
			want := tt.limiters[tt.want].(*fixed).d
			want.N = 2
			if diff := cmp.Diff(want, l.Peek(2)); diff != "" {
				t.Errorf("Peek: (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(want, l.Take(2)); diff != "" {
				t.Errorf("Take: (-want +got)\n%s", diff)
			}
			if got := l.AllowN(2); got != want.Allowed {
				t.Errorf("AllowN = %v, want %v", got, want.Allowed)
			}
		})
	}
}

func TestAllOfNothing(t *testing.T) {
	for name, l := range map[string]ratelimit.Limiter{
		"All()":             ratelimit.All(),
		"All(All(), All())": ratelimit.All(ratelimit.All(), ratelimit.All()),
	} {
		for _, n := range []int{0, 1, 1000, math.MaxInt} {
			want := ratelimit.Decision{Allowed: true, N: n, Limit: math.MaxInt, Remaining: math.MaxInt}
			if diff := cmp.Diff(want, l.Take(n)); diff != "" {
				t.Errorf("%s: Take(%d): (-want +got)\n%s", name, n, diff)
			}
			if diff := cmp.Diff(want, l.Peek(n)); diff != "" {
				t.Errorf("%s: Peek(%d): (-want +got)\n%s", name, n, diff)
			}
			if err := l.WaitN(t.Context(), n); err != nil {
				t.Errorf("%s: WaitN(%d) = %v", name, n, err)
			}
		}
		for _, n := range []int{-1, math.MinInt} {
			if d := l.Take(n); d.Allowed || d.RetryAfter != ratelimit.Never {
				t.Errorf("%s: Take(%d) = %+v", name, n, d)
			}
			if err := l.WaitN(t.Context(), n); !errors.Is(err, ratelimit.ErrExceedsLimit) {
				t.Errorf("%s: WaitN(%d) = %v", name, n, err)
			}
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Wait(cancelled); err != context.Canceled {
			t.Errorf("%s: Wait of a cancelled context = %v", name, err)
		}
	}
}

// TestAllIsFlattened counts how often each limiter is charged.
func TestAllIsFlattened(t *testing.T) {
	for _, tt := range []struct {
		name string
		all  func(a, b, c ratelimit.Limiter) ratelimit.Limiter
		want [3]int
	}{
		{"flat", func(a, b, c ratelimit.Limiter) ratelimit.Limiter { return ratelimit.All(a, b, c) }, [3]int{1, 1, 1}},
		{"left", func(a, b, c ratelimit.Limiter) ratelimit.Limiter { return ratelimit.All(ratelimit.All(a, b), c) }, [3]int{1, 1, 1}},
		{"right", func(a, b, c ratelimit.Limiter) ratelimit.Limiter {
			return ratelimit.All(a, ratelimit.All(b, ratelimit.All(c)))
		}, [3]int{1, 1, 1}},
		{"with nothing", func(a, b, c ratelimit.Limiter) ratelimit.Limiter {
			return ratelimit.All(ratelimit.All(), ratelimit.All(a, b, c), ratelimit.All())
		}, [3]int{1, 1, 1}},
		{"twice", func(a, b, c ratelimit.Limiter) ratelimit.Limiter { return ratelimit.All(a, b, a, c, b, a) }, [3]int{3, 2, 1}},
		{"twice in a nested one", func(a, b, c ratelimit.Limiter) ratelimit.Limiter {
			return ratelimit.All(ratelimit.All(a, b), ratelimit.All(c, a), ratelimit.All(a, ratelimit.All(b)))
		}, [3]int{3, 2, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fake := clock.NewFake()
			limiters := [3]ratelimit.Limiter{bucket(100, time.Hour, fake), bucket(100, time.Hour, fake), bucket(100, time.Hour, fake)}
			l := tt.all(limiters[0], limiters[1], limiters[2])
			if !l.AllowN(7) {
				t.Fatal("AllowN(7) is refused")
			}
			for i, a := range limiters {
				if got, want := 100-a.Peek(0).Remaining, 7*tt.want[i]; got != want {
					t.Errorf("limiter %d was charged %d, want %d", i, got, want)
				}
			}
		})
	}
}

func TestAllSameLimiterTwice(t *testing.T) {
	fake := clock.NewFake()
	a := bucket(10, time.Second, fake)
	l := ratelimit.All(a, a)
	take := func(n int, want ratelimit.Decision) {
		t.Helper()
		want.N, want.Limit = n, 5
		if diff := cmp.Diff(want, l.Peek(n)); diff != "" {
			t.Errorf("Peek(%d): (-want +got)\n%s", n, diff)
		}
		if diff := cmp.Diff(want, l.Take(n)); diff != "" {
			t.Errorf("Take(%d): (-want +got)\n%s", n, diff)
		}
	}
	const ms = time.Millisecond
	take(5, ratelimit.Decision{Allowed: true, ResetAfter: 1000 * ms})
	a.Reset()
	take(3, ratelimit.Decision{Allowed: true, Remaining: 2, ResetAfter: 600 * ms})
	take(0, ratelimit.Decision{Allowed: true, Remaining: 2, ResetAfter: 600 * ms})
	take(3, ratelimit.Decision{Remaining: 2, RetryAfter: 200 * ms, ResetAfter: 600 * ms})
	for _, n := range []int{-1, 6, 10, 11, math.MaxInt / 2, math.MaxInt/2 + 1, math.MaxInt, math.MinInt, math.MinInt / 2} {
		take(n, ratelimit.Decision{Remaining: 2, RetryAfter: ratelimit.Never, ResetAfter: 600 * ms})
		if err := l.WaitN(t.Context(), n); !errors.Is(err, ratelimit.ErrExceedsLimit) {
			t.Errorf("WaitN(%d) = %v, want %v", n, err, ratelimit.ErrExceedsLimit)
		}
	}
	if got := a.Peek(0).Remaining; got != 4 {
		t.Errorf("%d remain, want 4", got)
	}
	a.Allow() // an odd one: there are three, which is enough for one
	take(1, ratelimit.Decision{Allowed: true, ResetAfter: 900 * ms})
	take(1, ratelimit.Decision{RetryAfter: 100 * ms, ResetAfter: 900 * ms})
}

// TestAllSameLimiterThrice asks for so many that three times as many wrap around
// to two.
func TestAllSameLimiterThrice(t *testing.T) {
	a := bucket(10, time.Second, clock.NewFake())
	l := ratelimit.All(a, a, a)
	n := math.MaxUint/3 + 1
	if d := l.Take(n); d.Allowed || d.RetryAfter != ratelimit.Never {
		t.Errorf("Take(%d) = %+v", n, d)
	}
	if err := l.WaitN(t.Context(), n); !errors.Is(err, ratelimit.ErrExceedsLimit) {
		t.Errorf("WaitN(%d) = %v, want %v", n, err, ratelimit.ErrExceedsLimit)
	}
	if got := a.Peek(0).Remaining; got != 10 {
		t.Errorf("%d remain, want 10", got)
	}
}

// unrefundable is a limiter, but not a Refunder.
type unrefundable struct{ ratelimit.Limiter }

func TestAllPanicsWithoutRefund(t *testing.T) {
	good := bucket(1, time.Second, clock.NewFake())
	for _, tt := range []struct {
		limiters []ratelimit.Limiter
		want     string
	}{
		{[]ratelimit.Limiter{unrefundable{good}}, "limiter 0, a ratelimit_test.unrefundable, cannot refund"},
		{[]ratelimit.Limiter{good, good, unrefundable{good}, good}, "limiter 2, a ratelimit_test.unrefundable, cannot refund"},
		{[]ratelimit.Limiter{good, nil}, "limiter 1, a <nil>, cannot refund"},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, tt.want) {
					t.Errorf("All panics with %q, want %q", got, tt.want)
				}
			}()
			ratelimit.All(tt.limiters...)
		}()
	}
}

// boxed is a Limiter whose type can be compared and whose values cannot.
type boxed struct {
	*tokenbucket.Limiter
	tags any
}

func TestAllOfUncomparable(t *testing.T) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("All panics: %v", p)
		}
	}()
	b := boxed{bucket(10, time.Hour, clock.NewFake()), []string{"a", "b"}}
	l := ratelimit.All(b, b)
	if !l.Allow() {
		t.Error("Allow is refused")
	}
	if got := b.Peek(0).Remaining; got != 8 {
		t.Errorf("%d remain of 10, want 8", got)
	}
}

// TestAllInAnyOrder hammers the same limiters named in different orders. No lock
// is held over two of them, and no event is lost or charged twice.
func TestAllInAnyOrder(t *testing.T) {
	for name, newLimiter := range kinds {
		t.Run(name, func(t *testing.T) {
			const limit, workers, calls = 1000, 4, 2000
			fake := clock.NewFake()
			a, b := newLimiter(2*limit, time.Hour, fake), newLimiter(limit, time.Hour, fake)
			alls := []ratelimit.Limiter{ratelimit.All(a, b), ratelimit.All(b, a), ratelimit.All(a, ratelimit.All(b)), ratelimit.All(b, a)}
			var wg sync.WaitGroup
			var mu sync.Mutex
			admitted := 0
			start := make(chan struct{})
			for i := range workers {
				wg.Go(func() {
					<-start
					for k := range calls {
						n := 1 + k%3
						if alls[i].AllowN(n) {
							mu.Lock()
							admitted += n
							mu.Unlock()
						}
					}
				})
			}
			close(start)
			wg.Wait()
			for alls[0].Allow() {
				admitted++
			}
			if admitted != limit {
				t.Errorf("admitted %d, want %d", admitted, limit)
			}
			if got := [2]int{a.Peek(0).Remaining, b.Peek(0).Remaining}; got != [2]int{limit, 0} {
				t.Errorf("%v remain, want [%d 0]", got, limit)
			}
		})
	}
}

// TestAllWaitsInOrderOfArrival on the fake clock of its limiters.
func TestAllWaitsInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		perSecond, perMinute := bucket(2, time.Second, fake), bucket(6, time.Minute, fake)
		l := ratelimit.All(perSecond, perMinute)
		type leaving struct {
			Waiter int
			At     time.Duration
		}
		var mu sync.Mutex
		var left []leaving
		for i := range 10 {
			go func() {
				if err := l.Wait(t.Context()); err != nil {
					t.Errorf("waiter %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				left = append(left, leaving{i, fake.Now()})
			}()
			synctest.Wait()
		}
		if l.Allow() {
			t.Error("Allow overtakes")
		}
		if d := l.Take(0); !d.Allowed {
			t.Errorf("Take(0) = %+v", d)
		}
		if d := l.Take(7); d.RetryAfter != ratelimit.Never {
			t.Errorf("Take(7) = %+v", d)
		}
		if d := l.Peek(1); d.Allowed || d.RetryAfter < 1 || d.Remaining != 0 {
			t.Errorf("Peek(1) behind the line = %+v", d)
		}
		for range 200 {
			fake.Advance(250 * time.Millisecond)
			synctest.Wait()
		}
		const s = time.Second
		// Two at once, then two a second; and after six, one in ten seconds.
		want := []leaving{{0, 0}, {1, 0}, {2, s / 2}, {3, s}, {4, 3 * s / 2}, {5, 2 * s}, {6, 10 * s}, {7, 20 * s}, {8, 30 * s}, {9, 40 * s}}
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("waiters left: (-want +got)\n%s", diff)
		}
	})
}

// TestAllNobodyOvertakes has one wait for two where there is room for one.
func TestAllNobodyOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		a := bucket(2, time.Second, fake)
		l := ratelimit.All(a)
		l.Allow()
		ctx, cancel := context.WithCancel(t.Context())
		go l.WaitN(ctx, 2)
		synctest.Wait()
		if l.Allow() || l.Take(1).Allowed || l.Peek(1).Allowed {
			t.Error("one who comes later is admitted")
		}
		if d := l.Take(1); d.RetryAfter <= 0 || d.Remaining != 0 {
			t.Errorf("Take(1) behind the line = %+v", d)
		}
		cancel()
		if synctest.Wait(); !l.Allow() {
			t.Error("Allow is refused when nobody waits any more")
		}
	})
}

// TestAllCancelledWaits leaves neither a debt nor a gap.
func TestAllCancelledWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		a, b := bucket(1, time.Second, fake), bucket(100, time.Second, fake)
		l := ratelimit.All(a, b)
		l.Allow()
		before := [2]ratelimit.Decision{a.Peek(1), b.Peek(1)}
		var cancels []context.CancelFunc
		results := make([]error, 5)
		for i := range results {
			ctx, cancel := context.WithCancel(t.Context())
			cancels = append(cancels, cancel)
			go func() { results[i] = l.Wait(ctx) }()
			synctest.Wait()
		}
		for _, i := range []int{0, 2, 4} {
			cancels[i]()
			synctest.Wait()
			if !errors.Is(results[i], context.Canceled) {
				t.Errorf("cancelled waiter %d got %v", i, results[i])
			}
		}
		if diff := cmp.Diff(before, [2]ratelimit.Decision{a.Peek(1), b.Peek(1)}); diff != "" {
			t.Errorf("cancelled waits change the limiters: (-before +after)\n%s", diff)
		}
		for range 2 {
			fake.Advance(time.Second)
			synctest.Wait()
		}
		if results[1] != nil || results[3] != nil {
			t.Errorf("the others got %v and %v", results[1], results[3])
		}
		if a.Allow() {
			t.Error("the others took nothing")
		}
		for _, cancel := range cancels {
			cancel()
		}
	})
}

func TestAllWaitErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := clock.NewFake()
		a, b := bucket(5, time.Minute, fake), bucket(3, time.Minute, fake)
		l := ratelimit.All(a, b)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		for _, n := range []int{0, 1, 4, -1} {
			if err := l.WaitN(cancelled, n); err != context.Canceled {
				t.Errorf("WaitN(%d) of a cancelled context = %v", n, err)
			}
		}
		for _, n := range []int{4, 5, 6, math.MaxInt} {
			err := l.WaitN(t.Context(), n)
			if !errors.Is(err, ratelimit.ErrExceedsLimit) || !strings.Contains(err.Error(), fmt.Sprintf("n is %d, the lowest limit 3", n)) {
				t.Errorf("WaitN(%d) = %v", n, err)
			}
		}
		if err := l.WaitN(t.Context(), -1); !errors.Is(err, ratelimit.ErrExceedsLimit) || !strings.Contains(err.Error(), "n is -1") {
			t.Errorf("WaitN(-1) = %v", err)
		}
		if got := [2]int{a.Peek(0).Remaining, b.Peek(0).Remaining}; got != [2]int{5, 3} {
			t.Errorf("%v remain, want [5 3]", got)
		}
		l.AllowN(3)
		start := time.Now()
		for _, timeout := range []time.Duration{1, 20*time.Second - 1, 20 * time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			if err := l.Wait(ctx); !errors.Is(err, ratelimit.ErrWouldExceedDeadline) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("20s to wait and %v left: Wait = %v", timeout, err)
			}
			cancel()
		}
		if passed := time.Since(start); passed != 0 {
			t.Errorf("the deadlines were found out after %v, want at once", passed)
		}
		if got := a.Peek(0).Remaining; got != 2 {
			t.Errorf("%d remain, want 2", got)
		}
	})
}

// TestAllOfForeignLimiters waits on a system clock, because it does not know
// theirs.
func TestAllOfForeignLimiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &foreign{limit: 2, retry: time.Minute}
		own := bucket(10, time.Second, clock.NewFake())
		l := ratelimit.All(own, f)
		if !l.AllowN(2) || l.Allow() {
			t.Error("there is not room for exactly 2")
		}
		start := time.Now()
		time.AfterFunc(150*time.Second, func() { f.Refund(ratelimit.Decision{Allowed: true, N: 1}) })
		if err := l.Wait(t.Context()); err != nil {
			t.Errorf("Wait = %v", err)
		}
		// It asks again every minute, as it was told.
		if got, want := time.Since(start), 3*time.Minute; got != want {
			t.Errorf("Wait took %v, want %v", got, want)
		}
		if f.used != 2 || own.Peek(0).Remaining != 7 {
			t.Errorf("charged %d and %d, want 2 and 3", f.used, 10-own.Peek(0).Remaining)
		}
	})
}

// TestAllOnCoarseClock waits as long as on the clock behind it.
func TestAllOnCoarseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		coarse := clock.NewCoarse(time.Hour)
		defer coarse.Close()
		l := ratelimit.All(bucket(10, time.Second, coarse), bucket(1, time.Second, coarse))
		for i := range 5 {
			if err := l.Wait(t.Context()); err != nil {
				t.Errorf("Wait = %v", err)
			}
			if got, want := coarse.Refresh(), time.Duration(i)*time.Second; got != want {
				t.Errorf("wait %d is over at %v, want %v", i, got, want)
			}
		}
	})
}
