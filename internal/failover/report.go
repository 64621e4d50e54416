package failover

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The files of a report, beside the figures.
const (
	RunsFile        = "runs.csv"
	SummaryFile     = "summary.json"
	EnvironmentFile = "environment.json"
	ReportFile      = "report.html"
)

// Write writes a report: every file of it, whatever was measured.
func Write(dir string, e Environment, r Result) error {
	s := Summarize(r)
	figures, drawing := Draw(s, time.Duration(e.Settings.TTL))
	var runs, page bytes.Buffer
	errs := []error{drawing, WriteRuns(&runs, r.Samples), os.MkdirAll(dir, 0o755), clear(dir)}
	errs = append(errs, sheet.Execute(&page, newPage(e, s, r, figures)))
	keep := func(name string, text []byte) {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	for name, value := range map[string]any{SummaryFile: s, EnvironmentFile: e} {
		text, err := json.MarshalIndent(value, "", "  ")
		errs = append(errs, err)
		keep(name, append(text, '\n'))
	}
	for _, f := range figures {
		keep(f.Name+".svg", f.SVG)
	}
	keep(RunsFile, runs.Bytes())
	keep(ReportFile, page.Bytes())
	return errors.Join(errs...)
}

// clear removes the figures of an earlier report, of which this one may have fewer.
func clear(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.svg"))
	errs := []error{err}
	for _, name := range old {
		errs = append(errs, os.Remove(name))
	}
	return errors.Join(errs...)
}

//go:embed report.html.tmpl
var sheetText string

var sheet = template.Must(template.New("report").Funcs(template.FuncMap{
	"svg":    func(f Figure) template.HTML { return template.HTML(f.SVG) }, // ours: it is escaped where it is made
	"join":   strings.Join,
	"about":  func(fault string) string { return Faults[faultIndex(fault)].About },
	"ratio":  func(f float64) string { return fmt.Sprintf("%.1f×", f) },
	"number": func(f float64) string { return fmt.Sprintf("%.3g", f) },
}).Parse(sheetText))

// A page is what report.html shows.
type page struct {
	Environment
	Summary
	Stores    string
	All       int // runs of understudy
	Overlaps  int
	LateRuns  []Sample
	Broken    []Sample
	Groups    []group
	Baselines []Cell
	Sweep     []Cell
	Figures   []Figure // about more than one fault
}

// A group is all that there is about one fault.
type group struct {
	Fault   Fault
	Cells   []Cell
	Figures []Figure
}

// Measure says what the figures are about.
func (g group) Measure() string { return g.Fault.measure() }

func newPage(e Environment, s Summary, r Result, figures []Figure) page {
	p := page{Environment: e, Summary: s, Stores: strings.Join(e.Settings.Stores, ", ")}
	for _, one := range r.Samples {
		if one.Who == Understudy {
			p.All++
		}
		if one.Overlap > 0 && one.Who == Understudy {
			p.Overlaps++
		}
		switch one.Outcome {
		case Late:
			p.LateRuns = append(p.LateRuns, one)
		case Broken:
			p.Broken = append(p.Broken, one)
		}
	}
	for _, f := range Faults {
		g := group{Fault: f}
		for _, c := range s.Cells {
			if c.Fault == f.Name && c.Who == Understudy && c.TTL == e.Settings.TTL {
				g.Cells = append(g.Cells, c)
			}
		}
		for _, one := range figures {
			if one.Name == "cumulative-"+f.Name || one.Name == "box-"+f.Name {
				g.Figures = append(g.Figures, one)
			}
		}
		if len(g.Cells) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	for _, c := range s.Cells {
		switch {
		case c.Who != Understudy:
			p.Baselines = append(p.Baselines, c)
		case c.TTL != e.Settings.TTL:
			p.Sweep = append(p.Sweep, c)
		}
	}
	for _, one := range figures {
		if !slices.ContainsFunc(p.Groups, func(g group) bool { return strings.HasSuffix(one.Name, "-"+g.Fault.Name) }) {
			p.Figures = append(p.Figures, one)
		}
	}
	return p
}
