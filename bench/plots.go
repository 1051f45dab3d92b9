package main

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A picture is a drawing for the report.
type picture struct {
	Title   string
	Caption string
	SVG     template.HTML
}

// The colours are those of Okabe and Ito, which people with any kind of colour
// vision can tell apart.
var (
	black     = color.RGBA{0x1b, 0x1b, 0x1b, 0xff}
	grey      = color.RGBA{0x77, 0x77, 0x77, 0xff}
	lightGrey = color.RGBA{0xd4, 0xd4, 0xd4, 0xff}
	blue      = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	sky       = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	orange    = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
	vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green     = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	purple    = color.RGBA{0xcc, 0x79, 0xa7, 0xff}

	strategyColour = map[string]color.Color{
		"tokenbucket":   blue,
		"leakybucket":   sky,
		"fixedwindow":   vermilion,
		"slidingwindow": green,
		"slidinglog":    purple,
	}
)

const (
	pictureWidth = 760 * vg.Length(1) // points
	panelHeight  = 92 * vg.Length(1)
	headHeight   = 44 * vg.Length(1)

	// columns is how many points a line over time has: about one a pixel.
	columns = 700
)

// A swatch is an entry of a picture's legend: a line, or else a rectangle of its
// colours.
type swatch struct {
	name    string
	line    *draw.LineStyle
	colours []color.Color
}

// solid is the swatch of an area or a bar.
func solid(name string, colours ...color.Color) swatch { return swatch{name: name, colours: colours} }

func textStyle(size vg.Length, bold bool, c color.Color) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return draw.TextStyle{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

// newPlot is a plot in the report's style.
func newPlot() *plot.Plot {
	p := plot.New()
	p.Title.TextStyle = withAlign(textStyle(10, false, black), draw.XCenter, draw.YTop)
	p.Title.Padding = 3
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle = withAlign(textStyle(9.5, false, black), draw.XCenter, draw.YBottom)
		a.Tick.Label.Font = textStyle(9, false, black).Font
		a.LineStyle.Width = 0.5
		a.Tick.LineStyle.Width = 0.5
		a.Tick.Length = 4
		a.Padding = 0
	}
	p.X.Tick.Marker = plot.TickerFunc(roundTicks)
	p.Y.Min = 0
	return p
}

func withAlign(s draw.TextStyle, x draw.XAlignment, y draw.YAlignment) draw.TextStyle {
	s.XAlign, s.YAlign = x, y
	return s
}

// drawPicture draws a title, a legend in one line below it, so that it never
// covers data, and below that the plots, all with the same size of axes. The
// label is that of all vertical axes.
func drawPicture(title, caption string, height vg.Length, legend []swatch, label string, plots [][]*plot.Plot) (picture, error) {
	canvas := vgsvg.New(pictureWidth, height)
	all := draw.New(canvas)
	all.FillText(withAlign(textStyle(13, true, black), draw.XLeft, draw.YTop), vg.Point{X: 4, Y: height - 4}, title)

	x, y := vg.Length(4), height-34
	text := withAlign(textStyle(10, false, black), draw.XLeft, draw.YCenter)
	for _, s := range legend {
		if s.line != nil {
			all.StrokeLine2(*s.line, x, y, x+20, y)
		}
		for i, c := range s.colours {
			left, right := x+20*vg.Length(i)/vg.Length(len(s.colours)), x+20*vg.Length(i+1)/vg.Length(len(s.colours))
			all.FillPolygon(c, []vg.Point{{X: left, Y: y - 5}, {X: right, Y: y - 5}, {X: right, Y: y + 5}, {X: left, Y: y + 5}})
		}
		x += 25
		all.FillText(text, vg.Point{X: x, Y: y}, s.name)
		x += text.Width(s.name) + 20
	}

	body := draw.Crop(all, 0, -10, 0, -headHeight)
	if label != "" {
		style := withAlign(textStyle(9.5, false, black), draw.XCenter, draw.YTop)
		style.Rotation = math.Pi / 2
		body.FillText(style, vg.Point{X: 2, Y: (body.Min.Y + body.Max.Y) / 2}, label)
		body = draw.Crop(body, 16, 0, 0, 0)
	}
	tiles := draw.Tiles{Rows: len(plots), Cols: len(plots[0]), PadY: 6, PadX: 14}
	for i, canvases := range plot.Align(plots, tiles, body) {
		for j, c := range canvases {
			if plots[i][j] != nil {
				plots[i][j].Draw(c)
			}
		}
	}

	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return picture{}, fmt.Errorf("draw %q: %w", title, err)
	}
	return picture{Title: title, Caption: caption, SVG: inlineSVG(b.Bytes())}, nil
}

var (
	svgPreamble = regexp.MustCompile(`(?s)^.*?<svg[^>]*viewBox="([^"]*)"[^>]*>`)
	svgFont     = regexp.MustCompile(`font-family:Liberation Sans`)
)

// inlineSVG turns a file of SVG into an element of a page: without the XML
// declaration and the names of its spaces, as wide as the page lets it be, and in
// fonts that every browser has. Liberation Sans, in which the text was measured,
// has the widths of Arial and Helvetica.
func inlineSVG(file []byte) template.HTML {
	s := svgPreamble.ReplaceAll(file, []byte(`<svg viewBox="$1">`))
	s = svgFont.ReplaceAll(s, []byte(`font-family:Liberation Sans,Arial,Helvetica,sans-serif`))
	return template.HTML(s)
}

var limitLine = draw.LineStyle{Color: black, Width: 1.2, Dashes: []vg.Length{5, 3}}

// drawBehaviour draws what became of each trace.
func drawBehaviour(res *results) ([]picture, error) {
	var all []picture
	for _, t := range res.traces {
		var of []behaviour
		for _, b := range res.Behaviour {
			if b.Trace == t.name {
				of = append(of, b)
			}
		}
		draws := []func(trace, []behaviour, settings) (picture, error){drawTrace}
		switch {
		case len(t.clients) > 1:
			draws = []func(trace, []behaviour, settings) (picture, error){drawClients, drawBusiest}
		case t.name == "edge":
			draws = append(draws, drawEdge)
		}
		for _, d := range draws {
			p, err := d(t, of, res.Settings)
			if err != nil {
				return nil, err
			}
			all = append(all, p)
		}
	}
	return all, nil
}

// drawTrace draws, for each strategy, how much was admitted in the window up to
// each moment, against the limit.
func drawTrace(t trace, of []behaviour, s settings) (picture, error) {
	title := fmt.Sprintf("Trace %s: %s", t.name, t.about)
	return drawTrailing(title, t, of, s, t.origin, t.origin+t.length, func(int) bool { return true })
}

// drawBusiest is drawTrace for the client of a log that asked the most within a
// window, around the time when it did.
func drawBusiest(t trace, of []behaviour, s settings) (picture, error) {
	most, client, peak := 0, 0, time.Duration(0)
	recent := make([][]time.Duration, len(t.clients))
	for _, e := range t.events {
		times := append(recent[e.client], e.at)
		for times[0] <= e.at-s.Window {
			times = times[1:]
		}
		recent[e.client] = times
		if len(times) > most {
			most, client, peak = len(times), e.client, e.at
		}
	}
	title := fmt.Sprintf("The busiest client, %s: %d requests within %s", t.clients[client], most, short(s.Window))
	return drawTrailing(title, t, of, s, peak-3*s.Window, peak+3*s.Window, func(c int) bool { return c == client })
}

func drawTrailing(title string, t trace, of []behaviour, s settings, from, to time.Duration, client func(int) bool) (picture, error) {
	var asked []time.Duration
	for _, e := range t.events {
		if client(e.client) && e.at >= from && e.at < to {
			asked = append(asked, e.at)
		}
	}
	unit, unitName := axisUnit(to - from)
	askedLine := trailing(asked, s.Window, from, to, unit)
	top := 0.0
	var rows [][]*plot.Plot
	for i, b := range of {
		var admitted []time.Duration
		for j, e := range t.events {
			if client(e.client) && e.at >= from && e.at < to && b.admitted[j] {
				admitted = append(admitted, e.at)
			}
		}
		p := newPlot()
		p.Title.Text = fmt.Sprintf("%s: %d of %d admitted, at most %d in any %s",
			b.Strategy, len(admitted), len(asked), most(admitted, s.Window), short(s.Window))
		p.X.Min, p.X.Max = 0, float64(to-from)/float64(unit)
		if i == len(of)-1 {
			p.X.Label.Text = "time, " + unitName
		} else {
			p.X.Tick.Marker = unlabelled{p.X.Tick.Marker}
		}
		line := trailing(admitted, s.Window, from, to, unit)
		addArea(p, askedLine, lightGrey)
		addArea(p, line, strategyColour[b.Strategy])
		addLimit(p, float64(s.Limit))
		top = max(top, highest(askedLine), float64(s.Limit))
		rows = append(rows, []*plot.Plot{p})
	}
	for _, r := range rows {
		r[0].Y.Max = top * 1.08
		r[0].Y.Tick.Marker = wholeTicks(s.Limit)
	}
	caption := fmt.Sprintf("Each point is a count over the %s before it: grey what was asked, coloured what was admitted. The dashed line is the limit of %d.",
		short(s.Window), s.Limit)
	return drawPicture(title, caption, headHeight+panelHeight*vg.Length(len(rows))+22, []swatch{
		solid("asked", lightGrey),
		solid("admitted", coloursOf(of)...),
		{name: fmt.Sprintf("limit %d", s.Limit), line: &limitLine},
	}, "requests in the last "+short(s.Window), rows)
}

// drawEdge draws one burst astride an edge, all strategies in one plot.
func drawEdge(t trace, of []behaviour, s settings) (picture, error) {
	// The first burst is at the edge after four windows.
	from := t.origin + 4*s.Window - s.Window/2
	to := t.origin + 5*s.Window + s.Window/2
	unit, unitName := axisUnit(to - from)
	p := newPlot()
	p.X.Label.Text = "time, " + unitName
	p.Y.Label.Text = "admitted in the last " + short(s.Window)
	p.X.Min, p.X.Max = 0, float64(to-from)/float64(unit)
	p.Y.Max = 2.25 * float64(s.Limit)
	p.Y.Tick.Marker = wholeTicks(s.Limit)

	var legend []swatch
	for i, b := range of {
		var admitted []time.Duration
		for j, e := range t.events {
			if b.admitted[j] {
				admitted = append(admitted, e.at)
			}
		}
		line := &plotter.Line{XYs: trailing(admitted, s.Window, from, to, unit)}
		// Where strategies agree their lines coincide, so the later ones are
		// thinner and leave the earlier ones visible at both sides.
		line.LineStyle = draw.LineStyle{Color: strategyColour[b.Strategy], Width: vg.Length(2 + 2.2*float64(len(of)-1-i))}
		p.Add(line)
		legend = append(legend, swatch{name: b.Strategy, line: &line.LineStyle})
	}
	addLimit(p, float64(s.Limit))
	edge := draw.LineStyle{Color: grey, Width: 1, Dashes: []vg.Length{1, 2}}
	at := float64(t.origin+4*s.Window-from) / float64(unit)
	mark := &plotter.Line{XYs: plotter.XYs{{X: at, Y: 0}, {X: at, Y: p.Y.Max}}, LineStyle: edge}
	p.Add(mark)
	legend = append(legend, swatch{name: fmt.Sprintf("limit %d", s.Limit), line: &limitLine}, swatch{name: "edge", line: &edge})

	return drawPicture("One burst astride a window's edge",
		fmt.Sprintf("%d requests just before the edge of a fixed window and %d just after. The fixed window begins its count anew at the edge; the others remember. "+
			"Where lines coincide, the thinner one lies on the thicker one.", s.Limit, s.Limit),
		300, legend, "", [][]*plot.Plot{{p}})
}

// drawClients draws all clients of a log together, in bins of time.
func drawClients(t trace, of []behaviour, _ settings) (picture, error) {
	unit, unitName := axisUnit(t.length)
	bin := binWidth(t.length)
	bins := int(t.length/bin) + 1
	count := func(keep func(i int) bool) plotter.XYs {
		points := make(plotter.XYs, bins+1) // the last one is where the last bin ends
		for i := range points {
			points[i].X = float64(i) * float64(bin) / float64(unit)
		}
		for i, e := range t.events {
			if keep(i) {
				points[int((e.at-t.origin)/bin)].Y++
			}
		}
		return points
	}
	asked := count(func(int) bool { return true })
	var rows [][]*plot.Plot
	for i, b := range of {
		p := newPlot()
		p.Title.Text = fmt.Sprintf("%s: refused %d of %d (%.1f %%), %d of %s", b.Strategy, b.Refused, b.Asked,
			percent(b.Refused, b.Asked), b.ClientsRefused, plural(len(t.clients), "client"))
		p.X.Min, p.X.Max = 0, asked[bins].X
		p.Y.Max = highest(asked) * 1.05
		if i == len(of)-1 {
			p.X.Label.Text = "time since the first request, " + unitName
		} else {
			p.X.Tick.Marker = unlabelled{p.X.Tick.Marker}
		}
		addBars(p, asked, black)
		addBars(p, count(func(i int) bool { return b.admitted[i] }), strategyColour[b.Strategy])
		rows = append(rows, []*plot.Plot{p})
	}
	return drawPicture("All clients of the log", "Black is what was refused: what was asked above what was admitted. The limit is each client's own, so there is no line for it here.",
		headHeight+panelHeight*vg.Length(len(rows))+22, []swatch{
			solid("refused", black),
			solid("admitted", coloursOf(of)...),
		}, "requests per "+short(bin), rows)
}

// binWidth is a round duration of which some hundred and fifty make up length.
func binWidth(length time.Duration) time.Duration {
	widths := []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
		time.Hour, 3 * time.Hour, 6 * time.Hour, day, 7 * day,
	}
	for _, w := range widths {
		if length/w <= 250 {
			return w
		}
	}
	return 30 * day
}

// trailing is the most that was in any window ending in each column of a picture.
func trailing(times []time.Duration, window, from, to, unit time.Duration) plotter.XYs {
	points := make(plotter.XYs, 0, columns)
	first, next := 0, 0 // times[first:next] are in the window
	for i := range columns {
		lo := from + time.Duration(float64(to-from)*float64(i)/columns)
		hi := from + time.Duration(float64(to-from)*float64(i+1)/columns)
		for next < len(times) && times[next] < lo {
			next++
		}
		for first < next && times[first] <= lo-window {
			first++
		}
		most := next - first
		for next < len(times) && times[next] < hi {
			for first < next && times[first] <= times[next]-window {
				first++
			}
			next++
			most = max(most, next-first)
		}
		points = append(points, plotter.XY{X: float64(lo-from) / float64(unit), Y: float64(most)})
	}
	return points
}

// most is the most of times in any half-open window of that length.
func most(times []time.Duration, window time.Duration) int {
	m, first := 0, 0
	for i, at := range times {
		for times[first] <= at-window {
			first++
		}
		m = max(m, i+1-first)
	}
	return m
}

func highest(points plotter.XYs) float64 {
	top := 0.0
	for _, p := range points {
		top = max(top, p.Y)
	}
	return top
}

// addArea fills the area below a line.
func addArea(p *plot.Plot, points plotter.XYs, c color.Color) {
	p.Add(&plotter.Line{XYs: points, FillColor: c})
}

// addBars fills the area below steps.
func addBars(p *plot.Plot, points plotter.XYs, c color.Color) {
	p.Add(&plotter.Line{XYs: points, FillColor: c, StepStyle: plotter.PostStep})
}

// unlabelled are ticks without their labels, for all but the lowest of plots
// that share an axis.
type unlabelled struct{ plot.Ticker }

func (u unlabelled) Ticks(from, to float64) []plot.Tick {
	ticks := slices.Clone(u.Ticker.Ticks(from, to))
	for i := range ticks {
		ticks[i].Label = ""
	}
	return ticks
}

func coloursOf(of []behaviour) (colours []color.Color) {
	for _, b := range of {
		colours = append(colours, strategyColour[b.Strategy])
	}
	return colours
}

// addLimit draws the limit's line.
func addLimit(p *plot.Plot, limit float64) {
	p.Add(&plotter.Line{XYs: plotter.XYs{{X: p.X.Min, Y: limit}, {X: p.X.Max, Y: limit}}, LineStyle: limitLine})
}

// wholeTicks are ticks at zero, at the limit and at its multiples.
func wholeTicks(limit int) plot.Ticker {
	return plot.TickerFunc(func(_, top float64) []plot.Tick {
		step := limit
		for float64(step)*4 < top {
			step *= 2
		}
		var ticks []plot.Tick
		for v := 0; float64(v) <= top; v += step {
			ticks = append(ticks, plot.Tick{Value: float64(v), Label: fmt.Sprint(v)})
		}
		return ticks
	})
}

// roundTicks are about eight ticks at round numbers.
func roundTicks(from, to float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((to-from)/8)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (to-from)/(step*factor) <= 12 {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(from / step); i*step <= to; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: strconv.FormatFloat(i*step, 'g', 6, 64)})
	}
	return ticks
}

// axisUnit is the unit in which an axis of that length is easy to read.
func axisUnit(length time.Duration) (time.Duration, string) {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}, {time.Second, "seconds"}} {
		if length >= 3*u.unit {
			return u.unit, u.name
		}
	}
	return time.Millisecond, "milliseconds"
}

// drawCost draws the cost of all implementations as bars.
func drawCost(c *cost) ([]picture, error) {
	names := c.names()
	names = slices.DeleteFunc(names, func(n string) bool { return n == floorRead || n == floorCAS })
	slices.Reverse(names) // a plot counts from the bottom
	read := rowID{floorRead, allow, refused, systemClock, false}
	cas := rowID{floorCAS, allow, granted, systemClock, false}

	readLine := draw.LineStyle{Color: black, Width: 1, Dashes: []vg.Length{2, 2}}
	casLine := draw.LineStyle{Color: black, Width: 1, Dashes: []vg.Length{6, 3}}
	panel := func(title string, all bool) (*plot.Plot, error) {
		var grants, refusals plotter.Values
		for _, n := range names {
			grants = append(grants, c.ns(rowID{n, allow, granted, systemClock, all}))
			refusals = append(refusals, c.ns(rowID{n, allow, refused, systemClock, all}))
		}
		p, err := barPlot(title, names, []plotter.Values{grants, refusals}, []color.Color{blue, orange})
		if err != nil {
			return nil, err
		}
		read, cas := read, cas
		read.AllCores, cas.AllCores = all, all
		addFloor(p, c.ns(read), readLine, len(names))
		addFloor(p, c.ns(cas), casLine, len(names))
		return p, nil
	}
	one, err := panel("one goroutine", false)
	if err != nil {
		return nil, err
	}
	all, err := panel(fmt.Sprintf("%s, one limiter", plural(c.Cores, "core")), true)
	if err != nil {
		return nil, err
	}
	allow, err := drawPicture("Cost of Allow, with the system clock",
		fmt.Sprintf("Medians of %d interleaved rounds; shorter is better. The dashed lines are the floors: a refusal has to read the clock, "+
			"a grant has to change a word besides. With all cores the figure is the time from one answer to the next, "+
			"and a grant's floor depends on how the cores get in each other's way.", c.Rounds),
		headHeight+40+26*vg.Length(len(names)), []swatch{
			solid("granted", blue),
			solid("refused", orange),
			{name: floorRead, line: &readLine},
			{name: floorCAS, line: &casLine},
		}, "", [][]*plot.Plot{{one, all}})
	if err != nil {
		return nil, err
	}
	clocks, err := drawClocks(c)
	if err != nil {
		return nil, err
	}
	return []picture{allow, clocks}, nil
}

// drawClocks draws what a coarse clock saves, and what the other verbs cost.
func drawClocks(c *cost) (picture, error) {
	var names []string
	for _, n := range c.names() {
		if _, ok := findStrategy(n); ok {
			names = append(names, n)
		}
	}
	slices.Reverse(names)
	series := []struct {
		name   string
		colour color.Color
		verb   string
		clock  string
	}{
		{"Allow, system clock", blue, allow, systemClock},
		{"Allow, coarse clock", sky, allow, coarseClock},
		{"Take, system clock", green, take, systemClock},
		{"Wait, system clock", purple, wait, systemClock},
	}
	var values []plotter.Values
	var colours []color.Color
	var legend []swatch
	for _, s := range series {
		var v plotter.Values
		for _, n := range names {
			v = append(v, c.ns(rowID{n, s.verb, granted, s.clock, false}))
		}
		values = append(values, v)
		colours = append(colours, s.colour)
		legend = append(legend, solid(s.name, s.colour))
	}
	p, err := barPlot("", names, values, colours)
	if err != nil {
		return picture{}, err
	}
	return drawPicture("Cost of the verbs and of the clock, granted, one goroutine",
		"A coarse clock has been read in the background; what remains is the decision itself.",
		headHeight+40+52*vg.Length(len(names)), legend, "", [][]*plot.Plot{{p}})
}

// barPlot draws groups of horizontal bars, in nanoseconds, each with its value
// at its end.
func barPlot(title string, names []string, series []plotter.Values, colours []color.Color) (*plot.Plot, error) {
	const thickness = 10
	p := newPlot()
	p.Title.Text = title
	top := 0.0
	for i, values := range series {
		bars, err := plotter.NewBarChart(values, thickness)
		if err != nil {
			return nil, err
		}
		bars.Horizontal = true
		bars.Color = colours[i]
		bars.LineStyle.Width = 0
		bars.Offset = thickness * vg.Length(float64(len(series)-1)/2-float64(i))
		p.Add(bars)

		labels := &plotter.Labels{Offset: vg.Point{X: 3, Y: bars.Offset}}
		for j, v := range values {
			top = max(top, v)
			text := fmt.Sprintf("%.0f", v)
			if v == 0 {
				text = "none"
			}
			labels.XYs = append(labels.XYs, plotter.XY{X: v, Y: float64(j)})
			labels.Labels = append(labels.Labels, text)
			labels.TextStyle = append(labels.TextStyle, withAlign(textStyle(8, false, black), draw.XLeft, draw.YCenter))
		}
		p.Add(labels)
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(names))-0.4
	p.X.Min, p.X.Max = 0, top*1.1
	p.X.Label.Text = "nanoseconds per call"
	return p, nil
}

func addFloor(p *plot.Plot, ns float64, style draw.LineStyle, rows int) {
	p.Add(&plotter.Line{XYs: plotter.XYs{{X: ns, Y: -0.6}, {X: ns, Y: float64(rows) - 0.4}}, LineStyle: style})
}
