package notation

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxWindow time.Duration = math.MaxInt64

const (
	unitsExpected    = "a unit (second, minute, hour, day, week, month, year; ms, s, sec, m, min, h, hr, d, w)"
	durationExpected = "ns, us, ms, s, m or h, as in 1.5h or 1h30m"
)

const day = 24 * time.Hour

// unit is a unit and its spellings, in lower case.
type unit struct {
	name    string
	plurals bool
	short   []string
	window  time.Duration
}

// units are in the order in which String tries them.
var units = []unit{
	{"year", true, nil, 360 * day},
	{"month", true, nil, 30 * day},
	{"week", true, []string{"w"}, 7 * day},
	{"day", true, []string{"d"}, day},
	{"hour", true, []string{"h", "hr"}, time.Hour},
	{"minute", true, []string{"m", "min"}, time.Minute},
	{"second", true, []string{"s", "sec"}, time.Second},
	{"ms", false, nil, time.Millisecond},
}

// parser reads each token once and never goes back, so its work is linear in the
// length of the input.
type parser struct {
	input string
	next  func() token
	tok   token // the one being looked at
}

func newParser(input string) *parser {
	p := &parser{input: input, next: (&scanner{input: input}).next}
	p.advance()
	return p
}

// limits reads all of the input.
func (p *parser) limits() ([]Limit, error) {
	var limits []Limit
	for {
		l, err := p.limit()
		if err != nil {
			return nil, err
		}
		limits = append(limits, l)
		switch p.tok.text {
		case ",", ";", "|":
			p.advance()
		case "":
			return limits, nil
		default:
			return nil, p.expected(`",", ";", "|" or the end`)
		}
	}
}

// limit reads a limit and the blanks around it.
func (p *parser) limit() (Limit, error) {
	p.skipBlanks()
	count, err := p.count()
	if err != nil {
		return Limit{}, err
	}
	p.skipBlanks()
	if err := p.per(); err != nil {
		return Limit{}, err
	}
	p.skipBlanks()
	window, err := p.window()
	if err != nil {
		return Limit{}, err
	}
	p.skipBlanks()
	return Limit{Count: count, Window: window}, nil
}

func (p *parser) count() (int, error) {
	t := p.tok
	if t.kind != digits {
		return 0, p.expected("a count")
	}
	n, err := strconv.Atoi(t.text)
	if err != nil || n < 1 {
		return 0, p.fault(t.offset, "a count of 1 to "+strconv.Itoa(math.MaxInt), t.text)
	}
	p.advance()
	return n, nil
}

func (p *parser) per() error {
	const per = "per"
	t := p.tok
	switch {
	case t.text == "/":
		p.advance()
	case t.kind == letters && len(t.text) >= len(per) && lower(t.text[:len(per)]) == per:
		// What follows without a blank is of the same token.
		p.tok = token{letters, t.text[len(per):], t.offset + len(per)}
		if p.tok.text == "" {
			p.advance()
		}
	default:
		return p.expected(`"/" or "per"`)
	}
	return nil
}

func (p *parser) window() (time.Duration, error) {
	first := p.tok
	switch {
	case first.kind == letters:
		return p.unit()
	case first.text == "+":
		p.advance()
		return p.duration(first.offset, p.digits())
	case first.text == ".":
		return p.duration(first.offset, false)
	case first.kind != digits:
		return 0, p.expected(unitsExpected + " or a number")
	}
	p.advance()
	if p.tok.text == "." || durationUnit(p.tok.text) {
		return p.duration(first.offset, true)
	}
	n, err := strconv.ParseInt(first.text, 10, 64)
	if err != nil || n < 1 {
		return 0, p.outOfRange(first.offset, first.text)
	}
	p.skipBlanks()
	last := p.tok
	unit, err := p.unit()
	if err != nil {
		return 0, err
	}
	if n > int64(maxWindow/unit) {
		return 0, p.outOfRange(first.offset, p.input[first.offset:last.offset+len(last.text)])
	}
	return time.Duration(n) * unit, nil
}

func (p *parser) unit() (time.Duration, error) {
	window, ok := unitWindow(p.tok.text)
	if !ok {
		return 0, p.expected(unitsExpected)
	}
	p.advance()
	return window, nil
}

// duration reads what is left of a duration: all behind the sign and the first
// digits, if there were any. Its value is what package time makes of it.
func (p *parser) duration(from int, number bool) (time.Duration, error) {
	for {
		if p.tok.text == "." {
			p.advance()
			number = p.digits() || number
		}
		if !number {
			return 0, p.expected("a digit")
		}
		if !durationUnit(p.tok.text) {
			return 0, p.expected(durationExpected)
		}
		p.advance()
		number = p.digits()
		if !number && p.tok.text != "." {
			break
		}
	}
	text := p.input[from:p.tok.offset]
	d, err := time.ParseDuration(lower(text))
	if err != nil || d < 1 {
		return 0, p.outOfRange(from, text)
	}
	return d, nil
}

func (p *parser) advance() { p.tok = p.next() }

func (p *parser) skipBlanks() {
	if p.tok.kind == blanks {
		p.advance()
	}
}

// digits skips digits and reports whether there were any.
func (p *parser) digits() bool {
	if p.tok.kind != digits {
		return false
	}
	p.advance()
	return true
}

// expected is the fault that the token is not what was expected.
func (p *parser) expected(what string) error {
	return p.fault(p.tok.offset, what, p.tok.text)
}

func (p *parser) outOfRange(offset int, found string) error {
	return p.fault(offset, "a window of 1ns to "+maxWindow.String(), found)
}

// fault is the error that something was found where something else was
// expected. It quotes the beginning of what was found.
func (p *parser) fault(offset int, expected, found string) error {
	const most = 24
	reason := "expected " + expected + ", found "
	switch {
	case found == "":
		reason += "the end"
	case len(found) > most:
		reason += strconv.Quote(found[:boundary(found, most)]) + "…"
	default:
		reason += strconv.Quote(found)
	}
	return &SyntaxError{Input: p.input, Offset: offset, Reason: reason}
}

// unitWindow is the window that a word names, if it does.
func unitWindow(word string) (time.Duration, bool) {
	if len(word) > 16 { // longer than any
		return 0, false
	}
	word = lower(word)
	for _, u := range units {
		rest, ok := strings.CutPrefix(word, u.name)
		switch {
		case ok && rest == "", slices.Contains(u.short, word):
			return u.window, true
		case ok && u.plurals && (rest == "s" || rest == "ſ"): // one letter to Python's expressions
			return u.window, true
		}
	}
	return 0, false
}

// durationUnit reports whether package time has such a unit.
func durationUnit(s string) bool {
	if len(s) > 4 { // longer than any
		return false
	}
	switch lower(s) {
	case "ns", "us", "µs", "μs", "ms", "s", "m", "h": // micro sign, Greek mu
		return true
	}
	return false
}

// lower folds the letters of ASCII only: the Kelvin sign is not a k.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
