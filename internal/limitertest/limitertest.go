// Package limitertest tests limiters: [Run] is the conformance suite, one
// subtest per promise, and a [Comparison] compares a limiter with a [Model] of
// its algorithm that is too plain to be wrong.
//
// The suite moves a fake clock, and runs in a testing/synctest bubble where it
// waits, so nothing in it takes real time or depends on the scheduler. What it
// cannot see is a race that needs more than a few goroutines on one word to
// show; see module verify for that.
package limitertest

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
)

// Subject is the kind of limiter under test.
type Subject struct {
	// New makes a fresh limiter that admits limit events at once, and in the
	// long run as many per window. It makes a new one each time it is called.
	New func(c clock.Clock, limit int, window time.Duration) ratelimit.Limiter

	// Bound is the most events that may be admitted from one reading of the
	// clock to another, both included.
	Bound func(limit int, window, from, to time.Duration) int

	// Paces is whether Wait lets the first in line go only when all that went
	// in before has leaked out, and lets no more than the limit wait.
	Paces bool

	// Grows is whether memory grows with what is admitted.
	Grows bool

	// Joins is whether the limiter is made of several. Its decision is that of
	// one of them, so Limit, Remaining and ResetAfter are not of the whole.
	// Its limit is the lowest.
	Joins bool
}

// rules is the table of contents. The words are printed when a rule is broken.
var rules = []rule{
	{"FreshAdmitsTheLimit", "A fresh limiter admits its limit at one instant, in one go or one by one, and no more.", freshAdmitsTheLimit, always},

	{"ZeroIsAdmitted", "n == 0 is admitted and changes nothing.", zeroIsAdmitted, always},
	{"ZeroIsAdmittedWhileSomebodyWaits", "n == 0 is admitted and changes nothing, whoever waits.", zeroIsAdmittedWhileSomebodyWaits, always},
	{"ImpossibleIsNever", "n < 0 and n above the limit are refused with RetryAfter == Never.", impossibleIsNever, always},
	{"ImpossibleChangesNothing", "n < 0 and n above the limit change nothing.", impossibleChangesNothing, always},
	{"ImpossibleWaitFails", "For n < 0 and n above the limit WaitN returns at once an error that wraps ErrExceedsLimit and names n and the limit.", impossibleWaitFails, always},

	{"DecisionSaysWhatWasAsked", "A decision has the n that was asked for, the clock reading it was decided at, and the limit.", decisionSaysWhatWasAsked, always},
	{"RetryAfterIsZeroIfAllowed", "RetryAfter is 0 if the decision is Allowed, and positive if not.", retryAfterIsZeroIfAllowed, always},
	{"RetryAfterIsExact", "n is refused one nanosecond before RetryAfter is up, and admitted at that instant.", retryAfterIsExact, always},
	{"RemainingIsExact", "Remaining is how many more are admitted now, one by one or in one go.", remainingIsExact, single},
	{"ResetAfterIsExact", "After ResetAfter the limiter is as good as new, and one nanosecond before it is not.", resetAfterIsExact, single},

	{"RefusalChangesNothing", "A refusal leaves the state as it was.", refusalChangesNothing, always},
	{"PeekChangesNothing", "A Peek leaves the state as it was.", peekChangesNothing, always},
	{"PeekIsTheNextTake", "Peek answers what Take would.", peekIsTheNextTake, always},

	{"BoundHolds", "In any interval no more is admitted than the bound, however greedy the caller.", boundHolds, always},
	{"BoundHoldsInAnyOrder", "Readings of the clock may arrive in any order. The bound holds for all of them.", boundHoldsInAnyOrder, always},
	{"BoundHoldsAnywhere", "The bound holds for every reading of the clock, also negative ones and the last of all.", boundHoldsAnywhere, always},
	{"StaleReadingAdmitsNothing", "Where nothing is left, an earlier reading of the clock admits nothing.", staleReadingAdmitsNothing, always},
	{"IdleIsWorthOneLimit", "However long nobody came, the limit is admitted at once and no more.", idleIsWorthOneLimit, always},

	{"FreeWaitIsAdmitted", "A Wait that nothing stands in the way of is admitted at once.", freeWaitIsAdmitted, always},
	{"WaitTakesAsLongAsItMust", "The first in line is admitted as soon as that is possible, and not before.", waitTakesAsLongAsItMust, always},
	{"WaitWorksOnTheSystemClock", "Wait sleeps on the clock it was given, also on a system clock in a bubble.", waitWorksOnTheSystemClock, always},
	{"DoneContextFails", "A cancelled or expired context returns its error and consumes nothing, also when capacity is there.", doneContextFails, always},
	{"CancelledWaitChangesNothing", "A cancelled wait returns the context's error and leaves the state as it was.", cancelledWaitChangesNothing, always},
	{"DeadlineIsFoundOutAtOnce", "A wait that would exceed its deadline fails at once with ErrWouldExceedDeadline, which is a context.DeadlineExceeded, and changes nothing.", deadlineIsFoundOutAtOnce, always},
	{"DeadlineIsMetExactly", "A wait that ends before its deadline is not refused, whatever the limiter's clock reads.", deadlineIsMetExactly, always},
	{"DeadlineCountsThoseAhead", "The wait that is compared with the deadline counts those ahead in line.", deadlineCountsThoseAhead, always},

	{"FirstComeFirstServed", "Waiters are served in order of arrival, each as soon as it can be.", firstComeFirstServed, always},
	{"OnlyTheFirstSleeps", "Of those who wait only the first in line sleeps on the clock, so that a test can tell that all are in line.", onlyTheFirstSleeps, always},
	{"FewDoNotOvertakeMany", "Waiters are served in order of arrival: a small request does not overtake a large one.", fewDoNotOvertakeMany, always},
	{"NobodyOvertakesTheLine", "While somebody waits, Allow and Take refuse rather than overtake.", nobodyOvertakesTheLine, always},
	{"RetryAfterCountsTheLine", "While somebody waits, RetryAfter is never 0, and a lower bound that counts those in line too.", retryAfterCountsTheLine, always},
	{"GivingUpLeavesNoDebt", "Waiters that give up, in whatever order, leave the state as it was.", givingUpLeavesNoDebt, always},
	{"GivingUpLeavesNoGap", "When one in line gives up, the others are served as if it had never come.", givingUpLeavesNoGap, always},
	{"RefundWakesTheFirst", "Refund wakes the first in line.", refundWakesTheFirst, refunds},
	{"ResetWakesTheFirst", "Reset wakes the first in line.", resetWakesTheFirst, resets},
	{"LineHasRoomForTheLimit", "At most the limit waits in line; beyond that WaitN returns ErrQueueFull at once.", lineHasRoomForTheLimit, paces},

	{"RefundOfAllIsFresh", "Refunding every admission at one clock reading, in any order, leaves the fresh state.", refundOfAllIsFresh, refunds},
	{"RefundOfNothingIsNothing", "Refunding what was refused, or was for no events, changes nothing.", refundOfNothingIsNothing, refunds},
	{"RefundOfThePastIsNothing", "What was admitted in a window that has passed gives nothing to the next one.", refundOfThePastIsNothing, refunds},
	{"RefundKeepsTheBound", "A refund never lets more through than the bound allows.", refundKeepsTheBound, refunds},
	{"RefundNeverGoesBeyondFresh", "No refund makes a limiter better than new, or worse than it was, not even of a decision it never made.", refundNeverGoesBeyondFresh, refunds},
	{"ResetIsFresh", "Reset returns to the fresh state.", resetIsFresh, resets},

	{"NothingAllocates", "Nothing but a wait that really blocks allocates.", nothingAllocates, always},
	{"NoGoroutine", "No limiter starts a goroutine.", noGoroutine, always},

	{"ManyTakeTheLimit", "Methods are safe for concurrent use: under a clock that stands still exactly the limit is admitted.", manyTakeTheLimit, always},
	{"ManyTakeAndRefund", "Methods are safe for concurrent use: when all is refunded the limiter is as good as new.", manyTakeAndRefund, refunds},
	{"ManyWait", "Methods are safe for concurrent use: of those who wait each is admitted or gives up, and the bound holds.", manyWait, always},
}

// Run checks that a kind of limiter keeps every promise that all limiters make.
func Run(t *testing.T, s Subject) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if !r.appliesTo(s) {
				t.Skip("does not apply")
			}
			synctest.Test(t, func(t *testing.T) { r.run(t, s) })
		})
	}
}

// rule is one promise.
type rule struct {
	name      string
	words     string
	check     func(tb TB, s Subject)
	appliesTo func(s Subject) bool
}

// TB is what a check needs of a testing.TB. It must be in a bubble.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// run checks the rule. The failure of a check tells the rule, too.
func (r rule) run(tb TB, s Subject) {
	tb.Helper()
	file, line := runtime.FuncForPC(reflect.ValueOf(r.check).Pointer()).FileLine(reflect.ValueOf(r.check).Pointer())
	r.check(explained{tb, fmt.Sprintf("\n\tThe rule: %s\n\tIts check: %s:%d", r.words, file, line)}, s)
}

// explained is a TB that adds an explanation to what fails.
type explained struct {
	TB
	explanation string
}

func (e explained) Fatalf(format string, args ...any) {
	e.TB.Helper()
	e.TB.Fatalf("%s%s", fmt.Sprintf(format, args...), e.explanation)
}

// What a rule may ask of a limiter that it applies to.

func always(Subject) bool { return true }

func single(s Subject) bool { return !s.Joins }

func paces(s Subject) bool { return s.Paces }

func refunds(s Subject) bool {
	_, ok := s.New(clock.NewFake(), 1, time.Second).(ratelimit.Refunder)
	return ok
}

func resets(s Subject) bool {
	_, ok := s.New(clock.NewFake(), 1, time.Second).(ratelimit.Resetter)
	return ok
}
