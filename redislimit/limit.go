package redislimit

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/internal/span"
)

// The script counts in whole numbers that are exact in a float64, which is what
// a number is in Lua: below 2^53. Time is in microseconds since the Unix epoch,
// which are below 2^51 until 2041 and below 2^53 until 2255.
const (
	maxLimit   = 1 << 40
	maxSliding = 1 << 28 // so that take.lua's product is exact
	maxTime    = 1 << 53
)

// limit is one of the five algorithms: what the script needs to know, and what
// its answer means. All times are in microseconds.
type limit interface {
	// most is how many events are ever admitted at once.
	most() int

	// id tells this limit from any other of the same key.
	id() string

	// functions are what decides on the server.
	functions() functions

	// take appends the limit's arguments to the script that admits n events,
	// with others ahead of them; paced if a leaky bucket must have leaked out
	// before.
	take(args []any, n, ahead int, paced bool) []any

	// refund appends the limit's arguments to the script that undoes d.
	refund(args []any, d ratelimit.Decision) []any

	// answer fills in Remaining, RetryAfter and ResetAfter of a decision on
	// d.N events, of which Allowed is known, from the state before it.
	answer(d *ratelimit.Decision, s state, now int64, q question)
}

// state is what the script tells of a limit: whether it admits, and three numbers
// that are its own.
type state [4]int64

func (s *state) admits() bool { return s[0] == 1 }

func possible(n, limit int) bool { return 0 < n && n <= limit }

func duration(microseconds int64) time.Duration {
	return time.Duration(microseconds) * time.Microsecond
}

// wait is the time from now until then, of which the script keeps only what is
// below 2^53.
func wait(now, then int64) time.Duration {
	if then >= 1<<53 {
		return ratelimit.Never
	}
	return duration(max(then-now, 0))
}

// retry is wait for what has been refused.
func retry(now, then int64) time.Duration { return max(wait(now, then), time.Microsecond) }

// check returns an error that names the field, its value and the range, unless
// the script can count limit events per window.
func check(limit int, window time.Duration, most int64) error {
	if err := span.Check(limit, window); err != nil {
		return err
	}
	if err := whole("Window", window); err != nil {
		return err
	}
	if int64(limit) > most {
		return fmt.Errorf("%s %d is out of range [1, %d]", "Limit", limit, most)
	}
	return nil
}

// whole returns an error unless d is a number of microseconds.
func whole(field string, d time.Duration) error {
	if d%time.Microsecond != 0 {
		return fmt.Errorf("%s %v is out of range: the server counts in whole microseconds, and this is not a number of them", field, d)
	}
	return nil
}

// digits is how many digits a number up to most has.
func digits(most int64) int { return len(strconv.FormatInt(most, 10)) }

// at is the server's time of a decision.
func at(d ratelimit.Decision) int64 {
	return min(max(d.At.Microseconds(), 0), maxTime)
}

// ends is when a decision's ResetAfter is up, if that is a time.
func ends(d ratelimit.Decision) (microseconds int64, ok bool) {
	if d.ResetAfter <= 0 || d.ResetAfter > math.MaxInt64-max(d.At, 0) {
		return 0, false
	}
	return min((d.At + d.ResetAfter).Microseconds(), maxTime), true
}
