package failover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// A Change is how one fault on one store differs between two reports.
type Change struct {
	Cell          Cell // of the second
	Before, After Millis
	Low, High     Millis // the difference of the medians, with a confidence of 95 %
	Real          bool   // more than noise: that interval does not hold 0
	Late          int    // so many more runs were late
	Few           bool   // one of the two has too few runs to say
}

// Load reads the runs of a report.
func Load(dir string) (Environment, []Sample, error) {
	var e Environment
	text, err := os.ReadFile(filepath.Join(dir, EnvironmentFile))
	if err == nil {
		err = json.Unmarshal(text, &e)
	}
	f, open := os.Open(filepath.Join(dir, RunsFile))
	if err := errors.Join(err, open); err != nil {
		return e, nil, fmt.Errorf("%s holds no report: %w", dir, err)
	}
	defer func() { _ = f.Close() }()
	samples, err := ReadRuns(f)
	if err != nil {
		return e, nil, fmt.Errorf("%s: %w", filepath.Join(dir, RunsFile), err)
	}
	return e, samples, nil
}

// Compare tells what changed between two sets of runs: for each that stands in both.
func Compare(before, after []Sample) (all []Change) {
	old := Summarize(Result{Samples: before}).Cells
	for _, c := range Summarize(Result{Samples: after}).Cells {
		i := slices.IndexFunc(old, func(o Cell) bool {
			return o.Who == c.Who && o.Store == c.Store && o.Fault == c.Fault && o.TTL == c.TTL
		})
		if i < 0 || len(c.measures) == 0 || len(old[i].measures) == 0 {
			continue
		}
		change := Change{Cell: c, Before: old[i].Median, After: c.Median, Late: c.Late - old[i].Late}
		if change.Few = len(c.measures) < FewRuns || len(old[i].measures) < FewRuns; change.Few {
			change.Low, change.High = Millis(Unknown), Millis(Unknown)
			all = append(all, change)
			continue
		}
		low, high := difference(durations(old[i].measures), durations(c.measures))
		change.Low, change.High, change.Real = Millis(low), Millis(high), low > 0 || high < 0
		all = append(all, change)
	}
	return all
}

func durations(ms []float64) (all []time.Duration) {
	for _, m := range ms {
		all = append(all, time.Duration(m*float64(time.Millisecond)))
	}
	return all
}

// Verdict says it in a word or a few.
func (c Change) Verdict() string {
	switch {
	case c.Late > 0:
		return fmt.Sprintf("WORSE: %d more late", c.Late)
	case c.Late < 0:
		return fmt.Sprintf("better: %d fewer late", -c.Late)
	case c.Few:
		return fmt.Sprintf("too few runs to say, less than %d", FewRuns)
	case !c.Real:
		return "within noise"
	case c.Low > 0:
		return "WORSE"
	}
	return "better"
}

// PrintChanges writes a table.
func PrintChanges(to io.Writer, all []Change) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHO\tSTORE\tFAULT\tTTL\tBEFORE\tAFTER\tDIFFERENCE (95 %)\t")
	for _, c := range all {
		difference := fmt.Sprintf("%v to %v", c.Low, c.High)
		if c.Few {
			difference = "–"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%v\t%v\t%s\t%s\n", c.Cell.Who, c.Cell.Store, c.Cell.Fault, c.Cell.TTL, c.Before, c.After, difference, c.Verdict())
	}
	return w.Flush()
}
