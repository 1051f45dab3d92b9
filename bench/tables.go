package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A table is what the terminal and the report show alike. Its first column is
// text, the others are numbers.
type table struct {
	Title string
	Note  string // a sentence below the table
	Head  []string
	Rows  [][]string
}

// write writes the table for a terminal.
func (t table) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n\n", t.Title)
	// The tabwriter aligns all columns to the same side, so the first one is
	// filled up to its width by hand.
	width := 0
	lines := append([][]string{t.Head}, t.Rows...)
	for _, line := range lines {
		width = max(width, len([]rune(line[0])))
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range lines {
		fmt.Fprintf(tw, "%s%s\t", line[0], strings.Repeat(" ", width-len([]rune(line[0]))))
		for _, cell := range line[1:] {
			fmt.Fprintf(tw, "%s\t", cell)
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
	if t.Note != "" {
		fmt.Fprintf(w, "\n%s\n", wrap(t.Note, 96))
	}
}

// costTables are the cost of everything beside the floors, and what else there
// is to know of the strategies.
func (c *cost) tables() []table {
	cores := plural(c.Cores, "core")
	all := table{
		Title: fmt.Sprintf("Cost of Allow: nanoseconds per call, medians of %d interleaved rounds", c.Rounds),
		Head:  []string{"", "granted", "÷ floor", "refused", "÷ floor", cores + ": granted", cores + ": refused", "allocs", "bytes "},
		Note: fmt.Sprintf("The floor of a grant is %q, that of a refusal %q. With %s, as many goroutines call one limiter, "+
			"and the figure is the time from one answer to the next. Bytes are per limiter, or per key (*) "+
			"for those that are tables of keys; a clock of its own adds %.0f to one of ours. slidinglog grows by %.0f bytes for each admission it remembers; here it "+
			"remembers those of a millisecond. – is what there is not: uber only blocks.",
			floorCAS, floorRead, cores, c.ClockBytes, c.memoryOf("slidinglog").PerAdmission),
	}
	if len(c.Peers) > 0 {
		var peers []string
		for _, p := range c.Peers {
			peers = append(peers, strings.TrimSpace(fmt.Sprintf("%s is %s, %s %s", p.Impl, p.About, p.Module, p.Version)))
		}
		all.Note += " The peers: " + strings.Join(peers, "; ") + "."
	}
	all.Note = c.warning() + all.Note
	read := rowID{floorRead, allow, refused, systemClock, false}
	cas := rowID{floorCAS, allow, granted, systemClock, false}
	for _, name := range c.names() {
		id := func(p path, cores bool) rowID { return rowID{name, allow, p, systemClock, cores} }
		m := c.memoryOf(name)
		line := []string{
			name,
			ns(c.ns(id(granted, false))), times(c.ratio(id(granted, false), cas)),
			ns(c.ns(id(refused, false))), times(c.ratio(id(refused, false), read)),
			ns(c.ns(id(granted, true))), ns(c.ns(id(refused, true))), allocs(m, allow, granted), bytesOf(m),
		}
		all.Rows = append(all.Rows, line)
	}

	more := table{
		Title: "Cost of the other verbs, and of Allow with a coarse clock: nanoseconds per call, same rounds",
		Head:  []string{"", "Take", "Wait", "coarse: granted", "… refused", cores + ": granted", "… refused", "allocs: Take", "… Wait"},
		Note: "Take and Wait are granted, with the system clock; nobody else waits. The four columns after them are Allow with clock.Coarse at " +
			"1 ms. Before it refuses, a limiter on a coarse clock reads the real time and stores it, so a refusal is dearer with it.",
	}
	for _, name := range c.names() {
		id := func(verb string, p path, clk string, cores bool) rowID { return rowID{name, verb, p, clk, cores} }
		if c.ns(id(wait, granted, systemClock, false))+c.ns(id(allow, granted, coarseClock, false))+c.ns(id(allow, refused, coarseClock, false)) == 0 {
			continue
		}
		m := c.memoryOf(name)
		line := []string{
			name,
			ns(c.ns(id(take, granted, systemClock, false))), ns(c.ns(id(wait, granted, systemClock, false))),
			ns(c.ns(id(allow, granted, coarseClock, false))), ns(c.ns(id(allow, refused, coarseClock, false))),
			ns(c.ns(id(allow, granted, coarseClock, true))), ns(c.ns(id(allow, refused, coarseClock, true))),
			allocs(m, take, granted), allocs(m, wait, granted),
		}
		more.Rows = append(more.Rows, line)
	}
	return []table{all, more}
}

// allocs is how often a call allocates, if it was timed.
func allocs(m memory, verb string, p path) string {
	n, ok := m.Allocs[verb+" "+string(p)]
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.3g", n)
}

// bytesOf is the size of a limiter, with a star if it is that of a key.
func bytesOf(m memory) string {
	switch {
	case m.Impl == "":
		return "–"
	case m.PerKey:
		return fmt.Sprintf("%.0f*", m.Bytes)
	}
	return fmt.Sprintf("%.0f ", m.Bytes)
}

// warning is a sentence before a table of what was timed, if it is needed.
func (c *cost) warning() string {
	if !c.disturbed() {
		return ""
	}
	cores := plural(c.Cores, "core")
	return fmt.Sprintf("SOMETHING ELSE KEPT THE MACHINE BUSY, other programs or a quota: %s read the clock hardly faster than one, so what was timed on %s tells little; run it again on an idle machine. ", cores, cores)
}

// names are the timed implementations in order: floors, strategies, peers.
func (c *cost) names() (names []string) {
	for _, r := range c.Rows {
		if len(names) == 0 || names[len(names)-1] != r.Impl {
			names = append(names, r.Impl)
		}
	}
	return names
}

// goalTable shows the goals by strategy.
func goalTable(res *results) table {
	t := table{
		Title: "Goals of cost: ratios in one run, medians of the ratios in each round",
		Head:  []string{"", "goal"},
		Note: res.Cost.warning() + fmt.Sprintf("* the goal is not met. read: %q; read + CAS: %q. All are Allow unless another verb is named. "+
			"With the coarse clock, %.2f of the read + CAS with the system clock meets the goal too, except for the log.", floorRead, floorCAS, coarseFloor),
	}
	for _, r := range res.Goals[0].Results {
		t.Head = append(t.Head, r.Strategy)
	}
	for _, g := range res.Goals {
		line := []string{g.Name, g.Results[0].Bound}
		if line[1] == "" {
			line[1] = "–"
		}
		for _, r := range g.Results {
			if r.Bound != g.Results[0].Bound {
				line[1] += ", log " + strings.TrimPrefix(r.Bound, "≤ ")
				if r.Bound == "" {
					line[1] += "–"
				}
			}
			mark := " "
			if !r.Met {
				mark = "*"
			}
			line = append(line, r.Shown+mark)
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// behaviourTables are what became of each trace.
func behaviourTables(res *results) []table {
	var tables []table
	for _, t := range res.traces {
		out := table{
			Title: fmt.Sprintf("Trace %s: %s", t.name, t.about),
			Head:  []string{"", "asked", "admitted", "refused", "%", "most in " + short(res.Settings.Window), "in a row", "told to wait", "at most"},
		}
		if len(t.clients) > 1 {
			out.Head = append(out.Head, "clients")
		}
		for _, b := range res.Behaviour {
			if b.Trace != t.name {
				continue
			}
			most := fmt.Sprintf("%d of %d ", b.MostInWindow, b.Limit)
			if b.MostInWindow > b.Limit {
				most = fmt.Sprintf("%d of %d!", b.MostInWindow, b.Limit)
			}
			line := []string{
				b.Strategy, fmt.Sprint(b.Asked), fmt.Sprint(b.Admitted), fmt.Sprint(b.Refused),
				fmt.Sprintf("%.1f", percent(b.Refused, b.Asked)), most, fmt.Sprint(b.LongestRefused), "–", "–",
			}
			if b.Refused > 0 {
				line[7], line[8] = short(b.MedianRetry), short(b.MaxRetry)
			}
			if len(t.clients) > 1 {
				line = append(line, fmt.Sprint(b.ClientsRefused))
			}
			out.Rows = append(out.Rows, line)
		}
		tables = append(tables, out)
	}
	return tables
}

// logLine says what was read of a log.
func (l *accessLog) String() string {
	s := fmt.Sprintf("%s: %s by %s, %s to %s", l.Name, plural(l.Requests, "request"), plural(l.Clients, "client"),
		l.First.Format("2006-01-02 15:04:05"), l.Last.Format("2006-01-02 15:04:05 MST"))
	if l.Unparsed > 0 {
		s += fmt.Sprintf("; %s of %d did not parse, the first is line %d: %s", plural(l.Unparsed, "line"), l.Lines, l.BadLine, l.BadCause)
	}
	return s
}

// printResults writes everything for a terminal.
func printResults(w io.Writer, res *results, o options) {
	fmt.Fprintf(w, "%s\n", res.Machine)
	if o.goals {
		goalTable(res).write(w)
		if res.Keyed != nil {
			res.Keyed.goalTable().write(w)
		}
		return
	}
	if res.Cost != nil {
		for _, t := range res.Cost.tables() {
			t.write(w)
		}
	}
	if res.Keyed != nil {
		for _, t := range res.Keyed.tables() {
			t.write(w)
		}
	}
	if res.HTTP != nil {
		res.HTTP.table().write(w)
	}
	fmt.Fprintf(w, "\nBehaviour at %s\n", res.Settings)
	if res.Log != nil {
		fmt.Fprintln(w, wrap(res.Log.String(), 96))
	}
	for _, t := range behaviourTables(res) {
		t.write(w)
	}
	fmt.Fprintf(w, "\n%s\n", wrap(behaviourNote(res), 96))
	fmt.Fprintf(w, "\nWhich one should I choose?\n\n")
	for _, a := range res.Advice {
		fmt.Fprintf(w, "- %s\n", strings.ReplaceAll(wrap(a.String(), 94), "\n", "\n  "))
	}
	if line := adviseCost(res.Cost); line != "" {
		fmt.Fprintf(w, "\n%s\n", wrap(line, 96))
	}
	if o.report != "" {
		fmt.Fprintf(w, "\nThe pictures are in %s\n", o.report)
	}
}

// behaviourNote says how to read the tables of behaviour.
func behaviourNote(res *results) string {
	s := fmt.Sprintf("most in %s: the most that was admitted in any trailing window of that length, of the limit that was meant; "+
		"! is above it. in a row: the most refusals one after another. told to wait, at most: the median and the longest of what refused callers were told. %%: refused, of what was asked.",
		short(res.Settings.Window))
	if res.Log != nil {
		s += " clients: how many were refused at least once. In a log, the most in a window and in a row are of one client."
	}
	return s
}

func (s settings) String() string {
	text := fmt.Sprintf("limit %d per %s", s.Limit, short(s.Window))
	if s.Burst != s.Limit {
		text += fmt.Sprintf(", burst %d", s.Burst)
	}
	return text
}

func ns(v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", v)
}

func times(v float64) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

func percent(part, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(part) / float64(of)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// short is a duration to three digits, without parts that are zero.
func short(d time.Duration) string {
	for unit := time.Duration(1); unit < time.Second; unit *= 10 {
		if d < 1000*unit {
			d = d.Round(unit)
			break
		}
	}
	if d >= 100*time.Second {
		d = d.Round(time.Second)
	} else if d >= time.Second {
		d = d.Round(10 * time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// wrap breaks text into lines of at most width characters.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
