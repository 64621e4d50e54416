package failover

import (
	"cmp"
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The size of a figure, and of a row in one.
const (
	figureWidth  = vg.Length(460)
	figureHeight = vg.Length(270)
	rowHeight    = vg.Length(30)
)

// Draw draws all figures that the runs allow.
func Draw(s Summary, ttl time.Duration) (all []Figure, err error) {
	var errs []error
	keep := func(f Figure, err error) {
		if f.SVG != nil {
			all = append(all, f)
		}
		errs = append(errs, err)
	}
	keep(byTTL(s))
	for _, f := range Faults {
		keep(cumulative(s, f, ttl))
		keep(box(s, f, ttl))
	}
	keep(parts(s, ttl, "quick", "crash-witness", "crash-leader-witness", "clean", "handoff"))
	keep(parts(s, ttl, "silent", "hang-witness", "crash", "crash-leader", "hang", "partition"))
	keep(timeline(s, ttl))
	return all, errors.Join(errs...)
}

// of is the cells of a fault at a ttl that have something to draw; others' too, at
// whatever ttl, where asked. No baseline has a witness: its crash stands beside both of
// ours.
func (s Summary) of(fault string, ttl time.Duration, others bool) (all []Cell) {
	for _, c := range s.Cells {
		ours := c.Who == Understudy && c.Fault == fault && time.Duration(c.TTL) == ttl
		theirs := others && c.Who != Understudy && c.Fault == strings.TrimSuffix(fault, "-witness")
		if len(c.measures) > 0 && (ours || theirs) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), look(a.Store)-look(b.Store))
	})
	return all
}

// rank puts baselines behind.
func (c Cell) rank() int {
	if c.Who == Understudy {
		return 0
	}
	return 1
}

// look is a store's place, and how it is drawn, everywhere. One that is not known is the last.
func look(store string) int {
	known := []string{"raft", "etcd", "consul"}
	if i := slices.Index(known, store); i >= 0 {
		return i
	}
	return len(known)
}

var dashes = [][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}

var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}}

// measure is what a fault is measured by, for an axis.
func (f Fault) measure() string {
	if f.servers {
		return "until the store takes a write again"
	}
	return "without an active: fault to new work started"
}

// cumulative draws the share of runs that took no longer than a time.
func cumulative(s Summary, f Fault, ttl time.Duration) (Figure, error) {
	cells := s.of(f.Name, ttl, false)
	if len(cells) == 0 {
		return Figure{}, nil
	}
	p := newPlot()
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, times{}
	p.X.Label.Text, p.Y.Label.Text = f.measure(), "share of runs"
	p.Y.Min, p.Y.Max = 0, 1
	p.Legend.Left = true
	var alt []string
	for _, c := range cells {
		all := float64(len(c.measures) + c.Late)
		points := plotter.XYs{{X: c.measures[0], Y: 0}}
		for i, x := range c.measures {
			points = append(points, plotter.XY{X: x, Y: float64(i) / all}, plotter.XY{X: x, Y: float64(i+1) / all})
		}
		p.Legend.Add(c.Store, stroke(p, paint[look(c.Store)], 1.6, dashes[look(c.Store)], points...))
		alt = append(alt, fmt.Sprintf("%s: half of %d runs within %v, all but late ones within %s, %d late", c.Store, c.Runs, c.Median, inWords(c.measures[len(c.measures)-1]), c.Late))
	}
	if f.silence {
		upright(p, Millis(ttl).value())
		alt = append(alt, fmt.Sprintf("an upright line stands at the ttl, %v", Millis(ttl)))
	}
	widen(p)
	return render(p, Figure{
		Name: "cumulative-" + f.Name, Title: f.Name + ": cumulative distribution", Alt: strings.Join(alt, ". ") + ".",
	}, figureWidth, figureHeight)
}

// stroke draws a line.
func stroke(p *plot.Plot, c color.Color, width vg.Length, dash []vg.Length, points ...plotter.XY) *plotter.Line {
	line, _ := plotter.NewLine(plotter.XYs(points)) // there are some, all of them finite
	line.Color, line.Width, line.Dashes = c, width, dash
	p.Add(line)
	return line
}

// dotsAt draws points.
func dotsAt(p *plot.Plot, c color.Color, shape draw.GlyphDrawer, radius vg.Length, points ...plotter.XY) *plotter.Scatter {
	dots, _ := plotter.NewScatter(plotter.XYs(points)) // there are some, all of them finite
	dots.Color, dots.Shape, dots.Radius = c, shape, radius
	p.Add(dots)
	return dots
}

// dotted is the style of a line that shows no measurement.
var dotted = []vg.Length{2, 3}

// upright draws a thin line at x, from bottom to top.
func upright(p *plot.Plot, x float64) {
	stroke(p, faint, 1, dotted, plotter.XY{X: x, Y: p.Y.Min}, plotter.XY{X: x, Y: p.Y.Max})
}

// widen leaves room left and right on a logarithmic axis.
func widen(p *plot.Plot) {
	p.X.Min, p.X.Max = max(p.X.Min/1.3, 0.01), p.X.Max*1.3
	if p.X.Max/p.X.Min < 4 {
		p.X.Min, p.X.Max = p.X.Min/1.5, p.X.Max*1.5
	}
}

// box draws the quartiles and every point.
func box(s Summary, f Fault, ttl time.Duration) (Figure, error) {
	cells := s.of(f.Name, ttl, true)
	if len(s.of(f.Name, ttl, false)) == 0 {
		return Figure{}, nil
	}
	p := newPlot()
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, times{}
	p.X.Label.Text = f.measure()
	var names, alt []string
	for i := range cells {
		c := cells[len(cells)-1-i] // the first on top
		b, err := plotter.NewBoxPlot(12, float64(i), plotter.Values(c.measures))
		if err != nil {
			return Figure{}, err
		}
		b.Horizontal = true
		b.GlyphStyle.Shape, b.Outside = hollow{}, nil // every point is drawn below
		b.BoxStyle.Color, b.MedianStyle.Color, b.WhiskerStyle.Color = faint, ink, faint
		b.MedianStyle.Width = 2
		points := make(plotter.XYs, len(c.measures))
		for j, x := range c.measures {
			points[j] = plotter.XY{X: x, Y: float64(i) + 0.16*math.Sin(float64(7*j))}
		}
		p.Add(b)
		dotsAt(p, paint[look(c.Store)], shapes[look(c.Store)], 2.2, points...)
		names = append(names, c.label())
		alt = append(alt, fmt.Sprintf("%s: %v to %v, median %v, %d of %d late", c.label(), c.Min, inWords(c.measures[len(c.measures)-1]), c.Median, c.Late, c.Runs))
	}
	slices.Reverse(alt)
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(cells))-0.4
	widen(p)
	return render(p, Figure{
		Name: "box-" + f.Name, Title: f.Name + ": every run, and quartiles", Alt: strings.Join(alt, ". ") + ".",
	}, figureWidth, max(figureHeight*3/4, rowHeight*vg.Length(len(cells)+2)))
}

// hollow is a shape that draws nothing.
type hollow struct{}

func (hollow) DrawGlyph(*draw.Canvas, draw.GlyphStyle, vg.Point) {}

// label names a cell in a figure.
func (c Cell) label() string {
	if c.Who == Understudy {
		return c.Store
	}
	return c.Who
}
