package httplimit

import "strings"

// hopList takes the entries of a forwarding header from the right, across all of
// its lines. Nothing to the left of an entry has an influence on how it is read,
// because that part may be the client's.
type hopList struct {
	lines     []string
	forwarded bool   // RFC 7239, else X-Forwarded-For
	line      string // what is left of the line that is being read
	reading   bool
}

// last removes the last entry and returns its address as it is written there,
// or "" if it has none.
func (l *hopList) last() (addr string, ok bool) {
	if !l.reading {
		if len(l.lines) == 0 {
			return "", false
		}
		n := len(l.lines) - 1
		l.line, l.lines = l.lines[n], l.lines[:n]
	}
	var entry string
	if l.forwarded {
		l.line, entry, l.reading = cutLast(l.line, ',')
		return forValue(entry), true
	}
	comma := strings.LastIndexByte(l.line, ',')
	entry, l.reading = l.line[comma+1:], comma >= 0
	l.line = l.line[:max(comma, 0)]
	return entry, true
}

// cutLast cuts s at the last separator that is not between quotes.
func cutLast(s string, separator byte) (before, after string, found bool) {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"' && !escaped(s[:i]):
			quoted = !quoted
		case s[i] == separator && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return "", s, false
}

// escaped reports whether what follows s is a part of a quoted-string, for the
// backslash before it: one that is not escaped itself.
func escaped(s string) bool {
	backslashes := len(s) - len(strings.TrimRight(s, `\`))
	return backslashes%2 != 0
}

// forValue is the value of the one "for" parameter of an element of Forwarded,
// or "".
func forValue(element string) (value string) {
	for more := true; more; {
		var pair string
		element, pair, more = cutLast(element, ';')
		name, v, _ := strings.Cut(pair, "=")
		if !strings.EqualFold(trim(name), "for") {
			continue
		}
		if value != "" {
			return "" // which of the two was meant?
		}
		value = trim(v)
	}
	if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
		return value[1 : n-1]
	}
	return value
}

// isToken reports whether s is a token as RFC 9110 has it, such as a field name
// or a method.
func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
