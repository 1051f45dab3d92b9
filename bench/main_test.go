package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// runCommand runs the command as main does.
func runCommand(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

func TestBadFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string // in the message
	}{
		{[]string{"-limit", "0"}, []string{"-limit", `"0"`, "1 to 100000"}},
		{[]string{"-limit", "many"}, []string{"-limit", `"many"`, "1 to 100000"}},
		{[]string{"-limit", "9999999999999999999"}, []string{"-limit", "1 to 100000"}},
		{[]string{"-burst", "-1"}, []string{"-burst", `"-1"`, "0 to 100000"}},
		{[]string{"-window", "0"}, []string{"-window", `"0"`, "1ms to 720h"}},
		{[]string{"-window", "10"}, []string{"-window", `"10"`, "1ms to 720h"}},
		{[]string{"-window", "721h"}, []string{"-window", "1ms to 720h"}},
		{[]string{"-strategies", "tokenbucket,magic"}, []string{"-strategies", `"magic"`, "slidinglog"}},
		{[]string{"-strategies", ""}, []string{"-strategies", `""`}},
		{[]string{"-traces", "edge,edge"}, []string{"-traces", `"edge"`, "once"}},
		{[]string{"-seed", "-1"}, []string{"-seed", `"-1"`, "0 to 18446744073709551615"}},
		{[]string{"-quick=maybe"}, []string{"-quick", `"maybe"`, "true or false"}},
		{[]string{"-log", ""}, []string{"-log", "a file"}},
		{[]string{"-o", ""}, []string{"-o", "a file"}},
		{[]string{"-nonsense"}, []string{"-nonsense"}},
		{[]string{"access.log"}, []string{`"access.log"`, "-log"}},
		{[]string{"-goals", "-cost=false"}, []string{"-goals", "-cost"}},
		{[]string{"-goals", "-log", "x"}, []string{"-goals", "-log"}},
		{[]string{"-redis", ""}, []string{"-redis", "host:port"}},
		{[]string{"-redis", "redis://localhost:6379"}, []string{"-redis", `"redis://localhost:6379"`, "host:port"}},
		{[]string{"-redis", "localhost:6379", "-goals"}, []string{"-redis", "-goals"}},
	} {
		status, stdout, stderr := runCommand(t, "", tt.args...)
		if status != 2 || stdout != "" {
			t.Errorf("%q: status %d, want 2; printed %q", tt.args, status, stdout)
		}
		for _, want := range tt.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q: %q does not name %s", tt.args, stderr, want)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, tt := range []struct {
		args           []string
		limit, burst   int
		window         time.Duration
		traces         int
		report, reason string
	}{
		{nil, 10, 10, time.Second, 4, defaultReport, "everything"},
		{[]string{"-log", "x"}, 10, 10, time.Minute, 0, defaultReport, "a log is limited by the minute, and replayed alone"},
		{[]string{"-log", "x", "-window", "1s", "-traces", "edge"}, 10, 10, time.Second, 1, defaultReport, "what is given stands"},
		{[]string{"-limit", "5"}, 5, 5, time.Second, 4, defaultReport, "the burst is the limit"},
		{[]string{"-burst", "3", "-o", "none"}, 10, 3, time.Second, 4, "", "no report"},
		{[]string{"-goals"}, 10, 10, time.Second, 4, "", "the goals have no report"},
	} {
		o, err := parseFlags(tt.args)
		if err != nil || o.Limit != tt.limit || o.Burst != tt.burst || o.Window != tt.window || len(o.traces) != tt.traces || o.report != tt.report {
			t.Errorf("%q: %+v, %v; %s", tt.args, o, err, tt.reason)
		}
	}
}

func TestHelp(t *testing.T) {
	status, stdout, stderr := runCommand(t, "", "-h")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, %q", status, stderr)
	}
	for _, name := range []string{"-limit", "-window", "-burst", "-strategies", "-traces", "-log", "-seed", "-cost", "-o", "-json", "-quick", "-goals", "-keys", "-redis"} {
		if !strings.Contains(stdout, "\n  "+name) {
			t.Errorf("the help does not explain %s", name)
		}
	}
	for line := range strings.Lines(stdout) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 100 {
			t.Errorf("%d characters wide: %s", n, line)
		}
	}
}

// The whole command, as briefly as it can be measured.
func TestRun(t *testing.T) {
	quickPlan = costPlan{budget: time.Nanosecond}
	quickKeyedPlan = keyedPlan{keys: 2000, rounds: 1, slice: time.Millisecond, grow: 20_000}
	dir := t.TempDir()
	report := filepath.Join(dir, "r.html")
	status, stdout, stderr := runCommand(t, "", "-quick", "-o", report)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range append(append(strategyNames(), traceNames()...), floorRead, floorCAS, "x/time/rate", keyedFloor, keyedPeer, "Growth", "Which one", report) {
		if !strings.Contains(stdout, want) {
			t.Errorf("the tables do not mention %s", want)
		}
	}
	for line := range strings.Lines(stdout) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 && !strings.Contains(line, dir) {
			t.Errorf("%d characters wide: %s", n, line)
		}
	}
	page, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	checkStandsAlone(t, page)
	if n := bytes.Count(page, []byte("<svg")); n != 8 {
		t.Errorf("%d pictures, want one for each of 4 traces, the edge, 2 of cost and one of growth", n)
	}
}

// checkStandsAlone looks for whatever makes a browser fetch something.
func checkStandsAlone(t *testing.T, page []byte) {
	t.Helper()
	fetches := regexp.MustCompile(`(?i)\b(https?|ftp|file):|//\w|\b(src|href|srcset|action|data)\s*=|url\(|@import|<script|<link|<iframe`)
	if found := fetches.Find(page); found != nil {
		t.Errorf("the report refers to something outside: %q", found)
	}
}

func TestGoalsCommand(t *testing.T) {
	quickPlan = costPlan{budget: time.Nanosecond}
	status, stdout, stderr := runCommand(t, "", "-goals", "-quick")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"≤ 1.15, log 1.40", "≤ 1.08", "≥ 2.20", "coarse clock"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%s is missing:\n%s", want, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 120 {
			t.Errorf("%d characters wide: %s", n, line)
		}
	}
}

func TestJSON(t *testing.T) {
	quickPlan = costPlan{budget: time.Nanosecond}
	status, stdout, stderr := runCommand(t, "", "-quick", "-json", "-o", "none", "-strategies", "fixedwindow,slidinglog", "-traces", "edge", "-seed", "7")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var got results
	dec := json.NewDecoder(strings.NewReader(stdout))
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if dec.More() {
		t.Error("there is more than one value")
	}
	if got.Machine.Go == "" || got.Machine.Cores < 1 || got.Settings.Window != time.Second || got.Seed != 7 {
		t.Errorf("%+v, %+v, seed %d", got.Machine, got.Settings, got.Seed)
	}
	if len(got.Behaviour) != 2 || got.Behaviour[0].MostInWindow != 20 || got.Behaviour[1].MostInWindow != 10 {
		t.Errorf("behaviour: %+v", got.Behaviour)
	}
	if got.Cost == nil || len(got.Cost.Rows) == 0 || got.Cost.Rows[0].NS <= 0 || len(got.Goals) == 0 {
		t.Errorf("no cost, or no goals")
	}
}

func TestLogFromStandardInput(t *testing.T) {
	var log strings.Builder
	for range 15 {
		log.WriteString(line("192.0.2.1", "10:00:00") + "\n")
		log.WriteString(line("<b>evil</b>", "10:00:30") + ` "http://example.com/" "curl"` + "\n")
	}
	log.WriteString("damaged\n")
	report := filepath.Join(t.TempDir(), "r.html")
	if err := os.WriteFile(report, bytes.Repeat([]byte("stale "), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runCommand(t, log.String(), "-log", "-", "-cost=false", "-o", report)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	for _, want := range []string{"30 requests by 2 clients", "1 line of 31 did not parse", "line 31", "10 of 10"} {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
			t.Errorf("%q is missing:\n%s", want, stdout)
		}
	}
	page, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	checkStandsAlone(t, page)
	if bytes.Contains(page, []byte("<b>evil")) {
		t.Error("a client's name is markup in the report")
	}
	if bytes.Contains(page, []byte("stale ")) || !bytes.HasSuffix(bytes.TrimSpace(page), []byte("</html>")) {
		t.Error("the old report shows through the new one")
	}
}

func TestRuntimeErrors(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-log", filepath.Join(dir, "none")}, "none"},
		{[]string{"-log", dir}, dir},
		{[]string{"-log", "-"}, "no lines"},
		{[]string{"-o", filepath.Join(dir, "no", "r.html")}, "-o: "},
		{[]string{"-o", dir}, "-o: "},
	} {
		status, stdout, stderr := runCommand(t, "", tt.args...)
		if status != 1 || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: status %d, %q; want 1 and %q", tt.args, status, stderr, tt.want)
		}
	}
	var errs bytes.Buffer
	if status := run([]string{"-cost=false", "-o", "none"}, nil, brokenWriter{}, &errs); status != 1 || !strings.Contains(errs.String(), "disk full") {
		t.Errorf("output that cannot be written: status %d, %q", status, errs.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                           "0s",
		999:                         "999ns",
		1234567:                     "1.23ms",
		33333333:                    "33.3ms",
		time.Second:                 "1s",
		1500 * time.Millisecond:     "1.5s",
		time.Minute:                 "1m",
		90 * time.Second:            "1m30s",
		time.Hour:                   "1h",
		90 * time.Minute:            "1h30m",
		maxWindow:                   "720h",
		20 * time.Minute:            "20m",
		999999 * time.Microsecond:   "1s",
		100*time.Second + 123456789: "1m40s",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%d) = %s, want %s", d, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	if got, want := wrap("a bc  def ghij k", 6), "a bc\ndef\nghij k"; got != want {
		t.Errorf("wrap = %q, want %q", got, want)
	}
}
