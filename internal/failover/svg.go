package failover

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Figure is a drawing that says the same in words.
type Figure struct {
	Name  string // of its file, without .svg
	Title string
	Alt   string // what it shows
	SVG   []byte
}

// Colours are drawn as these and written as variables, so that one drawing is right
// on light and on dark paper. Stores differ by dashes and shapes too.
var (
	ink   = color.RGBA{0, 0, 0, 255}
	faint = color.RGBA{1, 1, 1, 255}
	paint = []color.Color{
		color.RGBA{2, 0, 1, 255}, color.RGBA{2, 0, 2, 255}, color.RGBA{2, 0, 3, 255}, color.RGBA{2, 0, 4, 255},
	}
)

// styles are the variables, light and dark.
const styles = `<style>
.us{--ink:#1f2328;--faint:#8b949e;--a:#0072b2;--b:#00875f;--c:#c2500c;--d:#8250df;font-family:Arial,'Liberation Sans',Helvetica,sans-serif}
@media (prefers-color-scheme:dark){.us{--ink:#e6edf3;--faint:#8b949e;--a:#56b4e9;--b:#3fcf9f;--c:#ff9a55;--d:#c297ff}}
@media print{.us{--ink:#000;--faint:#666;--a:#0072b2;--b:#00875f;--c:#c2500c;--d:#8250df}}
.us text{fill:var(--ink);font-family:inherit!important}
</style>`

var variables = strings.NewReplacer("#000000", "var(--ink)", "#010101", "var(--faint)",
	"#020001", "var(--a)", "#020002", "var(--b)", "#020003", "var(--c)", "#020004", "var(--d)")

// head is all of the drawing up to its first group.
var head = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*" (viewBox="[^"]*").*?>\n`)

// background is the white sheet that the library draws first.
var background = regexp.MustCompile(`<path d="[^"]*" style="fill:#FFFFFF" />\n`)

// letters are what the library reckons with.
var letters = font.Font{Typeface: "Liberation", Variant: "Sans"}

// words are some of the drawing, with the size of their letters.
var words = regexp.MustCompile(`<text( [^>]*?font-size:([0-9.]+)px[^>]*)>([^<]*)</text>`)

// fit makes words as wide as the library reckoned, where a reader's letters are others: they
// would run into what stands beside them.
func fit(text []byte) []byte {
	part := words.FindSubmatch(text)
	size, _ := strconv.ParseFloat(string(part[2]), 64) // digits
	face := font.DefaultCache.Lookup(letters, vg.Length(size))
	return fmt.Appendf(nil, `<text textLength="%.1f" lengthAdjust="spacingAndGlyphs"%s>%s</text>`, face.Width(html.UnescapeString(string(part[3]))).Points(), part[1], part[3])
}

// newPlot is a plot with our letters and a quiet grid.
func newPlot() *plot.Plot {
	p := plot.New()
	for _, f := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font,
		&p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		size := f.Size
		*f = letters
		f.Size = size
	}
	p.X.Padding, p.Y.Padding = 6, 6
	p.X.Color, p.Y.Color = faint, faint
	p.X.Tick.Color, p.Y.Tick.Color = faint, faint
	p.Legend.Top, p.Legend.Padding = true, 2
	p.BackgroundColor = color.White
	return p
}

// render draws a plot. The figure's words are in it.
func render(p *plot.Plot, f Figure, width, height vg.Length) (Figure, error) {
	c := vgsvg.New(width, height)
	p.Draw(draw.Crop(draw.NewCanvas(c, width, height), 4, -16, 4, -4)) // the last mark's words reach beyond its end
	var out bytes.Buffer
	if _, err := c.WriteTo(&out); err != nil {
		return f, fmt.Errorf("figure %s: %w", f.Name, err)
	}
	body := background.ReplaceAll(out.Bytes(), nil)
	box := head.FindSubmatch(body)
	if box == nil {
		return f, fmt.Errorf("figure %s: the library draws another kind of SVG", f.Name)
	}
	begin := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="us" %[1]s role="img" aria-labelledby="%[2]s-t %[2]s-d">
<title id="%[2]s-t">%[3]s</title><desc id="%[2]s-d">%[4]s</desc>
%[5]s
`, box[1], f.Name, html.EscapeString(f.Title), html.EscapeString(f.Alt), styles)
	f.SVG = []byte(begin + variables.Replace(string(words.ReplaceAllFunc(body[len(box[0]):], fit))))
	return f, nil
}

// times makes marks on a logarithmic axis of milliseconds.
type times struct{}

func (times) Ticks(low, high float64) (all []plot.Tick) {
	wide := math.Log10(high/low) > 1.3
	for power := math.Floor(math.Log10(low)); power <= math.Ceil(math.Log10(high)); power++ {
		for digit := 1.0; digit < 10; digit++ {
			at := digit * math.Pow(10, power)
			if at < low || at > high {
				continue
			}
			t := plot.Tick{Value: at}
			if digit == 1 || !wide && (digit == 2 || digit == 5) {
				t.Label = inWords(at)
			}
			all = append(all, t)
		}
	}
	return all
}

// evenly makes marks on an even axis of milliseconds.
type evenly struct{}

func (evenly) Ticks(low, high float64) []plot.Tick {
	all := plot.DefaultTicks{}.Ticks(low, high)
	for i := range all {
		if all[i].Label != "" {
			all[i].Label = inWords(all[i].Value)
		}
	}
	return all
}

// inWords is a number of milliseconds as a person writes it.
func inWords(ms float64) string {
	switch size := math.Abs(ms); {
	case ms == 0:
		return "0"
	case size >= 10_000:
		return fmt.Sprintf("%.3g s", ms/1000)
	case size >= 1000:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", ms/1000), ".00") + " s"
	case size >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	case size >= 1:
		return fmt.Sprintf("%.3g ms", ms)
	}
	return fmt.Sprintf("%.0f µs", 1000*ms)
}

// String is the time as the report writes it.
func (m Millis) String() string {
	switch {
	case time.Duration(m) == Endless:
		return "late"
	case Moment(m) == Unknown:
		return "–"
	}
	return inWords(m.value())
}
