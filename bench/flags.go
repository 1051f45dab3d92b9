package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags, checked.
type options struct {
	settings
	strategies []strategy
	traces     []string // names of built-in ones
	log        string   // a file, - for stdin, or "" for none
	report     string   // a file, or "" for none
	cost       bool
	goals      bool
	json       bool
	seed       uint64
	plan       costPlan
	redis      string    // a server, or "" for none
	keyed      keyedPlan // of no keys to leave it out
}

const (
	maxLimit      = 100_000
	minKeys       = 1000
	maxKeys       = 10_000_000
	minWindow     = time.Millisecond
	maxWindow     = 30 * day
	defaultReport = "ratelimit-report.html"
)

// parseFlags reads the command line. Every error names the flag, the value and
// what it may be.
func parseFlags(args []string) (options, error) {
	o := options{
		settings:   settings{Limit: 10, Window: time.Second},
		strategies: strategies,
		report:     defaultReport,
		cost:       true,
		seed:       1,
		plan:       fullPlan,
		keyed:      fullKeyedPlan,
	}
	for _, g := range generators {
		o.traces = append(o.traces, g.name)
	}

	keys := -1
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints the error, and usage the help
	fs.Func("limit", "", wholeNumber(&o.Limit, 1))
	fs.Func("burst", "", wholeNumber(&o.Burst, 0))
	fs.Func("window", "", func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < minWindow || d > maxWindow {
			return fmt.Errorf("want a duration from %s to %s, such as 500ms, 1m or 24h", short(minWindow), short(maxWindow))
		}
		o.Window = d
		return nil
	})
	fs.Func("strategies", "", func(text string) error {
		names, err := chooseFrom(text, strategyNames())
		o.strategies = nil
		for _, name := range names {
			s, _ := findStrategy(name)
			o.strategies = append(o.strategies, s)
		}
		return err
	})
	fs.Func("traces", "", func(text string) (err error) {
		o.traces, err = chooseFrom(text, traceNames())
		return err
	})
	fs.Func("seed", "", func(text string) (err error) {
		if o.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("want a whole number from 0 to %d", uint64(1<<64-1))
		}
		return nil
	})
	fs.StringVar(&o.log, "log", "", "")
	fs.StringVar(&o.report, "o", o.report, "")
	fs.Func("keys", "", func(text string) (err error) {
		keys, err = strconv.Atoi(text)
		if err != nil || keys != 0 && (keys < minKeys || keys > maxKeys) {
			return fmt.Errorf("want a whole number from %d to %d, or 0 for none", minKeys, maxKeys)
		}
		return nil
	})
	fs.BoolVar(&o.cost, "cost", true, "")
	fs.BoolVar(&o.goals, "goals", false, "")
	fs.BoolVar(&o.json, "json", false, "")
	fs.StringVar(&o.redis, "redis", "", "")
	fs.BoolFunc("quick", "", func(text string) error {
		quick, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("want true or false")
		}
		o.plan, o.keyed = fullPlan, fullKeyedPlan
		if quick {
			o.plan, o.keyed = quickPlan, quickKeyedPlan
		}
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: there are only flags, and a log is given with -log %s", fs.Arg(0), fs.Arg(0))
	}

	if keys >= 0 {
		o.keyed.keys, o.keyed.grow = keys, 10*keys
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["log"] && o.log == "":
		return o, errors.New(`invalid value "" for flag -log: want a file, or - for standard input`)
	case given["o"] && o.report == "":
		return o, errors.New(`invalid value "" for flag -o: want a file, or none`)
	case given["redis"] && o.redis == "":
		return o, errors.New(`invalid value "" for flag -redis: want a server's host:port`)
	case strings.Contains(o.redis, "/"):
		return o, fmt.Errorf("invalid value %q for flag -redis: want a server's host:port", o.redis)
	case o.redis != "" && (o.goals || o.json || given["log"] || given["traces"] || given["o"]):
		return o, errors.New("-redis measures decisions on a server alone: it goes with none of -goals, -json, -log, -traces and -o")
	case o.goals && !o.cost:
		return o, errors.New("-goals and -cost=false: the goals are about cost")
	case o.goals && (given["log"] || given["traces"]):
		return o, errors.New("-goals measures cost alone: it goes with neither -log nor -traces")
	}
	if o.log != "" {
		// Web logs count in seconds, and people limit them by the minute.
		if !given["window"] {
			o.Window = time.Minute
		}
		if !given["traces"] {
			o.traces = nil
		}
	}
	if o.report == "none" || o.goals || o.json && !given["o"] {
		o.report = ""
	}
	if o.Burst == 0 {
		o.Burst = o.Limit
	}
	return o, nil
}

// chosen reports whether a strategy is one of those asked for.
func (o options) chosen(name string) bool {
	return slices.ContainsFunc(o.strategies, func(s strategy) bool { return s.name == name })
}

// wholeNumber parses into n a number from lowest to maxLimit.
func wholeNumber(n *int, lowest int) func(string) error {
	return func(text string) (err error) {
		if *n, err = strconv.Atoi(text); err != nil || *n < lowest || *n > maxLimit {
			return fmt.Errorf("want a whole number from %d to %d", lowest, maxLimit)
		}
		return nil
	}
}

// chooseFrom splits a list at its commas, and checks that each name is known
// and given once.
func chooseFrom(text string, known []string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) || slices.Contains(names, name) {
			return nil, fmt.Errorf("%q: want some of %s, each once, with commas between them", name, strings.Join(known, ", "))
		}
		names = append(names, name)
	}
	return names, nil
}

func strategyNames() (names []string) {
	for _, s := range strategies {
		names = append(names, s.name)
	}
	return names
}

func traceNames() (names []string) {
	for _, g := range generators {
		names = append(names, g.name)
	}
	return names
}

// strategyHelp says what each strategy admits.
func strategyHelp() string {
	var b strings.Builder
	b.WriteString("The strategies, and what they admit\n")
	for _, s := range strategies {
		fmt.Fprintf(&b, "  %-15s %s\n", s.name, s.about)
	}
	return b.String()
}

// usage is what -h prints.
func usage() string {
	var b strings.Builder
	fmt.Fprintf(&b, `bench compares rate limiting strategies: what a decision costs, and what each would
do to your traffic. It prints tables and writes a report with pictures.

  go run ./bench                                  everything, in about a minute
  go run ./bench -quick                           the same in a few seconds, less exact
  go run ./bench -log access.log.gz               replay a web server's log, one limiter
                                                  per client address, 10 per minute
  go run ./bench -log - -limit 100 -cost=false    only replay, a log from standard input
  go run ./bench -limit 5 -window 10s -traces edge,bursts -strategies fixedwindow,slidinglog
  go run ./bench -goals                           the cost goals, and which are met
  go run ./bench -redis localhost:6379            what decisions cost on a Redis server

What to limit
  -limit n        events per window, 1 to %[1]d (10)
  -window d       the window, %[2]s to %[3]s (1s; with -log 1m)
  -burst n        what the token bucket keeps and the leaky bucket holds,
                  0 to %[1]d; 0 means the limit (0)

What to compare
  -strategies s   some of %[4]s (all)
  -traces t       some of %[5]s; a built-in trace is %[6]d windows
                  long (all; with -log none)
  -log file       an access log in Common or Combined Log Format, plain or gzip; - is
                  standard input
  -seed n         of the random traces and the order of measuring (1)
  -cost=false     do not measure cost
  -keys n         measure limiters per key with so many keys, %[11]d to %[12]d, and the
                  growth to ten times as many; 0 measures none (%[13]d)

%[10]s
What to get
  -o file         the report (%[7]s); none writes none
  -json           print all figures as JSON instead of tables
  -quick          measure cost for %[8]s instead of %[9]s, and fewer keys
  -goals          only measure the strategies' cost and compare it with its goals
  -redis addr     only measure decisions on the Redis or Valkey server at host:port

Exit status: 0, 1 if something went wrong, 2 for wrong flags.
`, maxLimit, short(minWindow), short(maxWindow), strings.Join(strategyNames(), ", "), strings.Join(traceNames(), ", "),
		traceWindows, defaultReport, short(quickPlan.budget), short(fullPlan.budget), strategyHelp(),
		minKeys, maxKeys, fullKeyedPlan.keys)
	return b.String()
}
