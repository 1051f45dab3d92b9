package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// An entry is one line of an access log in Common Log Format, or in Combined Log
// Format, which adds two fields at the end. The text of a field is kept as it
// is written, escapes included.
type entry struct {
	host, ident, user string
	time              time.Time // in UTC
	request           string
	status, size      string
	rest              string // what comes after the size: for Combined, referer and agent with their quotes
}

// String is the line that parses to e.
func (e entry) String() string {
	line := fmt.Sprintf("%s %s %s [%s] \"%s\" %s %s",
		e.host, e.ident, e.user, e.time.Format("02/Jan/2006:15:04:05.999999999 -0700"), e.request, e.status, e.size)
	if e.rest != "" {
		line += " " + e.rest
	}
	return line
}

// client is the name of the limiter that e goes to: the address, written in one
// way only, or the host's name in lower case.
func (e entry) client() string {
	if addr, err := netip.ParseAddr(strings.Trim(e.host, "[]")); err == nil {
		return addr.Unmap().String()
	}
	return strings.ToLower(e.host)
}

// The years that a log's time may lie in. The clock of a limiter counts from its
// own start, so it is the span that matters, but a year outside these is a
// damaged line.
const minYear, maxYear = 1970, 2200

// parseLine parses one line, without its line ending.
func parseLine(line string) (entry, error) {
	var e entry
	var ok bool
	for _, field := range []struct {
		name string
		text *string
	}{{"host", &e.host}, {"identity", &e.ident}, {"user", &e.user}} {
		if *field.text, line, ok = strings.Cut(line, " "); !ok || *field.text == "" || (*field.text)[0] == '[' {
			return entry{}, fmt.Errorf("no %s where one was expected", field.name)
		}
	}

	if !strings.HasPrefix(line, "[") {
		return entry{}, errors.New("no [time] after host, identity and user")
	}
	stamp, line, ok := strings.Cut(line[1:], "]")
	if !ok {
		return entry{}, errors.New("no ] after the time")
	}
	t, err := time.ParseInLocation("02/Jan/2006:15:04:05 -0700", stamp, time.UTC)
	if err != nil {
		return entry{}, fmt.Errorf("time %q is not like 17/May/2015:10:05:03 +0000", stamp)
	}
	e.time = t.UTC()
	if y := e.time.Year(); y < minYear || y > maxYear {
		return entry{}, fmt.Errorf("time %q is not in the years %d to %d", stamp, minYear, maxYear)
	}

	if !strings.HasPrefix(line, ` "`) {
		return entry{}, errors.New("no quoted request after the time")
	}
	if e.request, line, ok = cutQuoted(line[2:]); !ok {
		return entry{}, errors.New("no quote at the end of the request")
	}

	if !strings.HasPrefix(line, " ") {
		return entry{}, errors.New("no status after the request")
	}
	e.status, line, _ = strings.Cut(line[1:], " ")
	if e.status != "-" && (len(e.status) != 3 || !digits(e.status)) {
		return entry{}, fmt.Errorf("status %q is not three digits", e.status)
	}
	e.size, e.rest, _ = strings.Cut(line, " ")
	if e.size != "-" && !digits(e.size) {
		return entry{}, fmt.Errorf("size %q is neither a number nor -", e.size)
	}
	return e, nil
}

// cutQuoted cuts s at the first quote that no backslash escapes.
func cutQuoted(s string) (text, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

// digits reports whether s is a number of one digit or more.
func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// maxLine is the longest line that is parsed. A server's own limit on a request
// line is a few kilobytes; a line beyond this is not one of its lines.
const maxLine = 1 << 20

// maxSpan is the longest time that a log may span: a limiter's clock is good for
// fifteen years.
const maxSpan = 14 * 366 * day

// An accessLog is what was read from a log.
type accessLog struct {
	Name     string    `json:"file"`
	Requests int       `json:"requests"`
	Clients  int       `json:"clients"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`

	Lines    int    `json:"lines"` // blank ones not counted
	Unparsed int    `json:"unparsed"`
	BadLine  int    `json:"first_unparsed_line,omitempty"` // counted from 1
	BadCause string `json:"first_unparsed_cause,omitempty"`

	requests []request // in order of time
	clients  []string
}

type request struct {
	at     time.Time
	client int
}

// readLog reads the access log in that file, or on stdin if the name is -.
func readLog(name string, stdin io.Reader) (*accessLog, error) {
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	l, err := parseLog(stdin)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	l.Name = name
	return l, nil
}

// parseLog reads an access log, plain or compressed with gzip.
func parseLog(r io.Reader) (*accessLog, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	// Content, not a name's suffix, says what a file is: logs are renamed by
	// rotation and have no name on stdin.
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("damaged gzip: %w", err)
		}
		br = bufio.NewReaderSize(zr, 1<<16)
	}

	l := &accessLog{}
	index := make(map[string]int)
	for number := 1; ; number++ {
		line, tooLong, err := readLine(br)
		if err == io.EOF {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("gzip ends too early, after %d lines", number-1)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if len(bytes.TrimSpace(line)) == 0 && !tooLong {
			continue
		}
		l.Lines++
		e, err := parseLine(string(line))
		if tooLong {
			err = fmt.Errorf("longer than %d bytes", maxLine)
		}
		if err != nil {
			l.Unparsed++
			if l.BadLine == 0 {
				l.BadLine, l.BadCause = number, err.Error()
			}
			continue
		}
		name := e.client()
		client, known := index[name]
		if !known {
			client = len(l.clients)
			index[name] = client
			l.clients = append(l.clients, name)
		}
		l.requests = append(l.requests, request{e.time, client})
	}

	switch {
	case l.Lines == 0:
		return nil, errors.New("no lines in it")
	case len(l.requests) == 0:
		return nil, fmt.Errorf("none of its %d lines is in Common or Combined Log Format; line %d: %s", l.Lines, l.BadLine, l.BadCause)
	}
	slices.SortStableFunc(l.requests, func(a, b request) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	l.Requests, l.Clients = len(l.requests), len(l.clients)
	l.First, l.Last = l.requests[0].at, l.requests[len(l.requests)-1].at
	if l.Last.Sub(l.First) > maxSpan {
		return nil, fmt.Errorf("it spans %s to %s, more than fourteen years",
			l.First.Format(time.DateOnly), l.Last.Format(time.DateOnly))
	}
	return l, nil
}

// readLine returns the next line without its line ending. Of a line beyond
// maxLine it returns the beginning, skips the rest, and says so. It returns
// io.EOF when there is no line left.
func readLine(br *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := br.ReadSlice('\n')
		if room := maxLine - len(line); len(bytes.TrimRight(part, "\r\n")) > room {
			line, tooLong = append(line, part[:room]...), true
		} else {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			err = nil
		}
		return bytes.TrimRight(line, "\r\n"), tooLong, err
	}
}

// trace is the log as traffic to replay.
func (l *accessLog) trace(s settings) trace {
	t := trace{
		name:    "log",
		about:   "every client has a limiter of its own",
		origin:  phase(time.Duration(l.First.UnixNano()), s.Window),
		length:  l.Last.Sub(l.First) + s.Window,
		clients: l.clients,
		events:  make([]event, len(l.requests)),
	}
	for i, r := range l.requests {
		t.events[i] = event{at: t.origin + r.at.Sub(l.First), client: r.client}
	}
	return t
}
