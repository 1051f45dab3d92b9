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
	values [4]string
	digits [3][20]byte // as many as an int64 has
}

// number makes a number the one value of a field.
func (f *fields) number(i int, n int64) []string {
	b := strconv.AppendInt(f.digits[i][:0], n, 10)
	// Nothing writes there again: each number of a response is made once.
	return f.text(i, unsafe.String(&b[0], len(b)))
}

// text makes s the one value of a field. What is appended to that does not end
// up in the next.
func (f *fields) text(i int, s string) []string {
	f.values[i] = s
	return f.values[i : i+1 : i+1]
}

// setHeaders sets the fields that speak of a limit.
func (v *visit) setHeaders(h http.Header, rt *rate, d *ratelimit.Decision) {
	which := v.config.Headers
	if which&(XRateLimitDelta|XRateLimitEpoch) != 0 {
		reset := ceilSeconds(d.ResetAfter)
		if which&XRateLimitEpoch != 0 {
			reset = v.unixCeil(d.ResetAfter)
		}
		h[headerRemaining] = v.fields.number(0, int64(d.Remaining))
		h[headerReset] = v.fields.number(1, reset)
		h[headerLimit] = v.fields.text(3, rt.ceiling)
	}
	if which&IETFDraft11 != 0 {
		policy := v.route.policy
		if policy == "" || v.outer != nil {
			policy = strings.Join(v.policies(), ", ")
		}
		t := d.ResetAfter
		if !d.Allowed {
			t = d.RetryAfter
		}
		h[headerPolicy] = []string{policy}
		h[headerRateLimit] = []string{rt.rateLimit(d.Remaining, t)}
	}
}

// setRefusalHeaders sets the fields of a request that is refused.
func (v *visit) setRefusalHeaders(h http.Header, res *Result) {
	// Whoever need never come back is not told when.
	if res.RetryAfter != ratelimit.Never {
		h[headerRetry] = v.fields.number(2, max(ceilSeconds(res.RetryAfter), 1))
	}
	if !res.Banned {
		v.setHeaders(h, res.rate, &res.Decision)
	}
}

// policies are the items of RateLimit-Policy for the limits that apply to the
// request.
func (v *visit) policies() (items []string) {
	for ; v != nil; v = v.outer {
		for i := range v.charges {
			items = append(items, v.charges[i].rate.policy)
		}
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
