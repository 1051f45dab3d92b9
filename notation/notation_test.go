package notation

import (
	"encoding"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var (
	_ encoding.TextMarshaler   = Limit{}
	_ encoding.TextUnmarshaler = (*Limit)(nil)
	_ encoding.TextMarshaler   = Limits{}
	_ encoding.TextUnmarshaler = (*Limits)(nil)
)

const (
	ns     = time.Nanosecond
	us     = time.Microsecond
	ms     = time.Millisecond
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	week   = 7 * day
	month  = 30 * day
	year   = 360 * day
)

func TestParse(t *testing.T) {
	tests := []struct {
		in   string
		want []Limit
	}{
		// One limit, both signs.
		{"5/minute", []Limit{{5, minute}}},
		{"5 per minute", []Limit{{5, minute}}},
		{"5 / 2 minutes", []Limit{{5, 2 * minute}}},
		{"5 per 2 minutes", []Limit{{5, 2 * minute}}},
		{"1 per 3 hour", []Limit{{1, 3 * hour}}},
		{"1/2 day", []Limit{{1, 2 * day}}},

		// All units.
		{"1/second", []Limit{{1, second}}},
		{"1/minute", []Limit{{1, minute}}},
		{"1/hour", []Limit{{1, hour}}},
		{"1/day", []Limit{{1, 24 * time.Hour}}},
		{"1/week", []Limit{{1, 168 * time.Hour}}},
		{"1/month", []Limit{{1, 720 * time.Hour}}},
		{"1/year", []Limit{{1, 8640 * time.Hour}}},
		{"1/seconds", []Limit{{1, second}}},
		{"1/minutes", []Limit{{1, minute}}},
		{"1/hours", []Limit{{1, hour}}},
		{"1/days", []Limit{{1, day}}},
		{"1/weeks", []Limit{{1, week}}},
		{"1/months", []Limit{{1, month}}},
		{"1/years", []Limit{{1, year}}},
		{"1/ms", []Limit{{1, ms}}},
		{"1/s", []Limit{{1, second}}},
		{"1/sec", []Limit{{1, second}}},
		{"1/m", []Limit{{1, minute}}},
		{"1/min", []Limit{{1, minute}}},
		{"1/h", []Limit{{1, hour}}},
		{"1/hr", []Limit{{1, hour}}},
		{"1/d", []Limit{{1, day}}},
		{"1/w", []Limit{{1, week}}},
		{"5 per 500 ms", []Limit{{5, 500 * ms}}},
		{"10/15m", []Limit{{10, 15 * minute}}},
		{"10/15 m", []Limit{{10, 15 * minute}}},
		{"10/15min", []Limit{{10, 15 * minute}}},
		{"10/2hr", []Limit{{10, 2 * hour}}},
		{"10/2d", []Limit{{10, 48 * hour}}},
		{"10/2 w", []Limit{{10, 336 * hour}}},
		{"10/30sec", []Limit{{10, 30 * second}}},

		// Case.
		{"5 PER MINUTE", []Limit{{5, minute}}},
		{"5 pEr MiNuTeS", []Limit{{5, minute}}},
		{"5/M", []Limit{{5, minute}}},
		{"5/2MS", []Limit{{5, 2 * ms}}},
		{"5/1H30M", []Limit{{5, 90 * minute}}},

		// Blanks: any, or none.
		{"5perminute", []Limit{{5, minute}}},
		{"5per2minutes", []Limit{{5, 2 * minute}}},
		{"5perm", []Limit{{5, minute}}},
		{"5perms", []Limit{{5, ms}}},
		{"5per1m30s", []Limit{{5, 90 * second}}},
		{"5/2minutes", []Limit{{5, 2 * minute}}},
		{"  5  /  2  minutes  ", []Limit{{5, 2 * minute}}},
		{"5\nper\r\n2\tminutes\n", []Limit{{5, 2 * minute}}},
		{"5\v/\fminute\u0085", []Limit{{5, minute}}},
		{"\x1c5\x1d/\x1eminute\x1f", []Limit{{5, minute}}},
		{"\u00a05\u1680/\u2003minute\u3000", []Limit{{5, minute}}},
		{"\u2028 5\u202f/\u205f2\u2000minute\u2029", []Limit{{5, 2 * minute}}},

		// Several, in the order written, the same ones again.
		{"5/second; 60 per minute; 2500 per hour", []Limit{{5, second}, {60, minute}, {2500, hour}}},
		{"1/day,2/hour|3/minute;4/second", []Limit{{1, day}, {2, hour}, {3, minute}, {4, second}}},
		{"1/s,1/s", []Limit{{1, second}, {1, second}}},
		{"1/s\n,\n2/m", []Limit{{1, second}, {2, minute}}},
		{"1/1s;2/1m30s|3/.5h", []Limit{{1, second}, {2, 90 * second}, {3, 30 * minute}}},

		// Numbers: leading zeros, and the largest.
		{"007/08 minutes", []Limit{{7, 8 * minute}}},
		{strings.Repeat("0", 5000) + "1/minute", []Limit{{1, minute}}},
		{"1/" + strings.Repeat("0", 5000) + "1minute", []Limit{{1, minute}}},
		{fmt.Sprint(math.MaxInt, "/s"), []Limit{{math.MaxInt, second}}},
		{"1/9223372036 seconds", []Limit{{1, 9223372036 * second}}},
		{"1/9223372036854 ms", []Limit{{1, 9223372036854 * ms}}},
		{"1/296 years", []Limit{{1, 296 * year}}},
		{"1/9223372036854775807ns", []Limit{{1, math.MaxInt64}}},
		{"1/2562047h47m16.854775807s", []Limit{{1, math.MaxInt64}}},

		// The long s: a plural to Python, whose expressions fold it.
		{"5/minuteſ", []Limit{{5, minute}}},
		{"5 per 2 DAYſ;1/weekſ", []Limit{{5, 2 * day}, {1, week}}},

		// Durations.
		{"100/1m30s", []Limit{{100, 90 * second}}},
		{"5/1.5h", []Limit{{5, 90 * minute}}},
		{"5/.5s", []Limit{{5, 500 * ms}}},
		{"5/1.s", []Limit{{5, second}}},
		{"5/+1m", []Limit{{5, minute}}},
		{"5/ 1h0m0.5s ", []Limit{{5, hour + 500*ms}}},
		{"5/100us", []Limit{{5, 100 * us}}},
		{"5/1.5µs", []Limit{{5, 1500 * ns}}},
		{"5/1.5μs", []Limit{{5, 1500 * ns}}},
		{"5/1.5µS", []Limit{{5, 1500 * ns}}},
		{"5/1ns", []Limit{{5, ns}}},
		{"5/0h5m", []Limit{{5, 5 * minute}}},
		{"5/1s1h", []Limit{{5, hour + second}}},
		{"5/1.9ns", []Limit{{5, ns}}},
	}
	for _, test := range tests {
		got, err := Parse(test.in)
		if err != nil {
			t.Errorf("Parse(%.40q): %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Parse(%.40q) (-want +got):\n%s", test.in, diff)
		}
	}
}

func TestParseFaults(t *testing.T) {
	// In full: a program may show them.
	const (
		unit    = "expected a unit (second, minute, hour, day, week, month, year; ms, s, sec, m, min, h, hr, d, w), found "
		number  = "expected a unit (second, minute, hour, day, week, month, year; ms, s, sec, m, min, h, hr, d, w) or a number, found "
		part    = "expected ns, us, ms, s, m or h, as in 1.5h or 1h30m, found "
		joined  = `expected ",", ";", "|" or the end, found `
		per     = `expected "/" or "per", found `
		window  = "expected a window of 1ns to 2562047h47m16.854775807s, found "
		digit   = "expected a digit, found "
		nothing = "the end"
	)
	count := fmt.Sprintf("expected a count of 1 to %d, found ", math.MaxInt)
	tests := []struct {
		in     string
		offset int
		reason string
	}{
		// Nothing, or nothing between separators.
		{"", 0, "expected a count, found the end"},
		{" \n", 2, "expected a count, found the end"},
		{";", 0, `expected a count, found ";"`},
		{";5/minute", 0, `expected a count, found ";"`},
		{"5/minute;", 9, "expected a count, found the end"},
		{"10 per hour; ", 13, "expected a count, found the end"},
		{"5/minute;;6/hour", 9, `expected a count, found ";"`},
		{"5/minute, ;6/hour", 10, `expected a count, found ";"`},

		// The count.
		{"minute", 0, `expected a count, found "minute"`},
		{"five per minute", 0, `expected a count, found "five"`},
		{"/minute", 0, `expected a count, found "/"`},
		{"-5/minute", 0, `expected a count, found "-"`},
		{"+5/minute", 0, `expected a count, found "+"`},
		{".5/minute", 0, `expected a count, found "."`},
		{"\"5/minute\"", 0, `expected a count, found "\""`},
		{"٣/minute", 0, `expected a count, found "٣"`},
		{"²/minute", 0, `expected a count, found "²"`},
		{"\ufeff5/minute", 0, `expected a count, found "\ufeff"`},
		{"5/minute; six/hour", 10, `expected a count, found "six"`},
		{"0/minute", 0, count + `"0"`},
		{"5/second; 000 per minute", 10, count + `"000"`},
		{"9223372036854775808/minute", 0, count + `"9223372036854775808"`},
		{"10000000000000000000/minute", 0, count + `"10000000000000000000"`},
		{fmt.Sprint(uint64(math.MaxInt)+1, "/minute"), 0, count + fmt.Sprintf("%q", fmt.Sprint(uint64(math.MaxInt)+1))},
		{strings.Repeat("9", 25) + "/minute", 0, count + `"999999999999999999999999"…`},
		{strings.Repeat("0", 25) + "/minute", 0, count + `"000000000000000000000000"…`},

		// "/" or "per".
		{"5", 1, per + nothing},
		{"5 ", 2, per + nothing},
		{"5 minute", 2, per + `"minute"`},
		{"5 pe minute", 2, per + `"pe"`},
		{"5 pér minute", 2, per + `"pér"`},
		{"5.5/minute", 1, per + `"."`},
		{"5 5/minute", 2, per + `"5"`},
		{"1,000/minute", 1, per + `","`},
		{"1_000/minute", 1, per + `"_"`},
		{"5\\minute", 1, per + `"\\"`},
		{"5\x00/minute", 1, per + `"\x00"`},
		{"5\x1b/minute", 1, per + `"\x1b"`},
		{"5\u200b/minute", 1, per + `"\u200b"`},

		// The window.
		{"5/", 2, number + nothing},
		{"5 per ", 6, number + nothing},
		{"5per", 4, number + nothing},
		{"5//minute", 2, number + `"/"`},
		{"5/;6/minute", 2, number + `";"`},
		{"5/-1m", 2, number + `"-"`},
		{"5/٣m", 2, number + `"٣"`},
		{"5 / per minute", 4, unit + `"per"`},
		{"5 per per minute", 6, unit + `"per"`},
		{"5 peer minute", 2, per + `"peer"`},
		{"5 period", 5, unit + `"iod"`},
		{"5/fortnight", 2, unit + `"fortnight"`},
		{"5/minut", 2, unit + `"minut"`},
		{"5/minutess", 2, unit + `"minutess"`},
		{"5/minutesſ", 2, unit + `"minutesſ"`},
		{"5/ſecond", 2, unit + `"ſecond"`},
		{"5/ſ", 2, unit + `"ſ"`},
		{"5/mınute", 2, unit + `"mınute"`},
		{"5/mİnute", 2, unit + `"mİnute"`},
		{"5/wee\u212a", 2, unit + `"wee` + "\u212a" + `"`},
		{"5/mss", 2, unit + `"mss"`},
		{"5/msſ", 2, unit + `"msſ"`},
		{"5/secs", 2, unit + `"secs"`},
		{"5/us", 2, unit + `"us"`},
		{"5/" + strings.Repeat("é", 13), 2, unit + `"` + strings.Repeat("é", 12) + `"…`},
		{"5/a" + strings.Repeat("é", 13), 2, unit + `"a` + strings.Repeat("é", 11) + `"…`},

		// The multiple.
		{"5/2", 3, unit + nothing},
		{"5/2 ", 4, unit + nothing},
		{"5/2 fortnights", 4, unit + `"fortnights"`},
		{"5/2fortnights", 3, unit + `"fortnights"`},
		{"5/2;6/day", 3, unit + `";"`},
		{"5/2 3 minutes", 4, unit + `"3"`},
		{"5/2-minutes", 3, unit + `"-"`},
		{"5/2 us", 4, unit + `"us"`},
		{"5/0", 2, window + `"0"`},
		{"5/0 minutes", 2, window + `"0"`},
		{"5/minute; 5/00day", 12, window + `"00"`},
		{"5/0 fortnights", 2, window + `"0"`},
		{"5/9223372037 seconds", 2, window + `"9223372037 seconds"`},
		{"5/297years", 2, window + `"297years"`},
		{"5/ 9223372036855 ms", 3, window + `"9223372036855 ms"`},
		{"5/9223372036854775808 s", 2, window + `"9223372036854775808"`},
		{"5/18446744073709551617 s", 2, window + `"18446744073709551617"`},

		// Durations.
		{"5/0m", 2, window + `"0m"`},
		{"5/0h0m0.0s", 2, window + `"0h0m0.0s"`},
		{"5/0.1ns", 2, window + `"0.1ns"`},
		{"5/2562047h47m16.854775808s", 2, window + `"2562047h47m16.854775808s"`},
		{"5/9223372036854775808ns", 2, window + `"9223372036854775808ns"`},
		{"5/99999999999999999999h1s; 6/s", 2, window + `"99999999999999999999h1s"`},
		{"5/1.5", 5, part + nothing},
		{"5/1.5 h", 5, part + `" "`},
		{"5/1.5hours", 5, part + `"hours"`},
		{"5/1.5d", 5, part + `"d"`},
		{"5/1h30", 6, part + nothing},
		{"5/1h30min", 6, part + `"min"`},
		{"5/1m30 s", 6, part + `" "`},
		{"5/1.2.3s", 5, part + `"."`},
		{"5/+1minute", 4, part + `"minute"`},
		{"5/1h;6/1m30x", 11, part + `"x"`},
		{"5/+", 3, digit + nothing},
		{"5/+minute", 3, digit + `"minute"`},
		{"5/++1m", 3, digit + `"+"`},
		{"5/+-1m", 3, digit + `"-"`},
		{"5/+ 1m", 3, digit + `" "`},
		{"5/.", 3, digit + nothing},
		{"5/.h", 3, digit + `"h"`},
		{"5/1h.m", 5, digit + `"m"`},
		{"5/1h.", 5, digit + nothing},

		// What follows a limit.
		{"5/minute:", 8, joined + `":"`},
		{"5/minute:;6/hour", 8, joined + `":"`},
		{"5/minute :, 6/hour", 9, joined + `":"`},
		{"5/minute 6/hour", 9, joined + `"6"`},
		{"5/minute6/hour", 8, joined + `"6"`},
		{"5/minute per user", 9, joined + `"per"`},
		{"5/m30s", 3, joined + `"30"`},
		{"5/2 m30s", 5, joined + `"30"`},
		{"5/1h 30m", 5, joined + `"30"`},
		{"5/1d12h", 4, joined + `"12"`},
		{"5/1h-30m", 4, joined + `"-"`},
		{"5/min\xff", 5, joined + `"\xff"`},
		{"5/minute\x00", 8, joined + `"\x00"`},
		{"5/minute.", 8, joined + `"."`},
		{"5/minute\u0301", 8, joined + "\"\u0301\""},
		{"5/second; 60 per minute & 1/day", 24, joined + `"&"`},
	}
	for _, test := range tests {
		got, err := Parse(test.in)
		if err == nil {
			t.Errorf("Parse(%.40q) = %v, want an error at %d: %s", test.in, got, test.offset, test.reason)
			continue
		}
		want := &SyntaxError{Input: test.in, Offset: test.offset, Reason: test.reason}
		if diff := cmp.Diff(error(want), err); diff != "" || got != nil {
			t.Errorf("Parse(%.40q) = %v and (-want +got):\n%s", test.in, got, diff)
		}
	}
}

// Every spelling of a unit means the same in any case, with a multiple or
// without, with blanks or without.
func TestUnits(t *testing.T) {
	spellings := map[string]time.Duration{
		"ms": ms,
		"s":  second, "sec": second, "second": second, "seconds": second,
		"m": minute, "min": minute, "minute": minute, "minutes": minute,
		"h": hour, "hr": hour, "hour": hour, "hours": hour,
		"d": day, "day": day, "days": day,
		"w": week, "week": week, "weeks": week,
		"month": month, "months": month,
		"year": year, "years": year,
	}
	for name, window := range spellings {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			for _, per := range []string{"/", "per", "Per"} {
				for _, blank := range []string{"", " ", "\n\t"} {
					for _, multiple := range []int{0, 1, 7} { // 0: without
						digits := strconv.Itoa(multiple)
						if multiple == 0 {
							multiple, digits = 1, ""
						}
						s := strings.Join([]string{"", "12", per, digits, spelling, ""}, blank)
						got, err := Parse(s)
						if want := []Limit{{12, time.Duration(multiple) * window}}; err != nil || !cmp.Equal(got, want) {
							t.Errorf("Parse(%q) = %v, %v, want %v", s, got, err, want)
						}
					}
				}
			}
		}
	}
}

func TestMustParse(t *testing.T) {
	if got, want := MustParse("5/s,6/m"), []Limit{{5, second}, {6, minute}}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	defer func() {
		if err, ok := recover().(*SyntaxError); !ok || err.Offset != 2 {
			t.Errorf("panicked with %v, want a *SyntaxError at 2", err)
		}
	}()
	MustParse("5/x")
}

func TestString(t *testing.T) {
	tests := []struct {
		limit Limit
		want  string
	}{
		{Limit{5, second}, "5 per second"},
		{Limit{5, 2 * second}, "5 per 2 seconds"},
		{Limit{5, 60 * second}, "5 per minute"},
		{Limit{10, 15 * minute}, "10 per 15 minutes"},
		{Limit{100, 90 * second}, "100 per 90 seconds"},
		{Limit{1, hour}, "1 per hour"},
		{Limit{1, 36 * hour}, "1 per 36 hours"},
		{Limit{1, day}, "1 per day"},
		{Limit{1, 2 * day}, "1 per 2 days"},
		{Limit{1, 7 * day}, "1 per week"},
		{Limit{1, 28 * day}, "1 per 4 weeks"},
		{Limit{1, 30 * day}, "1 per month"},
		{Limit{1, 60 * day}, "1 per 2 months"},
		{Limit{1, 360 * day}, "1 per year"},
		{Limit{1, 365 * day}, "1 per 365 days"},
		{Limit{1, 296 * year}, "1 per 296 years"},
		{Limit{5, ms}, "5 per ms"},
		{Limit{5, 500 * ms}, "5 per 500 ms"},
		{Limit{5, 1500 * ms}, "5 per 1500 ms"},
		{Limit{5, us}, "5 per 1us"},
		{Limit{5, 1500 * us}, "5 per 1.5ms"},
		{Limit{5, 1500 * ns}, "5 per 1.5us"},
		{Limit{5, ns}, "5 per 1ns"},
		{Limit{5, hour + ns}, "5 per 1h0m0.000000001s"},
		{Limit{math.MaxInt, math.MaxInt64}, fmt.Sprintf("%d per 2562047h47m16.854775807s", math.MaxInt)},
	}
	for _, test := range tests {
		got := test.limit.String()
		if got != test.want {
			t.Errorf("%#v is %q, want %q", test.limit, got, test.want)
		}
		if back, err := Parse(got); err != nil || !cmp.Equal(back, []Limit{test.limit}) {
			t.Errorf("Parse(%q) = %#v, %v, want %#v", got, back, err, test.limit)
		}
	}

	// What cannot be parsed still says what it is.
	for limit, want := range map[Limit]string{
		{}:                         "0 per 0s",
		{5, 0}:                     "5 per 0s",
		{0, minute}:                "0 per minute",
		{-5, minute}:               "-5 per minute",
		{5, -minute}:               "5 per -1m0s",
		{5, -us}:                   "5 per -1us",
		{math.MinInt, -1 << 63}:    fmt.Sprintf("%d per -2562047h47m16.854775808s", math.MinInt),
		{math.MaxInt, -year}:       fmt.Sprintf("%d per -8640h0m0s", math.MaxInt),
		{math.MinInt, 30 * minute}: fmt.Sprintf("%d per 30 minutes", math.MinInt),
	} {
		if got := limit.String(); got != want {
			t.Errorf("%#v is %q, want %q", limit, got, want)
		}
		if back, err := Parse(want); err == nil {
			t.Errorf("Parse(%q) = %#v, want an error", want, back)
		}
	}

	for want, limits := range map[string]Limits{
		"":                            nil,
		"5 per second":                {{5, second}},
		"5 per second; 60 per minute": {{5, second}, {60, minute}},
	} {
		if got := limits.String(); got != want {
			t.Errorf("%#v is %q, want %q", limits, got, want)
		}
	}
}

// Windows near a multiple of each unit, and at the ends of the range.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		window := time.Duration(r.Uint64() >> (1 + r.IntN(63)))
		if r.IntN(2) == 0 {
			u := units[r.IntN(len(units))].window
			window = window / u * u
			window += time.Duration(r.IntN(3) - 1)
		}
		l := Limit{1 + int(r.Uint64()>>(64-strconv.IntSize+2+r.IntN(strconv.IntSize-2))), max(window, 1)}
		if back, err := Parse(l.String()); err != nil || !cmp.Equal(back, []Limit{l}) {
			t.Fatalf("%#v is %q, and back %#v, %v", l, l, back, err)
		}
	}
}

func TestSyntaxErrorError(t *testing.T) {
	long := strings.Repeat("é", 1000)
	tests := []struct {
		err  SyntaxError
		want string
	}{
		{SyntaxError{"5/x", 2, "why"}, `notation: "5/x", byte 2: why`},
		{SyntaxError{"", 0, "why"}, `notation: "", byte 0: why`},
		{SyntaxError{"5/x\n\xff", 5, "why"}, `notation: "5/x\n\xff", byte 5: why`},
		// Cut near the offset, and between characters.
		{SyntaxError{long, 0, "why"}, `notation: "` + long[:32] + `"…, byte 0: why`},
		{SyntaxError{"x" + long, 0, "why"}, `notation: "x` + long[:30] + `"…, byte 0: why`},
		{SyntaxError{long, 1000, "why"}, `notation: …"` + long[:64] + `"…, byte 1000: why`},
		{SyntaxError{long, 2000, "why"}, `notation: …"` + long[:32] + `", byte 2000: why`},
		{SyntaxError{long + "x", 2001, "why"}, `notation: …"` + long[:32] + `x", byte 2001: why`},
		{SyntaxError{strings.Repeat("\x80", 100), 50, "why"}, `notation: …"` + strings.Repeat(`\x80`, 64) + `"…, byte 50: why`},
		// Made by hand.
		{SyntaxError{"5/x", 7, "why"}, `notation: "5/x", byte 7: why`},
		{SyntaxError{"5/x", -7, "why"}, `notation: "5/x", byte -7: why`},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.err.Error()); diff != "" {
			t.Errorf("%.40q at %d (-want +got):\n%s", test.err.Input, test.err.Offset, diff)
		}
	}
}

func TestText(t *testing.T) {
	type config struct {
		One  Limit
		Many Limits
	}
	for text, want := range map[string]config{
		`{"One":"5 per minute","Many":"5 per second; 60 per minute"}`: {Limit{5, minute}, Limits{{5, second}, {60, minute}}},
		`{"One":"5 per 1.5us","Many":"1 per day"}`:                    {Limit{5, 1500 * ns}, Limits{{1, day}}},
		`{"One":"","Many":""}`:                                        {}, // the zero values, as package netip has it
	} {
		got := config{Limit{1, 1}, Limits{{1, 1}}}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if back, err := json.Marshal(want); err != nil || string(back) != text {
			t.Errorf("%#v is %s, %v, want %s", want, back, err, text)
		}
	}

	// An error leaves the value alone.
	for text, offset := range map[string]int{" ": 1, "5/x": 2, "1/s;": 3, "1/s; 2/m": 3, "1/s 2/m": 4, "1/s; 5/x": 3} {
		l := Limit{1, 1}
		var fault *SyntaxError
		if err := l.UnmarshalText([]byte(text)); !errors.As(err, &fault) || fault.Offset != offset || l != (Limit{1, 1}) {
			t.Errorf("as a Limit, %q is %v, %v, want an error at %d", text, l, err, offset)
		}
	}
	for text, offset := range map[string]int{" ": 1, "5/x": 2, "1/s;": 4, "1/s; 5/x": 7} {
		ls := Limits{{1, 1}}
		var fault *SyntaxError
		if err := ls.UnmarshalText([]byte(text)); !errors.As(err, &fault) || fault.Offset != offset || !cmp.Equal(ls, Limits{{1, 1}}) {
			t.Errorf("as Limits, %q is %v, %v, want an error at %d", text, ls, err, offset)
		}
	}
	var l Limit
	if got, want := fmt.Sprint(l.UnmarshalText([]byte("1/s; 2/m"))), `notation: "1/s; 2/m", byte 3: expected the end after one limit, found ";"`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What could not be read back is not written.
func TestMarshalTextFaults(t *testing.T) {
	count := fmt.Sprintf("out of range [1, %d]", math.MaxInt)
	tests := []struct {
		value encoding.TextMarshaler
		want  string
	}{
		{Limit{0, minute}, "notation: Count 0 is " + count},
		{Limit{-1, minute}, "notation: Count -1 is " + count},
		{Limit{1, 0}, "notation: Window 0s is out of range [1ns, 2562047h47m16.854775807s]"},
		{Limit{1, -minute}, "notation: Window -1m0s is out of range [1ns, 2562047h47m16.854775807s]"},
		{Limits{{1, 1}, {}}, "notation: Count 0 is " + count + " (limit 2 of 2)"},
	}
	for _, test := range tests {
		if text, err := test.value.MarshalText(); err == nil || err.Error() != test.want {
			t.Errorf("%#v is %q, %v, want %s", test.value, text, err, test.want)
		}
	}
}

func TestFlag(t *testing.T) {
	var limits Limits
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.TextVar(&limits, "limit", Limits{{1, second}}, "")
	if err := flags.Parse([]string{"-limit", "5/s, 60/m"}); err != nil || !cmp.Equal(limits, Limits{{5, second}, {60, minute}}) {
		t.Errorf("got %v, %v", limits, err)
	}
	if got, want := flags.Lookup("limit").DefValue, "1 per second"; got != want {
		t.Errorf("default %q, want %q", got, want)
	}
	if err := flags.Parse([]string{"-limit", "5/x"}); err == nil || !strings.Contains(err.Error(), "byte 2") {
		t.Errorf("got %v, want the error of Parse", err)
	}
}

// hostile are strings of about n bytes that parsers have been slow on, or may be.
var hostile = []struct {
	name string
	of   func(n int) string
}{
	{"count", func(n int) string { return strings.Repeat("9", n) }},
	{"zeros", func(n int) string { return strings.Repeat("0", n) + "1/s" }},
	{"multiple", func(n int) string { return "1/" + strings.Repeat("1", n) }}, // exponential in Python's expression
	{"fraction", func(n int) string { return "1/0." + strings.Repeat("1", n) + "s" }},
	{"terms", func(n int) string { return "1/" + strings.Repeat("1h", n/2) + "x" }},
	{"blanks", func(n int) string { return "1/s" + strings.Repeat(" ", n) + "x" }},
	{"blanks/per", func(n int) string { return "1" + strings.Repeat("\u3000", n/3) + "x" }},
	{"word", func(n int) string { return "1/" + strings.Repeat("S", n) }},
	{"per", func(n int) string { return "1" + strings.Repeat("per", n/3) }},
	{"limits", func(n int) string { return strings.Repeat("1/s;", n/4) }},
	{"separators", func(n int) string { return "1/s" + strings.Repeat(";", n) }},
	{"not UTF-8", func(n int) string { return "1/s" + strings.Repeat("\x80", n) }},
	{"controls", func(n int) string { return strings.Repeat("\x1f", n) }},
}

// Every byte is scanned once, in order, whatever the parser does with it: the
// tokens lie side by side, are as many as they have to be, and are asked for once.
func TestLinear(t *testing.T) {
	for _, h := range hostile {
		for _, n := range []int{100, 1 << 20} {
			s := h.of(n)
			tokens, offset := 0, 0
			p := &parser{input: s}
			scan := (&scanner{input: s}).next
			p.next = func() token {
				tok := scan()
				if tok.offset != offset || tok.text != s[offset:offset+len(tok.text)] || tok.text == "" && tok.kind != end {
					t.Fatalf("%s: token %.40q at %d, want the one at %d", h.name, tok.text, tok.offset, offset)
				}
				offset += len(tok.text)
				tokens++
				return tok
			}
			p.advance()
			limits, err := p.limits()
			if tokens > len(s)+1 {
				t.Errorf("%s: %d tokens of %d bytes", h.name, tokens, len(s))
			}
			if err == nil {
				if offset != len(s) {
					t.Errorf("%s: accepted, having looked at %d bytes of %d", h.name, offset, len(s))
				}
				continue
			}
			fault := err.(*SyntaxError)
			if limits != nil || fault.Offset < 0 || fault.Offset > offset || len(fault.Reason) > 200 || len(fault.Error()) > 600 {
				t.Errorf("%s: %v, a reason of %d bytes, an error of %d", h.name, fault, len(fault.Reason), len(fault.Error()))
			}
		}
	}
}

// A refusal costs no more memory the longer the string is, the limits and the
// durations before the fault apart.
func TestRefusalAllocates(t *testing.T) {
	for _, h := range hostile {
		switch h.name {
		case "limits", "terms", "fraction":
			continue
		}
		short, long := h.of(100), h.of(1<<20)
		few := testing.AllocsPerRun(10, func() { Parse(short) })
		if many := testing.AllocsPerRun(10, func() { Parse(long) }); many > few {
			t.Errorf("%s: %v allocations for %d bytes, %v for %d", h.name, few, len(short), many, len(long))
		}
	}
}

// FuzzParse checks what holds for every string.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "5/minute", "5 per 2 minutes; 60/h|1 per week", "5perminuteſ,7/1m30s", "5/.5h", "5/1.5µs", "5/+1m",
		"0/minute", "5/0 minutes", "5/minute:;6/hour", "9223372036854775808/s", "5/297 years", "5/1h30", "5/\xff", "5\x1c/\u3000day",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		limits, err := Parse(s)
		if err != nil {
			fault, ok := err.(*SyntaxError)
			if !ok || limits != nil || fault.Input != s || fault.Offset < 0 || fault.Offset > len(s) {
				t.Fatalf("Parse(%q) = %v, %#v", s, limits, err)
			}
			if fault.Offset < len(s) && utf8.ValidString(s) && !utf8.RuneStart(s[fault.Offset]) {
				t.Fatalf("Parse(%q): byte %d is within a character", s, fault.Offset)
			}
			if !strings.HasPrefix(fault.Error(), "notation: ") || !strings.HasPrefix(fault.Reason, "expected ") || len(fault.Reason) > 300 {
				t.Fatalf("Parse(%q): %v", s, err)
			}
			// What comes before the fault is good as far as it goes.
			if _, err := Parse(s[:fault.Offset]); err != nil && err.(*SyntaxError).Offset != fault.Offset {
				t.Fatalf("Parse(%q): %v; but without what follows: %v", s, fault, err)
			}
			return
		}
		if len(limits) == 0 {
			t.Fatalf("Parse(%q) has no limits and no error", s)
		}
		for _, l := range limits {
			if l.Count < 1 || l.Window < 1 {
				t.Fatalf("Parse(%q) has %#v", s, l)
			}
		}
		if back, err := Parse(Limits(limits).String()); err != nil || !cmp.Equal(back, limits) {
			t.Fatalf("Parse(%q) = %v, and back %v, %v", s, limits, back, err)
		}
		if upper, err := Parse(strings.Map(upper, s)); err != nil || !cmp.Equal(upper, limits) {
			t.Fatalf("Parse(%q) = %v, and in upper case %v, %v", s, limits, upper, err)
		}
	})
}

// FuzzFlaskLimiter compares with the expression that stands for what
// Flask-Limiter parses.
func FuzzFlaskLimiter(f *testing.F) {
	for _, s := range []string{
		"1/second", "1 per 3 hour; 1 per second", "1 / Second,2 per 2 DAYS|3perMonths", "5/minuteſ", "5/ſecond", "5/mınute", "5/mİnute",
		"5\x1c/\x1f\u00851 day\u2003", "007/08years", "0/day", "1/0day", "1/day:;1/day", "1/day:", "9223372036854775808/year", "1/297 years", "1/second;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := flaskLimiter(s)
		if !ok {
			return
		}
		if got, err := Parse(s); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("Parse(%q) = %v, %v, want %v", s, got, err, want)
		}
	})
}

// FuzzDuration compares with package time.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"1m30s", "1.5h", ".5s", "1.s", "+1m", "-1m", "0", "1µs", "1μs", "2562047h47m16.854775807s", "9223372036854775808ns", "1h.5m", "1d", "0.1ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := time.ParseDuration(s)
		if err != nil || d < 1 {
			return
		}
		if got, err := Parse("7/" + s); err != nil || !cmp.Equal(got, []Limit{{7, d}}) {
			t.Fatalf("Parse(%q) = %v, %v, want %v", "7/"+s, got, err, d)
		}
	})
}

func FuzzString(f *testing.F) {
	f.Add(5, int64(minute))
	f.Add(1, int64(1))
	f.Add(math.MaxInt, int64(math.MaxInt64))
	f.Add(-1, int64(math.MinInt64))
	f.Add(0, int64(0))
	f.Fuzz(func(t *testing.T, count int, window int64) {
		l := Limit{count, time.Duration(window)}
		back, err := Parse(l.String())
		if l.Count < 1 || l.Window < 1 {
			if err == nil {
				t.Fatalf("%#v is %q, which is parsed as %#v", l, l, back)
			}
		} else if err != nil || !cmp.Equal(back, []Limit{l}) {
			t.Fatalf("%#v is %q, and back %#v, %v", l, l, back, err)
		}
	})
}

// The model itself, against what that library was seen to do.
func TestFlaskLimiterModel(t *testing.T) {
	for s, want := range map[string][]Limit{
		"1/second":                   {{1, second}},
		"1 per 3 hour; 1 per second": {{1, 3 * hour}, {1, second}},
		"5\x1c/\x1f2\u0085daySſ":     nil,
		"5\x1c/\x1f2\u0085dayſ":      {{5, 2 * day}},
		"5/ſecond":                   nil,
		"5/week":                     nil,
		"0/day":                      nil,
		"1/0day":                     nil,
		"1/day:;1/day":               nil,
		"1/297 years":                nil,
		"":                           nil,
	} {
		if got, ok := flaskLimiter(s); ok != (want != nil) || !cmp.Equal(got, want) {
			t.Errorf("%q is %v, %v, want %v", s, got, ok, want)
		}
	}
}

const blank = `[\t-\r\x1c- \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]*`

var flaskLimit = regexp.MustCompile("^" + blank + "([0-9]+)" + blank + "(?:/|(?i:per))" + blank + "([0-9]*)" + blank +
	"((?i:second|minute|hour|day|month|year))(?i:s)?" + blank + "$") // folds s and ſ, as Python does

// flaskLimiter is what Flask-Limiter makes of a string, if it accepts it and it
// is none of the four exceptions.
func flaskLimiter(s string) (limits []Limit, ok bool) {
	for _, one := range regexp.MustCompile("[,;|]").Split(s, -1) {
		m := flaskLimit.FindStringSubmatch(one)
		if m == nil || !utf8.ValidString(s) {
			return nil, false
		}
		unit := map[string]time.Duration{"second": second, "minute": minute, "hour": hour, "day": day, "month": month, "year": year}[strings.ToLower(m[3])]
		count, err := strconv.Atoi(m[1])
		multiple := int64(1)
		if m[2] != "" && err == nil {
			multiple, err = strconv.ParseInt(m[2], 10, 64)
		}
		if err != nil || unit == 0 || count == 0 || multiple == 0 || multiple > math.MaxInt64/int64(unit) {
			return nil, false
		}
		limits = append(limits, Limit{count, time.Duration(multiple) * unit})
	}
	return limits, true
}

func upper(r rune) rune {
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A'
	}
	return r
}
