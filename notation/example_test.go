package notation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ratekeep/ratelimit"
	"github.com/ratekeep/ratelimit/clock"
	"github.com/ratekeep/ratelimit/notation"
	"github.com/ratekeep/ratelimit/tokenbucket"
)

func Example() {
	limits, err := notation.Parse("5/second; 60 per minute; 2500 per 24h")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range limits {
		fmt.Printf("%d in %v: %v\n", l.Count, l.Window, l)
	}
	// Output:
	// 5 in 1s: 5 per second
	// 60 in 1m0s: 60 per minute
	// 2500 in 24h0m0s: 2500 per day
}

// One limiter for all that is written in a string.
func ExampleParse() {
	limits, err := notation.Parse("3/second, 5/minute")
	if err != nil {
		fmt.Println(err)
		return
	}
	fake := clock.NewFake() // leave Clock out for real time
	var limiters []ratelimit.Limiter
	for _, l := range limits {
		limiter, err := tokenbucket.New(tokenbucket.Config{Limit: l.Count, Window: l.Window, Clock: fake})
		if err != nil {
			fmt.Println(err) // a rate that the algorithm is not made for
			return
		}
		limiters = append(limiters, limiter)
	}
	all := ratelimit.All(limiters...)
	fmt.Println(all.AllowN(3), all.AllowN(1))
	// Output:
	// true false
}

// A caret under the fault: it is as many characters in as there are before the
// Offset.
func ExampleSyntaxError() {
	_, err := notation.Parse("5/second; 60 per mintue")
	var fault *notation.SyntaxError
	if errors.As(err, &fault) {
		column := utf8.RuneCountInString(fault.Input[:fault.Offset])
		fmt.Println(fault.Input)
		fmt.Println(strings.Repeat(" ", column) + "^")
		fmt.Println(fault.Reason)
	}
	// Output:
	// 5/second; 60 per mintue
	//                  ^
	// expected a unit (second, minute, hour, day, week, month, year; ms, s, sec, m, min, h, hr, d, w), found "mintue"
}

// In a configuration file, limits are a string.
func ExampleLimits() {
	var config struct {
		Login  notation.Limits
		Export notation.Limit
	}
	err := json.Unmarshal([]byte(`{"Login": "5/m, 20/h", "Export": "1/90s"}`), &config)
	fmt.Println(err, config.Login[1].Window, config.Export.Window)

	text, err := json.Marshal(config)
	fmt.Println(err, string(text))
	// Output:
	// <nil> 1h0m0s 1m30s
	// <nil> {"Login":"5 per minute; 20 per hour","Export":"1 per 90 seconds"}
}
