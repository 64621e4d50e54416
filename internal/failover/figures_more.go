package failover

import (
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// parts draws what the gap is made of, a bar for every fault and store.
func parts(s Summary, ttl time.Duration, kind string, faults ...string) (Figure, error) {
	var cells []Cell
	for _, f := range faults {
		cells = append(cells, s.of(f, ttl, false)...)
	}
	cells = slices.DeleteFunc(cells, func(c Cell) bool { return Moment(c.Detect) == Unknown })
	if len(cells) == 0 {
		return Figure{}, nil
	}
	slices.Reverse(cells) // the first on top
	p := newPlot()
	p.X.Tick.Marker = evenly{}
	p.X.Label.Text = "median of each part"
	var names, alt []string
	values := make([]plotter.Values, 3)
	for _, c := range cells {
		names = append(names, c.Fault+", "+c.Store)
		for i, part := range []Millis{c.Detect, c.Grant, c.Activate} {
			values[i] = append(values[i], part.value())
		}
		alt = append(alt, fmt.Sprintf("%s on %s: detect %v, grant %v, activate %v", c.Fault, c.Store, c.Detect, c.Grant, c.Activate))
	}
	slices.Reverse(alt)
	var below *plotter.BarChart
	for i, name := range []string{"detect", "grant", "activate"} {
		bars, err := plotter.NewBarChart(values[i], 12)
		if err != nil {
			return Figure{}, err
		}
		bars.Horizontal, bars.Color, bars.LineStyle.Width = true, []color.Color{paint[0], paint[2], paint[3]}[i], 0
		if below != nil {
			bars.StackOn(below)
		}
		below = bars
		p.Add(bars)
		p.Legend.Add(name, bars)
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(cells))+1.6 // the legend stands above the bars
	p.Legend.XOffs = -6
	return render(p, Figure{
		Name: "parts-" + kind, Title: "What the gap is made of: " + strings.Join(present(cells), ", "), Alt: strings.Join(alt, ". ") + ".",
	}, figureWidth, max(figureHeight*3/4, 22*vg.Length(len(cells)+4)))
}

// present are the faults of cells, from the top.
func present(cells []Cell) (all []string) {
	for _, c := range slices.Backward(cells) {
		if !slices.Contains(all, c.Fault) {
			all = append(all, c.Fault)
		}
	}
	return all
}

// byTTL draws the median failover of a crash against the ttl, with a witness and without, and
// what is usual beside it.
func byTTL(s Summary) (Figure, error) {
	p := newPlot()
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, times{}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, times{}
	p.X.Label.Text, p.Y.Label.Text = "ttl", "crash: median gap"
	p.Legend.Left, p.Legend.Top = true, true
	most, lines := 0, 1
	var alt []string
	for _, fault := range swept {
		points := map[string]plotter.XYs{}
		for _, c := range s.Cells {
			if c.Fault == fault && c.Who == Understudy && c.drawn() {
				points[c.Store] = append(points[c.Store], c.point())
				alt = append(alt, fmt.Sprintf("%s, %s at %v: %v", c.Store, fault, c.TTL, c.Median))
			}
		}
		for _, store := range slices.SortedFunc(maps.Keys(points), func(a, b string) int { return look(a) - look(b) }) {
			all := points[store]
			most = max(most, len(all))
			slices.SortFunc(all, func(a, b plotter.XY) int { return int(a.X - b.X) })
			i, width := look(store), vg.Length(1.6)
			if fault == "crash" { // the same, and thinner
				width = 0.8
			}
			line, dots := stroke(p, paint[i], width, dashes[i], all...), dotsAt(p, paint[i], shapes[i], 2*width, all...)
			lines++
			p.Legend.Add(store+map[string]string{"crash": ", without a witness"}[fault], line, dots)
		}
	}
	if most < 2 {
		return Figure{}, nil
	}
	usual := usually(p, s)
	p.Legend.Add("gap = ttl", stroke(p, faint, 1, dotted, plotter.XY{X: p.X.Min, Y: p.X.Min}, plotter.XY{X: p.X.Max, Y: p.X.Max}))
	above := rowHeight / 2 * vg.Length(lines+len(usual)) // the legend stands above the lines
	p.Y.Max *= math.Pow(p.Y.Max/p.Y.Min, float64(above/figureHeight))
	return render(p, Figure{
		Name: "ttl", Title: "A crash against the ttl", Alt: "A dotted line is where the gap is the ttl. " + strings.Join(append(alt, usual...), ". ") + ".",
	}, figureWidth, figureHeight+above)
}

func (c Cell) drawn() bool { return len(c.measures) > 0 && time.Duration(c.Median) != Endless }

func (c Cell) point() plotter.XY { return plotter.XY{X: c.TTL.value(), Y: c.Median.value()} }

// usually draws a crash of each baseline, at the ttl of its lease, or across where it has none.
func usually(p *plot.Plot, s Summary) (alt []string) {
	i := 0
	for _, c := range s.Cells {
		if c.Who == Understudy || c.Fault != "crash" || !c.drawn() {
			continue
		}
		if c.TTL == 0 {
			y := c.Median.value()
			p.Legend.Add(c.Who+", no ttl", stroke(p, faint, 1, dashes[3], plotter.XY{X: p.X.Min, Y: y}, plotter.XY{X: p.X.Max, Y: y}))
			alt = append(alt, fmt.Sprintf("%s, at any ttl: %v", c.Who, c.Median))
			continue
		}
		p.Legend.Add(c.Who, dotsAt(p, faint, shapes[i%len(shapes)], 4, c.point()))
		i++
		alt = append(alt, fmt.Sprintf("%s: %v", c.Who, c.Median))
	}
	return alt
}

// timelines are the faults of which a timeline is drawn, the most telling first.
var timelines = []string{"partition", "hang", "crash", "clean"}

// timeline draws who was active when, in the median run of each store.
func timeline(s Summary, ttl time.Duration) (Figure, error) {
	for _, fault := range timelines {
		if cells := s.of(fault, ttl, false); len(cells) > 0 {
			return timelineOf(fault, cells)
		}
	}
	return Figure{}, nil
}

func timelineOf(fault string, cells []Cell) (Figure, error) {
	p := newPlot()
	p.X.Tick.Marker = evenly{}
	p.X.Label.Text = "time from the fault"
	var runs []Sample
	var most float64
	for _, c := range slices.Backward(cells) {
		if r, ok := c.medianRun(); ok {
			runs = append(runs, r)
			most = max(most, Millis(r.Started).value())
		}
	}
	if len(runs) == 0 {
		return Figure{}, nil
	}
	var names, alt []string
	for i, r := range runs {
		lower, upper := float64(2*i), float64(2*i+1)
		names = append(names, r.Store+", "+r.New, r.Store+", "+r.Old)
		bars := []struct{ y, from, to float64 }{
			{upper, -0.2 * most, Millis(r.OldEnd).value()}, {lower, Millis(r.Started).value(), 1.25 * most},
		}
		for _, b := range bars {
			stroke(p, paint[look(r.Store)], 9, nil, plotter.XY{X: b.from, Y: b.y}, plotter.XY{X: b.to, Y: b.y})
		}
		alt = append(alt, fmt.Sprintf("%s: %s was active until %v, %s from %v", r.Store, r.Old, Millis(r.OldEnd), r.New, Millis(r.Started)))
	}
	slices.Reverse(alt)
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.7, float64(2*len(runs))-0.3
	upright(p, 0)
	return render(p, Figure{
		Name: "timeline", Title: "Who was active when: the median " + fault + " of each store", Alt: strings.Join(alt, ". ") + ". The fault is at 0.",
	}, figureWidth, max(figureHeight*3/4, 26*vg.Length(2*len(runs)+2)))
}

// medianRun is the run that is the closest to the median: of an even number none is.
func (c Cell) medianRun() (best Sample, found bool) {
	off := func(s Sample) time.Duration { return (time.Duration(s.Measure()) - time.Duration(c.Median)).Abs() }
	for _, s := range c.samples {
		if s.Outcome == Moved && s.OldEnd != Unknown && (!found || off(s) < off(best)) {
			best, found = s, true
		}
	}
	return best, found
}
