package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const common = `192.0.2.7 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`

func TestParseLine(t *testing.T) {
	at := time.Date(2000, 10, 10, 20, 55, 36, 0, time.UTC)
	plain := entry{"192.0.2.7", "-", "frank", at, "GET /apache_pb.gif HTTP/1.0", "200", "2326", ""}
	with := func(change func(*entry)) entry {
		e := plain
		change(&e)
		return e
	}
	for _, tt := range []struct {
		name, line string
		want       entry
	}{
		{"common", common, plain},
		{"combined", common + ` "http://example.com/" "Mozilla/4.08 [en] (Win98; I)"`,
			with(func(e *entry) { e.rest = `"http://example.com/" "Mozilla/4.08 [en] (Win98; I)"` })},
		{"escaped quotes", strings.Replace(common, "GET /apache_pb.gif", `GET /a\"b\\`, 1),
			with(func(e *entry) { e.request = `GET /a\"b\\ HTTP/1.0` })},
		{"no size", strings.Replace(common, "2326", "-", 1), with(func(e *entry) { e.size = "-" })},
		{"empty request", strings.Replace(common, plain.request, "", 1), with(func(e *entry) { e.request = "" })},
		{"IPv6", strings.Replace(common, "192.0.2.7", "2001:db8::1", 1), with(func(e *entry) { e.host = "2001:db8::1" })},
		{"host name", strings.Replace(common, "192.0.2.7", "gw.Example.com", 1), with(func(e *entry) { e.host = "gw.Example.com" })},
		{"zone of half an hour", strings.Replace(common, "13:55:36 -0700", "02:25:36 +0530", 1),
			with(func(e *entry) { e.time = at.Add(-24 * time.Hour) })},
		{"fraction of a second", strings.Replace(common, ":36 ", ":36.250 ", 1),
			with(func(e *entry) { e.time = at.Add(250 * time.Millisecond) })},
	} {
		got, err := parseLine(tt.line)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

func TestParseLineErrors(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"", "no host"},
		{"192.0.2.7", "no host"},
		{"192.0.2.7 - ", "no user"},
		{"192.0.2.7 [10/Oct/2000:13:55:36 -0700] x", "no identity"},
		{"example.com:80 " + common, "no [time]"}, // a host of the server's own before the client
		{"192.0.2.7 - - 10/Oct/2000", "no [time]"},
		{"192.0.2.7 - - [10/Oct/2000:13:55:36 -0700", "no ]"},
		{strings.Replace(common, "10/Oct", "32/Oct", 1), "time \"32/Oct/2000:13:55:36 -0700\""},
		{strings.Replace(common, "-0700", "PDT", 1), "is not like"},
		{strings.Replace(common, "2000:13", "1066:13", 1), "is not in the years"},
		{strings.Replace(common, `"GET`, `GET`, 1), "no quoted request"},
		{`192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0`, "no quote at the end"},
		{`192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0\"`, "no quote at the end"},
		{`192.0.2.7 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0"`, "no status"},
		{strings.Replace(common, " 200 ", " 20 ", 1), `status "20"`},
		{strings.Replace(common, " 2326", "", 1), `size ""`},
		{strings.Replace(common, " 2326", " x", 1), `size "x"`},
	} {
		if _, err := parseLine(tt.line); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parseLine(%q): %v, want an error with %q", tt.line, err, tt.want)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(common)
	f.Add(common + ` "-" "curl/8"`)
	f.Add(`::1 - - [01/Jan/1970:00:00:00 +0000] "\"" - -`)
	f.Add(`a b c [29/Feb/2024:23:59:59.999999999 -1200] "" 404 0 `)
	f.Add(`a b c [] "" 1 2`)
	f.Fuzz(func(t *testing.T, line string) {
		e, err := parseLine(line)
		if err != nil {
			return
		}
		again, err := parseLine(e.String())
		if err != nil || again != e {
			t.Errorf("%q parses to %+v, which is written %q and parses to %+v, %v", line, e, e, again, err)
		}
		if e.client() == "" {
			t.Errorf("%q has no client", line)
		}
	})
}

func TestClient(t *testing.T) {
	for _, tt := range []struct{ a, b string }{
		{"2001:db8::1", "2001:DB8:0:0:0:0:0:1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"::ffff:192.0.2.7", "192.0.2.7"},
		{"Gateway.Example.COM", "gateway.example.com"},
	} {
		if a, b := (entry{host: tt.a}).client(), (entry{host: tt.b}).client(); a != b {
			t.Errorf("%s is client %s, %s is client %s; want one", tt.a, a, tt.b, b)
		}
	}
}

// logOf makes a log of requests at those seconds after noon, by clients a, b, …
func logOf(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func line(host, clock string) string {
	return host + ` - - [17/May/2015:` + clock + ` +0000] "GET / HTTP/1.1" 200 5`
}

func compressed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestParseLog(t *testing.T) {
	text := logOf(
		line("b", "10:00:02"),
		"",
		"not a line of a log",
		line("a", "10:00:01"),
		line("c", "10:00:02")+"\r",
		"nor is this",
		line("d", "10:00:02"),
	)
	check := func(name string, content []byte) {
		l, err := parseLog(bytes.NewReader(content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		var order []string
		for _, r := range l.requests {
			order = append(order, l.clients[r.client])
		}
		if want := []string{"a", "b", "c", "d"}; !slices.Equal(order, want) {
			t.Errorf("%s: clients in order of time %v, want %v", name, order, want)
		}
		if l.Requests != 4 || l.Clients != 4 || l.Lines != 6 || l.Unparsed != 2 || l.BadLine != 3 || l.BadCause == "" {
			t.Errorf("%s: %+v", name, *l)
		}
	}
	check("plain", []byte(text))
	check("without a last line ending", []byte(strings.TrimSuffix(text, "\n")))
	check("gzip", compressed(t, text))
	half := strings.Index(text, "nor")
	check("two gzips in a row", append(compressed(t, text[:half]), compressed(t, text[half:])...))
}

func TestParseLogErrors(t *testing.T) {
	whole := compressed(t, strings.Repeat(line("a", "10:00:00")+"\n", 100))
	for _, tt := range []struct {
		name, content, want string
	}{
		{"empty", "", "no lines"},
		{"blank", "\n \r\n", "no lines"},
		{"empty gzip", string(compressed(t, "")), "no lines"},
		{"something else", "hello\nworld\n", "none of its 2 lines is in Common or Combined Log Format; line 1: no host"},
		{"binary", "\x00\x01\x02\xff", "none of its 1 lines"},
		{"truncated gzip", string(whole[:len(whole)-9]), "gzip ends too early"},
		{"only the head of a gzip", string(whole[:5]), "damaged gzip"},
		{"damaged gzip", string(whole[:20]) + "xxxx" + string(whole[24:]), "line "},
		{"too long a span", logOf(line("a", "10:00:00"), strings.Replace(line("a", "10:00:00"), "2015", "1990", 1)), "1990-05-17 to 2015-05-17"},
	} {
		if _, err := parseLog(strings.NewReader(tt.content)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestLongLines(t *testing.T) {
	long := line("a", "10:00:00") + ` "-" "` + strings.Repeat("x", 200_000) + `"`
	tooLong := line("a", "10:00:00") + ` "-" "` + strings.Repeat("x", maxLine) + `"`
	exact := line("a", "10:00:00") + " "
	exact += strings.Repeat("x", maxLine-len(exact))
	l, err := parseLog(strings.NewReader(logOf(long, tooLong, exact+"\r", line("b", "10:00:01"))))
	if err != nil {
		t.Fatal(err)
	}
	if l.Requests != 3 || l.Unparsed != 1 || l.BadLine != 2 || !strings.Contains(l.BadCause, "longer than") {
		t.Errorf("%d requests, %d unparsed, line %d: %s", l.Requests, l.Unparsed, l.BadLine, l.BadCause)
	}
}

func TestReadLog(t *testing.T) {
	dir := t.TempDir()
	if _, err := readLog(filepath.Join(dir, "none"), nil); err == nil {
		t.Error("a file that is not there is no error")
	}
	if _, err := readLog(dir, nil); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v, want an error that names it", err)
	}
	file := filepath.Join(dir, "log.txt") // gzip by content, whatever the name
	if err := os.WriteFile(file, compressed(t, line("a", "10:00:00")), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := readLog(file, nil); err != nil || l.Requests != 1 {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := readLog("-", strings.NewReader(line("a", "10:00:00"))); err != nil || l.Requests != 1 {
		t.Errorf("standard input: %+v, %v", l, err)
	}
}

// TestLogTrace: a window of a replayed log begins where it began on the wall
// clock.
func TestLogTrace(t *testing.T) {
	l, err := parseLog(strings.NewReader(logOf(line("a", "10:00:59"), line("b", "10:01:00"))))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := findStrategy("fixedwindow")
	set := settings{Limit: 1, Window: time.Minute, Burst: 1}
	tr := l.trace(set)
	if got := tr.events[1].at % time.Minute; got != 0 {
		t.Errorf("the full minute is at %v into a window", got)
	}
	tr.clients, tr.events[1].client = []string{"a"}, 0
	if b, err := replay(tr, s, set); err != nil || b.Admitted != 2 {
		t.Errorf("admitted %d, %v; want both, the second in a new window", b.Admitted, err)
	}
}
