// Command bench compares the rate limiting strategies of this repository: what
// a decision costs, beside other Go limiters and beside what no limiter can be
// below, and what each strategy would do to given traffic.
//
//	go run ./bench                        # everything, in about a minute
//	go run ./bench -log access.log.gz     # what would happen to my clients?
//	go run ./bench -goals                 # the cost goals, and which are met
//
// It prints tables, and writes a report with pictures that stands alone.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Results are all figures of a run; with -json they are what is printed.
type results struct {
	Machine   machine     `json:"machine"`
	Settings  settings    `json:"settings"`
	Seed      uint64      `json:"seed"`
	Cost      *cost       `json:"cost,omitempty"`
	Goals     []goal      `json:"goals,omitempty"`
	Keyed     *keyedCost  `json:"keyed,omitempty"`
	HTTP      *httpCost   `json:"http,omitempty"`
	Log       *accessLog  `json:"log,omitempty"`
	Behaviour []behaviour `json:"behaviour,omitempty"`
	Advice    []advice    `json:"advice,omitempty"`

	traces []trace
}

// run is the command: it returns the exit status, 2 for a wrong use of the flags
// and 1 for what else went wrong.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage())
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\nbench: -h explains the flags\n", err)
		return 2
	}
	if err := opts.run(stdin, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

func (o options) run(stdin io.Reader, stdout, stderr io.Writer) error {
	if o.redis != "" {
		return o.measureRedis(stdout, stderr)
	}
	// Whatever can fail because of what the user named fails now, not after half
	// a minute of measuring.
	if err := o.tryStrategies(); err != nil {
		return err
	}
	res := results{Machine: thisMachine(), Settings: o.settings, Seed: o.seed}
	if o.log != "" {
		var err error
		if res.Log, err = readLog(o.log, stdin); err != nil {
			return err
		}
		res.traces = append(res.traces, res.Log.trace(o.settings))
	}
	var report *os.File
	if o.report != "" {
		f, err := os.OpenFile(o.report, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("-o: %w", err)
		}
		defer f.Close()
		report = f
	}

	if o.cost {
		if err := o.measure(&res, stderr); err != nil {
			return err
		}
	}
	if !o.goals {
		for _, name := range o.traces {
			t, _ := generate(name, o.settings, o.seed)
			res.traces = append(res.traces, t)
		}
		bar := newProgress(stderr, "replaying traces", len(res.traces)*len(o.strategies))
		var err error
		done := 0
		res.Behaviour, err = replayAll(res.traces, o.strategies, o.settings, func() { done++; bar.set(done) })
		bar.clear()
		if err != nil {
			return err
		}
		res.Advice = advise(&res)
	}

	if report != nil {
		page, err := render(&res)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := replaceContent(report, page); err != nil {
			return fmt.Errorf("-o: %w", err)
		}
	}
	var out bytes.Buffer
	if o.json {
		enc := json.NewEncoder(&out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(&res); err != nil {
			return err
		}
	} else {
		printResults(&out, &res, o)
	}
	_, err := stdout.Write(out.Bytes())
	return err
}

// tryStrategies builds each strategy once, because New knows best which
// settings it can keep.
func (o options) tryStrategies() error {
	for _, s := range o.strategies {
		if _, err := s.build(o.settings, nil); err != nil {
			return err
		}
	}
	return nil
}

func (o options) measure(res *results, stderr io.Writer) error {
	var impls []impl
	for _, im := range implementations() {
		peer := !im.ours && (!o.goals || im.name == goalPeer)
		if peer || o.chosen(im.name) {
			impls = append(impls, im)
		}
	}
	const steps = 1000
	bar := newProgress(stderr, "measuring cost", steps)
	var err error
	res.Cost, err = measureCost(impls, o.plan, o.seed, func(fraction float64) { bar.set(int(fraction * steps)) })
	bar.clear()
	if err != nil {
		return err
	}
	res.Goals = res.Cost.goals(o.strategies)
	if !o.goals {
		bar = newProgress(stderr, "measuring middlewares", steps)
		res.HTTP, err = measureHTTP(o.plan, o.seed, func(fraction float64) { bar.set(int(fraction * steps)) })
		bar.clear()
		if err != nil {
			return err
		}
	}
	if o.keyed.keys == 0 {
		return nil
	}
	bar = newProgress(stderr, "measuring limiters per key", steps)
	res.Keyed, err = measureKeyed(o.keyed, o.seed, func(fraction float64) { bar.set(int(fraction * steps)) })
	bar.clear()
	return err
}

// replaceContent makes page all that is in the file.
func replaceContent(f *os.File, page []byte) error {
	// A file that cannot be truncated, such as a pipe, has nothing to lose.
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	if _, err := f.Write(page); err != nil {
		return err
	}
	return f.Close()
}

// The plans of a full run and of a quick one.
var (
	fullPlan  = costPlan{budget: 24 * time.Second, slice: 6 * time.Millisecond}
	quickPlan = costPlan{budget: 5 * time.Second, slice: 3 * time.Millisecond}

	fullKeyedPlan  = keyedPlan{keys: 1_000_000, rounds: 11, slice: 15 * time.Millisecond, grow: 10_000_000}
	quickKeyedPlan = keyedPlan{keys: 20_000, rounds: 7, slice: 5 * time.Millisecond, grow: 200_000}
)
