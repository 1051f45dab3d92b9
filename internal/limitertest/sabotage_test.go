package limitertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/leakybucket"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

// sabotages are limiters that break a rule, many of them in a way in which
// limiters have been broken.
var sabotages = []struct {
	rule, how string
	limiter   factory
}{
	{"FreshAdmitsTheLimit", "admits one more", altered(func(a *alteration) { a.holds(a.limit + 1) })},
	{"FreshAdmitsTheLimit", "is not full at first", altered(func(a *alteration) { a.good.Take(1) })},
	{"FreshAdmitsTheLimit", "takes a reading of 0 to mean that nothing was ever admitted", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			if a.clock.Now() == 0 {
				a.good.Reset()
			}
			return a.good.Take(n)
		}
	})},

	{"ZeroIsAdmitted", "refuses 0 when full", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			d.Allowed = n > 0 && d.Allowed || d.Remaining > 0
			return d
		}
	})},
	{"ZeroIsAdmitted", "takes 0 for 1", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(max(n, 1))
			d.N, d.Allowed, d.RetryAfter = n, true, 0
			return d
		}
	})},
	{"ZeroIsAdmitted", "waits for 0 as for 1", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error { return a.good.WaitN(ctx, max(n, 1)) }
	})},
	{"ZeroIsAdmittedWhileSomebodyWaits", "refuses 0 while somebody waits", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			d.Allowed = d.Allowed && a.waiting.Load() == 0
			return d
		}
	})},

	{"ImpossibleIsNever", "admits what is negative", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			if n < 0 {
				d.Allowed, d.RetryAfter = true, 0
			}
			return d
		}
	})},
	{"ImpossibleIsNever", "keeps n in fewer bits", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(int(int16(n)))
			d.N = n
			return d
		}
	})},
	{"ImpossibleIsNever", "says when to retry what is above the limit", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			if n > a.limit {
				d.RetryAfter = a.window
			}
			return d
		}
	})},
	{"ImpossibleChangesNothing", "gives back what is negative", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			if n < 0 {
				a.good.Refund(ratelimit.Decision{Allowed: true, N: 1, At: a.clock.Now()})
			}
			return a.good.Take(n)
		}
	})},
	{"ImpossibleChangesNothing", "takes all there is when asked for more", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			if n > a.limit {
				a.good.Take(a.good.Peek(0).Remaining)
			}
			return a.good.Take(n)
		}
	})},
	{"ImpossibleWaitFails", "waits for what is above the limit", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if n > a.limit {
				<-ctx.Done()
				return ctx.Err()
			}
			return a.good.WaitN(ctx, n)
		}
	})},
	{"ImpossibleWaitFails", "has an error of its own", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			return errors.New(a.good.WaitN(ctx, n).Error())
		}
	})},
	{"ImpossibleWaitFails", "does not name n and the limit", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error { return ratelimit.ErrExceedsLimit }
	})},

	{"DecisionSaysWhatWasAsked", "has another N", decides(func(_ *alteration, d *ratelimit.Decision) { d.N = max(d.N, 0) })},
	{"DecisionSaysWhatWasAsked", "has no At", decides(func(_ *alteration, d *ratelimit.Decision) { d.At = 0 })},
	{"DecisionSaysWhatWasAsked", "has what is left for a Limit", decides(func(_ *alteration, d *ratelimit.Decision) { d.Limit = d.Remaining })},
	{"RetryAfterIsZeroIfAllowed", "says when to retry what it allows", decides(func(_ *alteration, d *ratelimit.Decision) {
		if d.Allowed {
			d.RetryAfter = 1
		}
	})},
	{"RetryAfterIsZeroIfAllowed", "does not say when to retry", decides(func(_ *alteration, d *ratelimit.Decision) { d.RetryAfter = 0 })},
	{"RetryAfterIsExact", "tells 1ns less", decides(func(_ *alteration, d *ratelimit.Decision) { d.RetryAfter-- })},
	{"RetryAfterIsExact", "tells 1ns more", decides(func(_ *alteration, d *ratelimit.Decision) { d.RetryAfter++ })},
	{"RetryAfterIsExact", "tells whole microseconds", decides(func(_ *alteration, d *ratelimit.Decision) {
		d.RetryAfter = d.RetryAfter.Truncate(time.Microsecond)
	})},
	{"RetryAfterIsExact", "tells the end of the window", decides(func(a *alteration, d *ratelimit.Decision) { d.RetryAfter = a.window })},
	{"RetryAfterIsExact", "Peek tells it, and Take comes too late", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			if d := a.good.Peek(n); d.Allowed && d.Remaining == 0 && n < a.limit {
				d.Allowed = false
				return d
			}
			return a.good.Take(n)
		}
	})},
	{"RemainingIsExact", "tells one more", decides(func(_ *alteration, d *ratelimit.Decision) { d.Remaining++ })},
	{"RemainingIsExact", "tells what remained before", decides(func(_ *alteration, d *ratelimit.Decision) {
		if d.Allowed {
			d.Remaining += d.N
		}
	})},
	{"ResetAfterIsExact", "tells 1ns less", decides(func(_ *alteration, d *ratelimit.Decision) { d.ResetAfter-- })},
	{"ResetAfterIsExact", "tells 1ns more", decides(func(_ *alteration, d *ratelimit.Decision) { d.ResetAfter++ })},
	{"ResetAfterIsExact", "tells when one more is admitted", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			d.ResetAfter = a.good.Peek(1).RetryAfter
			return d
		}
	})},

	{"RefusalChangesNothing", "takes what there is and refuses", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			if !d.Allowed {
				a.good.Take(d.Remaining)
			}
			return d
		}
	})},
	{"RefusalChangesNothing", "counts what it refuses", modelled(func(m *modelLimiter) {
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			d := m.model.Take(now, n)
			if !d.Allowed && n > 0 {
				m.model.(*bucket).force(now, 1)
			}
			return d
		}
	})},
	{"PeekChangesNothing", "takes", altered(func(a *alteration) { a.peek = a.good.Take })},
	{"PeekIsTheNextTake", "tells what remains before", altered(func(a *alteration) {
		a.peek = func(n int) ratelimit.Decision {
			d := a.good.Peek(n)
			d.Remaining = a.good.Peek(0).Remaining
			return d
		}
	})},

	{"BoundHolds", "is early by 2ns", modelled(func(m *modelLimiter) {
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			if d := m.model.Take(now, n); d.Allowed {
				return d
			}
			d := m.model.Take(now+2, n)
			d.At = now
			return d
		}
	})},
	{"BoundHolds", "has a rate of whole nanoseconds", altered(func(a *alteration) {
		a.good = tokenbucket.MustNew(tokenbucket.Config{Limit: 1, Window: a.window / time.Duration(a.limit), Burst: a.limit, Clock: a.clock})
	})},
	{"BoundHoldsInAnyOrder", "takes any difference of readings for time that has passed", modelled(backwardsIsForwards)},
	{"BoundHoldsInAnyOrder", "begins anew when time goes back", modelled(func(m *modelLimiter) {
		var last time.Duration
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			if now < last {
				m.model.Reset()
			}
			last = now
			return m.model.Take(now, n)
		}
	})},
	{"BoundHoldsAnywhere", "takes a negative reading for a large one", modelled(func(m *modelLimiter) {
		m.now = func() time.Duration {
			if now := m.clock.Now(); now >= 0 {
				return now
			}
			return lastNow
		}
	})},
	{"BoundHoldsAnywhere", "begins anew when a sum overflows", modelled(func(m *modelLimiter) {
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			if now+year < now {
				m.model.Reset()
			}
			return m.model.Take(now, n)
		}
	})},
	{"StaleReadingAdmitsNothing", "takes any difference of readings for time that has passed", modelled(backwardsIsForwards)},
	{"IdleIsWorthOneLimit", "keeps more than the limit", altered(keepsTwice)},

	{"FreeWaitIsAdmitted", "sleeps first", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if err := a.clock.Sleep(ctx, 1); err != nil {
				return err
			}
			return a.good.WaitN(ctx, n)
		}
	})},
	{"FreeWaitIsAdmitted", "takes for those who wait twice", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			a.good.Take(n)
			return a.good.WaitN(ctx, n)
		}
	})},
	{"WaitTakesAsLongAsItMust", "sleeps 1ns more", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if err := a.good.WaitN(ctx, n); err != nil {
				return err
			}
			return a.clock.Sleep(ctx, 1)
		}
	})},
	{"WaitTakesAsLongAsItMust", "does not wait", altered(func(a *alteration) {
		a.wait = func(context.Context, int) error { return nil }
	})},
	{"WaitWorksOnTheSystemClock", "reads a clock that began with the program", altered(func(a *alteration) {
		a.good = tokenbucket.MustNew(tokenbucket.Config{Limit: a.limit, Window: a.window, Clock: programClock})
	})},
	{"WaitWorksOnTheSystemClock", "sleeps for whole seconds", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			for !a.good.AllowN(n) {
				if err := a.clock.Sleep(ctx, a.good.Peek(n).RetryAfter.Round(time.Second)+time.Second); err != nil {
					return err
				}
			}
			return nil
		}
	})},

	{"DoneContextFails", "looks at the context last", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if a.good.AllowN(n) {
				return nil
			}
			return a.good.WaitN(ctx, n)
		}
	})},
	{"DoneContextFails", "takes and then looks at the context", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if a.good.AllowN(n) {
				return ctx.Err()
			}
			return a.good.WaitN(ctx, n)
		}
	})},
	{"DoneContextFails", "has an error of its own", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if err := a.good.WaitN(ctx, n); err != nil {
				return fmt.Errorf("waiting: %v", err)
			}
			return nil
		}
	})},
	{"CancelledWaitChangesNothing", "keeps what it has reserved", modelled(nil)},
	{"CancelledWaitChangesNothing", "has an error of its own", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if err := a.good.WaitN(ctx, n); err != nil {
				return fmt.Errorf("waiting: %v", err)
			}
			return nil
		}
	})},
	{"DeadlineIsFoundOutAtOnce", "waits until the deadline", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error { return a.good.WaitN(deadline{ctx, nil}, n) }
	})},
	{"DeadlineIsFoundOutAtOnce", "takes before it looks at the deadline", modelled(func(m *modelLimiter) {
		m.wait = func(ctx context.Context, n int) error {
			m.model.(*bucket).force(m.now(), n)
			return ratelimit.ErrWouldExceedDeadline
		}
	})},
	{"DeadlineIsFoundOutAtOnce", "says only that the deadline is exceeded", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			if err := a.good.WaitN(ctx, n); errors.Is(err, context.DeadlineExceeded) {
				return context.DeadlineExceeded
			}
			return nil
		}
	})},
	{"DeadlineIsMetExactly", "compares the deadline with the wrong clock", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			return a.good.WaitN(deadline{ctx, func(d time.Time) time.Time { return d.Add(-a.clock.Now()) }}, n)
		}
	})},
	{"DeadlineIsMetExactly", "leaves a margin", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			return a.good.WaitN(deadline{ctx, func(d time.Time) time.Time { return d.Add(-1) }}, n)
		}
	})},
	{"DeadlineCountsThoseAhead", "finds out when it is first in line", altered(func(a *alteration) {
		a.wait = oneByOne(a, func(err error) { <-a.turn })
	})},

	{"FirstComeFirstServed", "lets everybody try again", altered(tryAgain)},
	{"OnlyTheFirstSleeps", "lets everybody try again", altered(tryAgain)},
	{"OnlyTheFirstSleeps", "sleeps on a clock of its own", altered(func(a *alteration) {
		sleep := clock.System().Sleep
		a.wait = func(ctx context.Context, n int) error {
			for !a.good.AllowN(n) {
				if err := sleep(ctx, time.Second); err != nil {
					return err
				}
			}
			return nil
		}
	})},
	{"FewDoNotOvertakeMany", "lets everybody try again", altered(tryAgain)},
	{"NobodyOvertakesTheLine", "lets everybody try again", altered(tryAgain)},
	{"RetryAfterCountsTheLine", "tells 0 while somebody waits", whileWaiting(func(d *ratelimit.Decision) { d.RetryAfter = 0 })},
	{"RetryAfterCountsTheLine", "tells 1ns while somebody waits", whileWaiting(func(d *ratelimit.Decision) { d.RetryAfter = 1 })},
	{"RetryAfterCountsTheLine", "tells Never while somebody waits", whileWaiting(func(d *ratelimit.Decision) { d.RetryAfter = ratelimit.Never })},
	{"RetryAfterCountsTheLine", "tells more than it takes", whileWaiting(func(d *ratelimit.Decision) { d.RetryAfter += 10 * d.ResetAfter })},
	{"GivingUpLeavesNoDebt", "keeps what it has reserved", modelled(nil)},
	{"GivingUpLeavesNoGap", "does not tell the next when the first gives up", altered(func(a *alteration) {
		a.wait = oneByOne(a, func(err error) {
			if err == nil {
				<-a.turn
			}
		})
	})},
	{"RefundWakesTheFirst", "lets those who wait sleep on", altered(tryAgain)},
	{"ResetWakesTheFirst", "lets those who wait sleep on", altered(tryAgain)},
	{"LineHasRoomForTheLimit", "has room for any number", altered(func(a *alteration) {
		a.wait = oneByOne(a, func(error) { <-a.turn })
	})},
	{"LineHasRoomForTheLimit", "has no room for one", func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		l := leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
		a := &alteration{good: l}
		a.wait = func(ctx context.Context, n int) error {
			if a.waiting.Load() == int64(limit) {
				return ratelimit.ErrQueueFull
			}
			return l.WaitN(ctx, n)
		}
		return a
	}},

	{"RefundOfAllIsFresh", "gives nothing back", altered(func(a *alteration) { a.refund = func(ratelimit.Decision) {} })},
	{"RefundOfAllIsFresh", "gives one back", altered(func(a *alteration) {
		a.refund = func(d ratelimit.Decision) {
			d.N = min(d.N, 1)
			a.good.Refund(d)
		}
	})},
	{"RefundOfNothingIsNothing", "does not ask whether it was allowed", altered(func(a *alteration) {
		a.refund = func(d ratelimit.Decision) {
			d.Allowed = true
			a.good.Refund(d)
		}
	})},
	{"RefundOfNothingIsNothing", "gives back 1 for 0", altered(func(a *alteration) {
		a.refund = func(d ratelimit.Decision) {
			d.N = max(d.N, 1)
			a.good.Refund(d)
		}
	})},
	{"RefundOfThePastIsNothing", "gives back whatever has passed", altered(refundsLate)},
	{"RefundKeepsTheBound", "gives back whatever has passed", altered(refundsLate)},
	{"RefundKeepsTheBound", "gives back twice", altered(func(a *alteration) {
		a.refund = func(d ratelimit.Decision) {
			a.good.Refund(d)
			a.good.Refund(d)
		}
	})},
	{"RefundNeverGoesBeyondFresh", "gives back without end", altered(keepsTwice)},
	{"RefundNeverGoesBeyondFresh", "takes a refund of more than is gone for a debt", altered(func(a *alteration) {
		a.refund = func(d ratelimit.Decision) {
			if a.good.Peek(0).Remaining+d.N > a.limit {
				a.good.Take(a.good.Peek(0).Remaining)
				return
			}
			a.good.Refund(d)
		}
	})},
	{"ResetIsFresh", "does nothing", altered(func(a *alteration) { a.reset = func() {} })},
	{"ResetIsFresh", "is not full afterwards", altered(func(a *alteration) {
		a.reset = func() {
			a.good.Reset()
			a.good.Take(1)
		}
	})},

	{"NothingAllocates", "Take does", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			garbage.Store(new(int))
			return a.good.Take(n)
		}
	})},
	{"NothingAllocates", "a refusal does", altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			if !d.Allowed {
				garbage.Store(new(int))
			}
			return d
		}
	})},
	{"NothingAllocates", "a wait that does not block does", altered(func(a *alteration) {
		a.wait = func(ctx context.Context, n int) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return a.good.WaitN(ctx, n)
		}
	})},
	{"NoGoroutine", "has one to fill the bucket", altered(func(a *alteration) { go time.Sleep(time.Hour) })},

	{"ManyTakeTheLimit", "stores where it should compare and swap", func(_ clock.Clock, limit int, _ time.Duration) ratelimit.Limiter {
		return &racy{limit: int64(limit)}
	}},
	{"ManyTakeAndRefund", "stores where it should compare and swap", func(_ clock.Clock, limit int, _ time.Duration) ratelimit.Limiter {
		return &racy{limit: int64(limit)}
	}},
	{"ManyWait", "does not wait", altered(func(a *alteration) {
		a.wait = func(context.Context, int) error { return nil }
	})},
}

type factory = func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter

func TestEveryRuleCatchesSabotage(t *testing.T) {
	caught := map[string]bool{}
	for _, sabotage := range sabotages {
		t.Run(sabotage.rule+"/"+strings.ReplaceAll(sabotage.how, " ", "-"), func(t *testing.T) {
			r := ruleNamed(t, sabotage.rule)
			s := subject(sabotage.limiter)
			s.Paces = r.name == "LineHasRoomForTheLimit"
			failure := ""
			for range 10 { // for a race may not show at once
				if failure = failureOf(t, r, s); failure != "" {
					break
				}
			}
			if failure == "" {
				t.Fatalf("a limiter that %s passes. The rule: %s", sabotage.how, r.words)
			}
			if !strings.Contains(failure, r.words) {
				t.Errorf("the failure does not tell the rule: %s", failure)
			}
			t.Log(failure)
		})
		caught[sabotage.rule] = true
	}
	for _, r := range rules {
		if !caught[r.name] {
			t.Errorf("%s: there is no limiter that breaks this rule", r.name)
		}
	}
}

// windowSabotages are limiters that break a rule as only windows and logs can.
var windowSabotages = []struct {
	rule, how string
	limiter   factory
	bound     func(limit int, window, from, to time.Duration) int
}{
	{"BoundHoldsInAnyOrder", "begins anew at whatever window a reading is in", fixedWindows(func(w *fixedWindow, m *modelLimiter) {
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			if index := w.index(now); index != w.latest {
				w.latest, w.used = index, map[int64]int{}
			}
			return w.Take(now, n)
		}
	}), alignedBound},
	{"BoundHolds", "has windows of another phase", fixedWindows(func(w *fixedWindow, m *modelLimiter) { w.phase++ }), alignedBound},
	{"RefundOfThePastIsNothing", "gives back to this window what was taken from another", fixedWindows(func(w *fixedWindow, m *modelLimiter) {
		m.refund = func(_ time.Duration, d ratelimit.Decision) { w.used[w.latest] = max(0, w.used[w.latest]-d.N) }
	}), alignedBound},
	{"BoundHolds", "forgets 1ns early", logs(func(l *slidingLog, m *modelLimiter) { l.window-- }), TrailingBound},
	{"BoundHoldsInAnyOrder", "logs an admission at a reading before the latest", logs(func(l *slidingLog, m *modelLimiter) {
		m.take = func(now time.Duration, n int) ratelimit.Decision {
			l.latest = 0
			return l.Take(now, n)
		}
	}), TrailingBound},
}

func TestRulesCatchSabotagedWindows(t *testing.T) {
	for _, sabotage := range windowSabotages {
		t.Run(sabotage.rule+"/"+strings.ReplaceAll(sabotage.how, " ", "-"), func(t *testing.T) {
			s := Subject{New: sabotage.limiter, Bound: sabotage.bound}
			failure := failureOf(t, ruleNamed(t, sabotage.rule), s)
			if failure == "" {
				t.Fatalf("a limiter that %s passes", sabotage.how)
			}
			t.Log(failure)
		})
	}
}

func alignedBound(limit int, window, from, to time.Duration) int {
	return AlignedBound(limit, window, 0, from, to)
}

func fixedWindows(alter func(w *fixedWindow, m *modelLimiter)) factory {
	return func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		w := NewFixedWindow(limit, window, 0, c.Epoch())
		return newModelLimiter(c, w, func(m *modelLimiter) { alter(w.(*fixedWindow), m) })
	}
}

func logs(alter func(l *slidingLog, m *modelLimiter)) factory {
	return func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		l := NewSlidingLog(limit, window)
		return newModelLimiter(c, l, func(m *modelLimiter) { alter(l.(*slidingLog), m) })
	}
}

// What is altered in nothing must keep every rule, so that it is the sabotage
// that breaks it.
func TestRulesPassWithoutSabotage(t *testing.T) {
	for _, r := range rules {
		if failure := failureOf(t, r, subject(altered(func(*alteration) {}))); failure != "" && r.name != "LineHasRoomForTheLimit" {
			t.Errorf("%s: %s", r.name, failure)
		}
	}
	paced := subject(func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		return leakybucket.MustNew(leakybucket.Config{Limit: limit, Window: window, Clock: c})
	})
	paced.Paces = true
	if failure := failureOf(t, ruleNamed(t, "LineHasRoomForTheLimit"), paced); failure != "" {
		t.Error(failure)
	}
	models := []Subject{
		subject(modelled(nil)),
		{New: fixedWindows(func(*fixedWindow, *modelLimiter) {}), Bound: alignedBound},
		{New: logs(func(*slidingLog, *modelLimiter) {}), Bound: TrailingBound},
	}
	for _, s := range models {
		for _, name := range []string{
			"FreshAdmitsTheLimit", "RetryAfterIsExact", "RemainingIsExact", "ResetAfterIsExact",
			"RefusalChangesNothing", "PeekIsTheNextTake",
			"BoundHolds", "BoundHoldsInAnyOrder", "BoundHoldsAnywhere", "StaleReadingAdmitsNothing", "IdleIsWorthOneLimit",
			"RefundOfAllIsFresh", "RefundOfThePastIsNothing", "RefundKeepsTheBound", "ResetIsFresh",
		} {
			if failure := failureOf(t, ruleNamed(t, name), s); failure != "" {
				t.Errorf("%s: %s", name, failure)
			}
		}
	}
}

// A comparison must notice what the rules cannot: a limiter that keeps them all
// and is not what it is called.
func TestComparisonCatchesSabotage(t *testing.T) {
	for _, sabotage := range []struct {
		how    string
		model  func(limit int, window time.Duration, epoch time.Time) Model
		broken func(m *modelLimiter)
	}{
		{"a bucket that is early by 2ns", newBucketModel, func(m *modelLimiter) {
			m.model.(*bucket).before = product(integer(2), m.model.(*bucket).limit)
		}},
		{"a bucket that is late by 2ns", newBucketModel, func(m *modelLimiter) {
			m.model.(*bucket).before = product(integer(-2), m.model.(*bucket).limit)
		}},
		{"a bucket that gives back all", newBucketModel, func(m *modelLimiter) {
			m.refund = func(now time.Duration, d ratelimit.Decision) {
				d.At = now
				m.model.Refund(now, d)
			}
		}},
		{"a fixed window of another phase", newFixedModel, func(m *modelLimiter) { m.model.(*fixedWindow).phase++ }},
		{"a sliding window of another phase", newSlidingModel, func(m *modelLimiter) { m.model.(*slidingWindow).phase++ }},
		{"a sliding window that counts one less", newSlidingModel, func(m *modelLimiter) { m.model.(*slidingWindow).limit-- }},
		{"a sliding log that forgets 1ns early", newLogModel, func(m *modelLimiter) { m.model.(*slidingLog).window-- }},
	} {
		t.Run(strings.ReplaceAll(sabotage.how, " ", "-"), func(t *testing.T) {
			compare := func(broken func(m *modelLimiter)) Comparison {
				return Comparison{
					New: func(c clock.Clock, limit int, window time.Duration, _ int64) (Refundable, Model, error) {
						if window < 1 || window > 10*year || limit < 1 || int64(limit) > int64(window) {
							return nil, nil, errors.New("out of range")
						}
						l := newModelLimiter(c, sabotage.model(limit, window, c.Epoch()), broken)
						return l, sabotage.model(limit, window, c.Epoch()), nil
					},
				}
			}
			failure := func(c Comparison) string {
				var rec recorder
				done := make(chan struct{})
				go func() { // which a failure ends
					defer close(done)
					c.run(&rec, 500)
				}()
				<-done
				return rec.failure
			}
			if failure := failure(compare(nil)); failure != "" {
				t.Fatalf("the model itself fails: %s", failure)
			}
			if failure := failure(compare(sabotage.broken)); failure == "" {
				t.Fatalf("%s passes", sabotage.how)
			}
		})
	}
}

func newBucketModel(limit int, window time.Duration, _ time.Time) Model {
	return NewTokenBucket(limit, window, 0)
}

func newFixedModel(limit int, window time.Duration, epoch time.Time) Model {
	return NewFixedWindow(limit, window, 0, epoch)
}

func newSlidingModel(limit int, window time.Duration, epoch time.Time) Model {
	return NewSlidingWindow(limit, window, epoch)
}

func newLogModel(limit int, window time.Duration, _ time.Time) Model {
	return NewSlidingLog(limit, window)
}

func subject(f factory) Subject { return Subject{New: f, Bound: BucketBound} }

func ruleNamed(t *testing.T, name string) rule {
	t.Helper()
	for _, r := range rules {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("there is no rule %s", name)
	return rule{}
}

// failureOf checks a rule and returns how it failed, or "".
func failureOf(t *testing.T, r rule, s Subject) string {
	var rec recorder
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		go func() { // which a failure ends
			defer close(done)
			r.run(&rec, s)
		}()
		<-done
		time.Sleep(2 * time.Hour) // until what was started has ended
	})
	return rec.failure
}

// recorder is a TB that writes down the failure.
type recorder struct{ failure string }

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// alteration is a good limiter of which some verbs have been replaced.
type alteration struct {
	good Refundable

	take   func(n int) ratelimit.Decision // also for Allow
	peek   func(n int) ratelimit.Decision
	wait   func(ctx context.Context, n int) error
	refund func(d ratelimit.Decision)
	reset  func()

	clock   clock.Clock
	limit   int
	window  time.Duration
	waiting atomic.Int64  // those in WaitN
	turn    chan struct{} // holds one if it is somebody's turn
}

// altered makes token buckets that have been altered.
func altered(alter func(a *alteration)) factory {
	return func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		a := &alteration{clock: c, limit: limit, window: window, turn: make(chan struct{}, 1)}
		a.holds(limit)
		alter(a)
		return a
	}
}

// holds makes the good limiter one that holds so many.
func (a *alteration) holds(burst int) {
	a.good = tokenbucket.MustNew(tokenbucket.Config{Limit: a.limit, Window: a.window, Burst: burst, Clock: a.clock})
}

func (a *alteration) Allow() bool { return a.AllowN(1) }

func (a *alteration) AllowN(n int) bool { return a.Take(n).Allowed }

func (a *alteration) Take(n int) ratelimit.Decision {
	if a.take != nil {
		return a.take(n)
	}
	return a.good.Take(n)
}

func (a *alteration) Peek(n int) ratelimit.Decision {
	if a.peek != nil {
		return a.peek(n)
	}
	return a.good.Peek(n)
}

func (a *alteration) Wait(ctx context.Context) error { return a.WaitN(ctx, 1) }

func (a *alteration) WaitN(ctx context.Context, n int) error {
	a.waiting.Add(1)
	defer a.waiting.Add(-1)
	if a.wait != nil {
		return a.wait(ctx, n)
	}
	return a.good.WaitN(ctx, n)
}

func (a *alteration) Refund(d ratelimit.Decision) {
	if a.refund != nil {
		a.refund(d)
		return
	}
	a.good.Refund(d)
}

func (a *alteration) Reset() {
	if a.reset != nil {
		a.reset()
		return
	}
	a.good.Reset()
}

// decides makes limiters that put their decisions otherwise.
func decides(alter func(a *alteration, d *ratelimit.Decision)) factory {
	return altered(func(a *alteration) {
		a.take = func(n int) ratelimit.Decision {
			d := a.good.Take(n)
			alter(a, &d)
			return d
		}
		a.peek = func(n int) ratelimit.Decision {
			d := a.good.Peek(n)
			alter(a, &d)
			return d
		}
	})
}

// whileWaiting makes limiters that put their decisions otherwise while somebody
// waits.
func whileWaiting(alter func(d *ratelimit.Decision)) factory {
	return decides(func(a *alteration, d *ratelimit.Decision) {
		if a.waiting.Load() > 0 && d.N > 0 && d.RetryAfter != ratelimit.Never {
			alter(d)
		}
	})
}

// keepsTwice lets a limiter keep twice what it admits at first.
func keepsTwice(a *alteration) {
	a.holds(2 * a.limit)
	a.good.Take(a.limit)
}

// refundsLate gives back what was taken as if it had been taken now.
func refundsLate(a *alteration) {
	a.refund = func(d ratelimit.Decision) {
		d.At = a.clock.Now()
		a.good.Refund(d)
	}
}

// tryAgain has those who wait sleep until they may be admitted, each for itself.
func tryAgain(a *alteration) {
	a.wait = func(ctx context.Context, n int) error {
		for {
			d := a.good.Take(n)
			if d.Allowed {
				return nil
			}
			if err := a.clock.Sleep(ctx, d.RetryAfter); err != nil {
				return err
			}
		}
	}
}

// oneByOne is a WaitN that lets one wait at a time; release ends its turn.
func oneByOne(a *alteration, release func(err error)) func(ctx context.Context, n int) error {
	return func(ctx context.Context, n int) error {
		select {
		case a.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		err := a.good.WaitN(ctx, n)
		release(err)
		return err
	}
}

// deadline is a context that tells another deadline, or none.
type deadline struct {
	context.Context
	tell func(time.Time) time.Time
}

func (d deadline) Deadline() (time.Time, bool) {
	t, ok := d.Context.Deadline()
	if !ok || d.tell == nil {
		return time.Time{}, false
	}
	return d.tell(t), true
}

// programClock is read outside of any bubble.
var programClock = clock.System()

var garbage atomic.Pointer[int]

// modelLimiter is a limiter that is a model. A bucket reserves what is waited
// for, and does not take that back.
type modelLimiter struct {
	mu    sync.Mutex
	clock clock.Clock
	model Model

	now  func() time.Duration
	take func(now time.Duration, n int) ratelimit.Decision
	wait func(ctx context.Context, n int) error

	refund func(now time.Duration, d ratelimit.Decision)
}

func newModelLimiter(c clock.Clock, model Model, alter func(m *modelLimiter)) *modelLimiter {
	m := &modelLimiter{clock: c, model: model, now: c.Now, take: model.Take, refund: model.Refund}
	m.wait = m.reserve
	if alter != nil {
		alter(m)
	}
	return m
}

// modelled makes token buckets that are models, and have been altered.
func modelled(alter func(m *modelLimiter)) factory {
	return func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter {
		return newModelLimiter(c, NewTokenBucket(limit, window, 0), alter)
	}
}

func (m *modelLimiter) Allow() bool { return m.AllowN(1) }

func (m *modelLimiter) AllowN(n int) bool { return m.Take(n).Allowed }

func (m *modelLimiter) Take(n int) ratelimit.Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.take(m.now(), n)
}

func (m *modelLimiter) Peek(n int) ratelimit.Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.model.Peek(m.now(), n)
}

func (m *modelLimiter) Wait(ctx context.Context) error { return m.WaitN(ctx, 1) }

func (m *modelLimiter) WaitN(ctx context.Context, n int) error { return m.wait(ctx, n) }

func (m *modelLimiter) reserve(ctx context.Context, n int) error {
	m.mu.Lock()
	d := m.model.Peek(m.now(), n)
	m.model.(*bucket).force(m.now(), n)
	m.mu.Unlock()
	return m.clock.Sleep(ctx, d.RetryAfter)
}

func (m *modelLimiter) Refund(d ratelimit.Decision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refund(m.now(), d)
}

func (m *modelLimiter) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.model.Reset()
}

// backwardsIsForwards lets time pass also when it goes back.
func backwardsIsForwards(m *modelLimiter) {
	var last, passed time.Duration
	m.now = func() time.Duration {
		now := m.clock.Now()
		passed += max(now-last, last-now)
		last = now
		return passed
	}
}

// racy admits a limit in all, and loses what others do at the same time.
type racy struct {
	Refundable
	limit int64
	used  atomic.Int64
}

func (r *racy) AllowN(n int) bool { return r.Take(n).Allowed }

func (r *racy) Take(n int) ratelimit.Decision {
	used := r.used.Load()
	d := r.Peek(n)
	if d.Allowed {
		runtime.Gosched()
		r.used.Store(used + int64(n))
		runtime.Gosched()
	}
	return d
}

func (r *racy) Peek(n int) ratelimit.Decision {
	used := r.used.Load()
	return ratelimit.Decision{Allowed: used+int64(n) <= r.limit, N: n, Remaining: int(r.limit - used)}
}

func (r *racy) Refund(d ratelimit.Decision) { r.used.Add(-int64(d.N)) }
