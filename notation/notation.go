// Package notation reads rate limits as people write them: "5/second; 60 per
// minute" is five in a second and sixty in a minute. Every string is answered in
// time linear in its length, and a bad one by a [*SyntaxError] that says where
// the fault is and what was expected there.
//
// # Grammar
//
//	limits   = limit { ( "," | ";" | "|" ) limit } .
//	limit    = count ( "/" | "per" ) window .
//	count    = digits .                                         at least 1
//	window   = [ multiple ] unit | duration .                   at least 1 ns
//	multiple = digits .                                         at least 1
//	unit     = name [ "s" ] | short .                           see the table
//	duration = [ "+" ] term { term } .                          as time.ParseDuration reads it
//	term     = ( digits [ "." [ digits ] ] | "." digits ) ( "ns" | "us" | "µs" | "ms" | "s" | "m" | "h" ) .
//	digits   = digit { digit } .                                "0" to "9"
//
// Blanks, which include line breaks, may stand between any of these or be left
// out: "5perminute" and " 5 / 2 \n minutes" are limits. Numbers, words and
// durations have none within. Upper and lower case are the same throughout,
// so "5/M" is five per minute. Only a unit may follow a multiple, and only a
// duration may have a fraction or parts: "1.5h" and "1h30m" are windows,
// "1.5 hours" and "1d12h" are not.
//
// # Units
//
//	name     short      is
//	         ms         a thousandth of a second
//	second   s, sec
//	minute   m, min     60 seconds
//	hour     h, hr      60 minutes
//	day      d          24 hours
//	week     w          7 days
//	month               30 days
//	year                360 days, which is 12 months
//
// Where a unit and a duration are spelled alike, as "15m", they mean the same.
//
// # Flask-Limiter
//
// Whatever the Python library Flask-Limiter parses means the same here, its
// blanks (those of Unicode, and the separators U+001C to U+001F) and its odd
// plural "minuteſ" included, save four things that are errors here:
//
//   - a count of 0, which would admit nothing;
//   - a multiple of 0, which some of its versions read as 0 and others as 1;
//   - a colon before a separator, as in "5/minute:;60/hour";
//   - a count beyond an int, or a window beyond a [time.Duration].
//
// An empty string is one that it does not parse but takes for no limits. For
// Parse that is an error, because no limits admit everything; [Limits], which
// may stand for a setting that was left out, reads it as none.
//
// Weeks, milliseconds, short units and durations are not in Flask-Limiter.
package notation

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limit is a number of events in a window of time.
type Limit struct {
	Count  int           // at least 1
	Window time.Duration // at least 1 ns
}

// Limits are limits that hold together. As text, in a configuration file or a
// flag, they are one string such as "5/second; 60 per minute".
type Limits []Limit

// SyntaxError is the first fault in a string.
type SyntaxError struct {
	Input  string // the whole string
	Offset int    // the byte of Input at which the fault begins; len(Input) if something is missing at its end
	Reason string // what was expected, and what was found; short whatever the Input
}

// Parse returns the limits in the order in which they are written. There is at
// least one. An error is a [*SyntaxError].
func Parse(s string) ([]Limit, error) { return newParser(s).limits() }

// MustParse is Parse for a string that is known to be good. It panics with
// Parse's error.
func MustParse(s string) []Limit {
	limits, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return limits
}

// String is the canonical form, which [Parse] reads back as the same limit: "5
// per minute", "10 per 15 minutes". The unit is the largest of which the window
// is a multiple; if it is no multiple of a millisecond, it is a duration, "5 per
// 1.5us". A limit that Parse cannot return is written as a duration also, "0 per
// 0s", and refused by Parse.
func (l Limit) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(l.Count))
	b.WriteString(" per ")
	for _, u := range units {
		if l.Window < u.window || l.Window%u.window != 0 {
			continue
		}
		if n := int64(l.Window / u.window); n > 1 {
			b.WriteString(strconv.FormatInt(n, 10))
			b.WriteByte(' ')
			b.WriteString(u.name)
			if u.plurals {
				b.WriteByte('s')
			}
		} else {
			b.WriteString(u.name)
		}
		return b.String()
	}
	b.WriteString(strings.Replace(l.Window.String(), "µ", "u", 1)) // ASCII goes everywhere
	return b.String()
}

// MarshalText is String for a limit that can be read back, and empty for the
// zero Limit. For any other it is an error that names the field, the value and
// the range.
func (l Limit) MarshalText() ([]byte, error) {
	if l == (Limit{}) {
		return []byte{}, nil
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return []byte(l.String()), nil
}

// UnmarshalText reads one limit. Empty text is the zero Limit.
func (l *Limit) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = Limit{}
		return nil
	}
	p := newParser(string(text))
	limit, err := p.limit()
	if err != nil {
		return err
	}
	if p.tok.kind != end {
		return p.expected("the end after one limit")
	}
	*l = limit
	return nil
}

// String is the canonical forms of all, joined by "; ".
func (ls Limits) String() string {
	var b strings.Builder
	for i, l := range ls {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(l.String())
	}
	return b.String()
}

// MarshalText is String if every limit can be read back. No limits are empty
// text.
func (ls Limits) MarshalText() ([]byte, error) {
	for i, l := range ls {
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("%w (limit %d of %d)", err, i+1, len(ls))
		}
	}
	return []byte(ls.String()), nil
}

// UnmarshalText is Parse, but empty text is no limits.
func (ls *Limits) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*ls = nil
		return nil
	}
	limits, err := Parse(string(text))
	if err != nil {
		return err
	}
	*ls = limits
	return nil
}

// Error has the Reason, the Offset and the Input, of which it quotes no more
// than what is near the Offset.
func (e *SyntaxError) Error() string {
	const near = 32
	at := min(max(e.Offset, 0), len(e.Input))
	before, after := e.Input[:at], e.Input[at:]
	open, shut := "", ""
	if i := boundary(before, len(before)-near); i > 0 {
		before, open = before[i:], "…"
	}
	if i := boundary(after, near); i < len(after) {
		after, shut = after[:i], "…"
	}
	return fmt.Sprintf("notation: %s%q%s, byte %d: %s", open, before+after, shut, e.Offset, e.Reason)
}

// check returns an error if String cannot be read back.
func (l Limit) check() error {
	if l.Count < 1 {
		return fmt.Errorf("notation: Count %d is out of range [1, %d]", l.Count, math.MaxInt)
	}
	if l.Window < 1 {
		return fmt.Errorf("notation: Window %v is out of range [1ns, %v]", l.Window, maxWindow)
	}
	return nil
}
