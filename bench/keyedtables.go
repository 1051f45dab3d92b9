package main

import (
	"fmt"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// tables are the cost of limiters per key, and of growing.
func (c *keyedCost) tables() []table {
	cores := plural(c.Cores, "core")
	cost := table{
		Title: fmt.Sprintf("Cost of a limiter per key: nanoseconds per Allow with %s, medians of %d rounds", count(c.Keys), c.Rounds),
		Head:  []string{"", "granted", "÷ floor", "refused", "÷ floor", cores + ": granted", "÷ floor", "refused", "÷ floor"},
		Note: fmt.Sprintf("Keys are strings, looked up with the frequencies of Zipf's law, exponent %g. Each implementation ran alternately with the floor, "+
			"which hashes the key, reads the clock and makes one access to a flat array with a compare-and-swap, or for a refusal without: ÷ floor is the median of the ratios.", zipfExponent),
	}
	size := table{
		Title: fmt.Sprintf("Memory of a limiter per key, with %s", count(c.Keys)),
		Head:  []string{"", "bytes/key", "objects/key", "allocs/call", "GC, ms"},
		Note:  "What the heap grows by for a key that was used once, the key's own bytes apart; allocations of a call that is granted; and how long a garbage collection takes then.",
	}
	for _, r := range c.Rows {
		line := []string{r.Impl}
		for _, v := range []keyedNS{r.Granted, r.Refused, r.GrantedAll, r.RefusedAll} {
			line = append(line, ns(v.NS), times(v.Ratio))
		}
		cost.Rows = append(cost.Rows, line)
		size.Rows = append(size.Rows, []string{r.Impl, fmt.Sprintf("%.1f", r.Bytes), fmt.Sprintf("%.2f", r.Objects), fmt.Sprintf("%.3g", r.Allocs), fmt.Sprintf("%.1f", r.GC)})
	}
	g := &c.Growth
	grow := table{
		Title: fmt.Sprintf("Growth of a keyed tokenbucket from no key to %s: the slowest call takes %s", count(g.Keys), short(g.Slowest)),
		Head:  []string{"a call took", "calls", "the clock alone"},
		Note: fmt.Sprintf("The slowest call took %s; of as many pairs of clock readings with nothing in between the slowest took %s, which is the operating system's doing. "+
			"Afterwards a key takes %.1f bytes. A garbage collection takes %.2f ms with ten keys and %.2f ms with %s.",
			short(g.Slowest), short(g.Nothing), g.Bytes, g.GCFew, g.GCMany, count(g.Keys)),
	}
	for i := range g.Calls {
		if g.Calls[i]+g.Idle[i] == 0 {
			continue
		}
		from := time.Duration(1) << i
		grow.Rows = append(grow.Rows, []string{fmt.Sprintf("%s to %s", short(from), short(2*from)), fmt.Sprint(g.Calls[i]), fmt.Sprint(g.Idle[i])})
	}
	return []table{cost, size, grow}
}

// goalTable compares the keyed tokenbucket with the goals of limiters per key.
func (c *keyedCost) goalTable() table {
	t := table{
		Title: fmt.Sprintf("Goals of a limiter per key, with %s", count(c.Keys)),
		Head:  []string{"", "goal", "measured"},
		Note:  "* the goal is not met. tokenbucket, unless another is named.",
	}
	bucket, log, peer := c.row("tokenbucket"), c.row("slidinglog"), c.row(keyedPeer)
	add := func(name, bound, format string, measured float64, met bool) {
		shown := fmt.Sprintf(format, measured) + " "
		if !met {
			shown = fmt.Sprintf(format, measured) + "*"
		}
		t.Rows = append(t.Rows, []string{name, bound, shown})
	}
	atMost := func(name string, bound float64, format string, measured float64) {
		add(name, fmt.Sprintf("≤ %g", bound), format, measured, measured <= bound)
	}
	faster := func(name string, bound float64, ours, theirs keyedNS) {
		measured := theirs.Ratio / ours.Ratio
		add(name, fmt.Sprintf("≥ %g", bound), "%.2f", measured, measured >= bound)
	}
	atMost("granted ÷ floor", 1.3, "%.2f", bucket.Granted.Ratio)
	faster(keyedPeer+" ÷ ours, granted", 3.5, bucket.Granted, peer.Granted)
	faster(keyedPeer+" ÷ ours, granted, all cores", 6, bucket.GrantedAll, peer.GrantedAll)
	atMost("bytes per key", 24, "%.1f", bucket.Bytes)
	atMost("bytes per key, after growing to "+count(c.Growth.Keys), 32, "%.1f", c.Growth.Bytes)
	// A few arrays for thousands of keys round to none.
	atMost("heap objects per key", 0, "%.2f", math.Floor(bucket.Objects*100)/100)
	atMost("allocations per call", 0, "%.2f", bucket.Allocs)
	atMost(fmt.Sprintf("garbage collection with %s ÷ with ten", count(c.Growth.Keys)), 1.1, "%.2f", c.Growth.GCMany/c.Growth.GCFew)
	add("slidinglog: bytes per key with one admission", "–", "%.1f", log.Bytes, true)
	add("slowest call while growing, µs", "–", "%.0f", float64(c.Growth.Slowest.Microseconds()), true)
	return t
}

func (c *keyedCost) row(impl string) *keyedRow {
	for _, r := range c.Rows {
		if r.Impl == impl {
			return r
		}
	}
	return &keyedRow{}
}

// count is so many keys, in words that are easy to read.
func count(keys int) string {
	switch {
	case keys >= 1_000_000 && keys%100_000 == 0:
		return fmt.Sprintf("%g million keys", float64(keys)/1e6)
	case keys >= 1000 && keys%1000 == 0:
		return fmt.Sprintf("%d,000 keys", keys/1000)
	}
	return plural(keys, "key")
}

// drawGrowth draws how many calls took how long, both on logarithmic axes.
func drawGrowth(g *growth) (picture, error) {
	p := newPlot()
	p.X.Label.Text, p.Y.Label.Text = "a call took, nanoseconds", "calls"
	p.Y.Min = -0.3
	ticks := func(from, to float64) []plot.Tick {
		var marks []plot.Tick
		for e := math.Ceil(from); e <= to; e++ {
			marks = append(marks, plot.Tick{Value: e, Label: power(e)})
		}
		return marks
	}
	p.X.Tick.Marker = plot.TickerFunc(ticks)
	p.Y.Tick.Marker = plot.TickerFunc(ticks)
	for _, each := range []struct {
		calls []int
		fill  bool
	}{{g.Calls, true}, {g.Idle, false}} {
		line := plotter.XYs{}
		for i, n := range each.calls {
			height := p.Y.Min
			if n > 0 {
				height = math.Log10(float64(n))
			}
			line = append(line, plotter.XY{X: float64(i) * math.Log10(2), Y: height}, plotter.XY{X: float64(i+1) * math.Log10(2), Y: height})
		}
		first, last := bounds(g.Calls, g.Idle)
		line = line[2*first : 2*last+2]
		if each.fill {
			area := append(plotter.XYs{{X: line[0].X, Y: p.Y.Min}}, line...)
			area = append(area, plotter.XY{X: line[len(line)-1].X, Y: p.Y.Min})
			polygon, err := plotter.NewPolygon(area)
			if err != nil {
				return picture{}, err
			}
			polygon.Color, polygon.LineStyle.Width = sky, 0
			p.Add(polygon)
			continue
		}
		l, err := plotter.NewLine(line)
		if err != nil {
			return picture{}, err
		}
		l.Color, l.Width = vermilion, 1.2
		p.Add(l)
	}
	caption := fmt.Sprintf("Every call while a keyed tokenbucket grows from no key to %s. The slowest took %s. The line is as many pairs of clock readings with nothing in between: "+
		"what lies under it is the operating system's doing.", count(g.Keys), short(g.Slowest))
	line := plotter.DefaultLineStyle
	line.Color, line.Width = vermilion, 1.2
	return drawPicture("How long single calls take while a table grows", caption, headHeight+2*panelHeight,
		[]swatch{solid("Allow of a new key", sky), {name: "the clock alone", line: &line}}, "", [][]*plot.Plot{{p}})
}

// bounds are the first and the last index at which one of them is not 0.
func bounds(a, b []int) (first, last int) {
	first = len(a)
	for i := range a {
		if a[i]+b[i] > 0 {
			first, last = min(first, i), i
		}
	}
	return min(first, last), last
}

// power is ten to an exponent, written out.
func power(e float64) string {
	units := []string{"1", "10", "100", "1 k", "10 k", "100 k", "1 M", "10 M", "100 M", "1 G"}
	if i := int(e); i >= 0 && i < len(units) {
		return units[i]
	}
	return ""
}
