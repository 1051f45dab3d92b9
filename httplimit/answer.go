package httplimit

import (
	"net/http"
	"strconv"
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
	status, detail, kind := http.StatusTooManyRequests, res.Limit, quotaExceeded
	switch {
	case res.Err != nil:
		status, detail, kind = http.StatusServiceUnavailable, "", "about:blank"
	case res.Banned:
		detail, kind = "refused too often", abnormalUsage
	}
	title := http.StatusText(status)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	b := make([]byte, 0, 320)
	if wantsProblem(r.Header["Accept"]) {
		h.Set("Content-Type", "application/problem+json")
		b = append(b, `{"type":"`...)
		b = append(b, kind...)
		b = append(b, `","title":"`...)
		b = append(b, title...)
		b = append(b, `","status":`...)
		b = strconv.AppendInt(b, int64(status), 10)
		if detail != "" {
			// Names are printable ASCII, of which JSON escapes what Go does.
			b = append(b, `,"detail":`...)
			b = strconv.AppendQuote(b, detail)
		}
		if res.rate != nil {
			b = append(b, `,"violated-policies":[`...)
			b = append(b, res.rate.quoted...)
			b = append(b, ']')
		}
		b = append(b, "}\n"...)
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		b = append(b, title...)
		if detail != "" {
			b = append(b, ": "...)
			b = append(b, detail...)
		}
		b = append(b, '\n')
	}
	w.WriteHeader(status)
	w.Write(b)
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
	name, q = strings.Trim(name, " \t"), 1000
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		k, v, _ := strings.Cut(strings.Trim(param, " \t"), "=")
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
