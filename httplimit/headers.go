package httplimit

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/ratekeep/ratelimit"
)

// The names as net/http keeps them.
const (
	headerLimit     = "X-Ratelimit-Limit"
	headerRemaining = "X-Ratelimit-Remaining"
	headerReset     = "X-Ratelimit-Reset"
	headerPolicy    = "Ratelimit-Policy"
	headerRateLimit = "Ratelimit"
	headerRetry     = "Retry-After"
)

// fields has room for the values of a response's header fields, which are
// allocated together.
type fields struct {
	values [3]string
	digits [2][20]byte // as many as an int64 has
}

// number puts a number where it need not be allocated.
func (f *fields) number(i int, n int64) string {
	b := strconv.AppendInt(f.digits[i][:0], n, 10)
	// Nothing writes there again: each number of a response is made once.
	return unsafe.String(&b[0], len(b))
}

// value makes s the one value of a field. What is appended to that does not end
// up in the next.
func (f *fields) value(i int, s string) []string {
	f.values[i] = s
	return f.values[i : i+1 : i+1]
}

// set sets the fields that speak of a limit.
func (l *Limiter) set(h http.Header, f *fields, rt *rate, d *ratelimit.Decision) {
	if l.config.Headers&(XRateLimitDelta|XRateLimitEpoch) == 0 {
		return
	}
	reset := ceilSeconds(d.ResetAfter)
	if l.config.Headers&XRateLimitEpoch != 0 {
		reset = l.unixCeil(d.ResetAfter)
	}
	h[headerLimit] = f.value(0, rt.ceiling)
	h[headerRemaining] = f.value(1, f.number(0, int64(d.Remaining)))
	h[headerReset] = f.value(2, f.number(1, reset))
}

// setHeaders sets the fields of a request that is let through.
func (v *visit) setHeaders(h http.Header) {
	l, c := v.limiter, v.nearest
	l.set(h, &v.fields, c.rate, &c.decision)
	if l.config.Headers&IETFDraft11 == 0 {
		return
	}
	if v.outer == nil && v.route.policy != "" {
		h[headerPolicy] = []string{v.route.policy}
	} else {
		var items []string
		for ; v != nil; v = v.outer {
			items = appendPolicies(items, v.charges)
		}
		h[headerPolicy] = []string{strings.Join(items, ", ")}
	}
	h[headerRateLimit] = []string{c.rate.rateLimit(c.decision.Remaining, c.decision.ResetAfter)}
}

// setRefusalHeaders sets the fields of a request that is refused.
func (q *request) setRefusalHeaders(h http.Header, res Result) {
	// A client that has never to come back is not told when.
	if res.RetryAfter != ratelimit.Never {
		h[headerRetry] = []string{strconv.FormatInt(max(ceilSeconds(res.RetryAfter), 1), 10)}
	}
	if res.rate == nil {
		return
	}
	q.set(h, new(fields), res.rate, &res.Decision)
	if q.config.Headers&IETFDraft11 == 0 {
		return
	}
	policy := q.route.policy
	if q.outer != nil || policy == "" {
		items := appendPolicies(nil, q.charges)
		for v := q.outer; v != nil; v = v.outer {
			items = appendPolicies(items, v.charges)
		}
		policy = strings.Join(items, ", ")
	}
	h[headerPolicy] = []string{policy}
	h[headerRateLimit] = []string{res.rate.rateLimit(res.Remaining, res.RetryAfter)}
}

func appendPolicies(items []string, charges []charge) []string {
	for i := range charges {
		items = append(items, charges[i].rate.policy)
	}
	return items
}

// rateLimit is the value of RateLimit.
func (rt *rate) rateLimit(remaining int, t time.Duration) string {
	b := make([]byte, 0, len(rt.quoted)+len(";r=;t=")+2*len("9223372036854775807"))
	b = append(append(b, rt.quoted...), ";r="...)
	b = strconv.AppendInt(b, min(int64(remaining), maxSFInteger), 10)
	if t != ratelimit.Never {
		b = append(b, ";t="...)
		b = strconv.AppendInt(b, ceilSeconds(t), 10)
	}
	return string(b)
}

// maxSFInteger is the largest integer of a structured field.
const maxSFInteger int64 = 999_999_999_999_999

// unixCeil is the Unix time in d, rounded up.
func (l *Limiter) unixCeil(d time.Duration) int64 {
	t := l.config.Clock.Epoch().Add(l.config.Clock.Now() + d)
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}
