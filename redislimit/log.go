package redislimit

import (
	"fmt"
	"time"

	"github.com/ratekeep/ratelimit"
)

// log is the sliding log. The script tells of it how many events count, when
// the newest of them were admitted, and when those asked for fit.
type log struct {
	name  string
	limit int64
	width int64
}

func newLog(limit int, window time.Duration) *log {
	return &log{name: fmt.Sprintf("l%d/%v", limit, window), limit: int64(limit), width: window.Microseconds()}
}

func (l *log) most() int            { return int(l.limit) }
func (l *log) id() string           { return l.name }
func (l *log) functions() functions { return logFunctions }

func (l *log) take(args []any, n, ahead int, _ bool) []any {
	if ahead > 0 {
		_, n = l.behind(n, ahead)
	}
	return append(args, n, l.limit, l.width)
}

func (l *log) refund(args []any, d ratelimit.Decision) []any {
	// A decision made after the clock had been set back a little was logged at
	// the time that its ResetAfter tells.
	logged := at(d)
	if end, ok := ends(d); ok {
		logged = max(logged, end-l.width)
	}
	return append(args, d.N, logged)
}

func (l *log) answer(d *ratelimit.Decision, s state, now int64, q question) {
	ahead := q.ahead
	used, newest, fits := s[1], s[2], s[3]
	switch {
	case ahead > 0:
		windows, _ := l.behind(d.N, ahead)
		fits = start(windows, l.width) + fits
		d.ResetAfter = wait(now, fits+l.width)
	case d.Allowed && d.N > 0:
		used += int64(d.N)
		newest = max(now, newest)
		fallthrough
	default:
		d.Remaining = int(l.limit - min(used, l.limit))
		if used > 0 {
			d.ResetAfter = wait(now, newest+l.width)
		}
	}
	if !d.Allowed && possible(d.N, int(l.limit)) {
		d.RetryAfter = retry(now, fits)
	}
}

// behind is how many whole windows those in line take, with n at their end, and
// how many events are left: no window takes more than the limit.
func (l *log) behind(n, ahead int) (windows int64, rest int) {
	if !possible(n, int(l.limit)) {
		n = 0
	}
	last := min(int64(ahead), maxLimit) + int64(n) - 1
	return last / l.limit, int(last%l.limit) + 1
}
