package httplimit

import (
	"fmt"
	"net/http"
	"strings"
)

// The types of problem+json, which draft-ietf-httpapi-ratelimit-headers-11 has
// registered.
const (
	quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"
	abnormalUsage = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
)

// Answer is what a refused client is told by default: 429 Too Many Requests, or
// 503 Service Unavailable if a Store failed, with a line of text that names the
// limit. Clients that would rather have JSON, by their Accept, are sent
// application/problem+json (RFC 9457) with the problem types and the
// violated-policies of draft-ietf-httpapi-ratelimit-headers-11.
//
// A Config's own Refuse may call it for what it leaves to the default.
func Answer(w http.ResponseWriter, r *http.Request, res Result) {
	status, is := http.StatusServiceUnavailable, unavailable
	if res.Err == nil && res.rate != nil {
		status, is = http.StatusTooManyRequests, res.rate.bodies
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if wantsProblem(r.Header["Accept"]) {
		h.Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		w.Write(is.problem)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	w.Write(is.text)
}

// bodies are the bodies of a response, for one client or the other.
type bodies struct {
	text, problem []byte
}

var unavailable = bodies{
	text:    []byte("Service Unavailable\n"),
	problem: []byte(`{"type":"about:blank","title":"Service Unavailable","status":503}` + "\n"),
}

// newBodies are those of a refusal. The detail and the policy are printable
// ASCII, of which JSON escapes what Go does.
func newBodies(problemType, detail, policy string) bodies {
	return bodies{
		text: fmt.Appendf(nil, "Too Many Requests: %s\n", detail),
		problem: fmt.Appendf(nil, `{"type":%q,"title":"Too Many Requests","status":429,"detail":%q,"violated-policies":[%q]}`+"\n",
			problemType, detail, policy),
	}
}

// wantsProblem reports whether a client would rather have JSON than text. If it
// likes both as much, it gets the one that it names more closely, JSON if it
// names both, and text if it names neither.
func wantsProblem(accept []string) bool {
	var problem, text preference
	for _, line := range accept {
		for more := true; more; {
			var mediaRange string
			mediaRange, line, more = strings.Cut(line, ",")
			name, q, ok := parseRange(mediaRange)
			if !ok {
				continue
			}
			problem.see(name, q, "application/problem+json", "application/json", "application/*", "*/*")
			text.see(name, q, "text/plain", "text/*", "*/*")
		}
	}
	if problem.q != text.q {
		return problem.q > text.q
	}
	return problem.q > 0 && problem.rank > anything && problem.rank >= text.rank
}

// preference is a client's quality value for what it may be sent, by the media
// range that names it most closely.
type preference struct {
	q    int // in thousandths
	rank int // of that media range, higher if closer: 0 if there was none
}

const anything = 1 // the rank of */*

// see takes note of a media range, if it is one of those, closest first.
func (p *preference) see(name string, q int, ranges ...string) {
	for i, of := range ranges {
		if rank := len(ranges) - i; rank >= p.rank && strings.EqualFold(name, of) {
			*p = preference{q, rank}
			return
		}
	}
}

// parseRange splits a media range from its quality value. Parameters of the
// media type are no matter here. What is malformed is not ok.
func parseRange(s string) (name string, q int, ok bool) {
	name, params, _ := strings.Cut(s, ";")
	name, q = trim(name), 1000
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		k, v, _ := strings.Cut(trim(param), "=")
		if !strings.EqualFold(k, "q") {
			continue
		}
		if q, ok = parseQuality(v); !ok {
			return "", 0, false
		}
	}
	return name, q, name != ""
}

// parseQuality reads 0 to 1, with up to three decimals, in thousandths.
func parseQuality(s string) (int, bool) {
	whole, decimals, _ := strings.Cut(s, ".")
	if (whole != "0" && whole != "1") || len(decimals) > 3 {
		return 0, false
	}
	q := int(whole[0]-'0') * 1000
	for i, weight := 0, 100; i < len(decimals); i, weight = i+1, weight/10 {
		if decimals[i] < '0' || decimals[i] > '9' {
			return 0, false
		}
		q += int(decimals[i]-'0') * weight
	}
	return q, q <= 1000
}
