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
	limit            [1]string
	remaining, reset number
}

// number is a number as the value of a field.
type number struct {
	value  [1]string
	digits [20]byte // as many as an int64 has, and a sign
}

// set makes it n. That is done once: nothing may write to the digits afterwards.
func (f *number) set(n int64) []string {
	b := strconv.AppendInt(f.digits[:0], n, 10)
	f.value[0] = unsafe.String(&b[0], len(b))
	return f.value[:]
}

// setHeaders sets the fields that speak of a limit.
func (v *visit) setHeaders(h http.Header, rt *rate, d *ratelimit.Decision) {
	which := v.config.Headers
	if which&(XRateLimitDelta|XRateLimitEpoch) != 0 {
		reset := ceilSeconds(d.ResetAfter)
		if which&XRateLimitEpoch != 0 {
			reset = v.unixCeil(d.ResetAfter)
		}
		h[headerRemaining] = v.fields.remaining.set(int64(d.Remaining))
		h[headerReset] = v.fields.reset.set(reset)
		v.fields.limit[0] = rt.ceiling
		h[headerLimit] = v.fields.limit[:]
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
		h[headerRetry] = new(number).set(max(ceilSeconds(res.RetryAfter), 1))
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
