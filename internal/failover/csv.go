package failover

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// A Column of runs.csv. Times are milliseconds after the fault; empty: there was none.
type Column struct {
	Name, Meaning string
	get           func(Sample) string
	set           func(*Sample, string) error
}

// Columns are those of runs.csv, in their order.
var Columns = []Column{
	text("who", "what contended: understudy, or a baseline", func(s *Sample) *string { return &s.Who }),
	text("store", "its name", func(s *Sample) *string { return &s.Store }),
	text("fault", "what was done; see Faults", func(s *Sample) *string { return &s.Fault }),
	duration("ttl_ms", "the contenders' ttl; 0: they have none", func(s *Sample) *time.Duration { return &s.TTL }),
	whole("run", "counts the runs of this fault on this store", func(s *Sample) *int { return &s.Run }),
	{
		"phase", "of the beat interval, from 0 to 1, at which the fault was injected",
		func(s Sample) string { return strconv.FormatFloat(s.Phase, 'f', 4, 64) },
		func(s *Sample, v string) (err error) { s.Phase, err = strconv.ParseFloat(v, 64); return err },
	},
	text("outcome", "moved: another contender worked; stayed: the active worked on; late: nobody within the limit; broken: nothing was measured", func(s *Sample) *string { return &s.Outcome }),
	text("old", "the contender that was active", func(s *Sample) *string { return &s.Old }),
	text("new", "the contender that was active then", func(s *Sample) *string { return &s.New }),
	{
		"led", "whether the old one, or the one server that it used, led the store",
		func(s Sample) string { return strconv.FormatBool(s.Led) },
		func(s *Sample, v string) (err error) { s.Led, err = strconv.ParseBool(v); return err },
	},
	moment("old_end_ms", "the old work's last stamp, or its end", func(s *Sample) *Moment { return &s.OldEnd }),
	moment("told_ms", "the winner learned that the role can be taken", func(s *Sample) *Moment { return &s.Told }),
	moment("granted_ms", "the store confirmed the role to it", func(s *Sample) *Moment { return &s.Granted }),
	moment("started_ms", "its work was entered: this is the gap", func(s *Sample) *Moment { return &s.Started }),
	moment("success_ms", "its work had its first success", func(s *Sample) *Moment { return &s.Success }),
	moment("stall_ms", "store-leader: the store took a write again", func(s *Sample) *Moment { return &s.Stall }),
	duration("overlap_ms", "how long two works were active at once", func(s *Sample) *time.Duration { return &s.Overlap }),
	whole("stale", "how often the old work stamped after the new one had started: writes that only a token would have stopped", func(s *Sample) *int { return &s.Stale }),
	text("note", "what went wrong", func(s *Sample) *string { return &s.Note }),
}

func text(name, meaning string, of func(*Sample) *string) Column {
	return Column{
		name, meaning, func(s Sample) string { return *of(&s) },
		func(s *Sample, v string) error { *of(s) = v; return nil },
	}
}

func whole(name, meaning string, of func(*Sample) *int) Column {
	return Column{
		name, meaning, func(s Sample) string { return strconv.Itoa(*of(&s)) },
		func(s *Sample, v string) (err error) { *of(s), err = strconv.Atoi(v); return err },
	}
}

func duration(name, meaning string, of func(*Sample) *time.Duration) Column {
	return Column{
		name, meaning, func(s Sample) string { return millis(*of(&s)) },
		func(s *Sample, v string) (err error) { *of(s), err = parseMillis(v); return err },
	}
}

func moment(name, meaning string, of func(*Sample) *Moment) Column {
	return Column{
		name, meaning,
		func(s Sample) string {
			if *of(&s) == Unknown {
				return ""
			}
			return millis(time.Duration(*of(&s)))
		},
		func(s *Sample, v string) error {
			if v == "" {
				*of(s) = Unknown
				return nil
			}
			d, err := parseMillis(v)
			*of(s) = Moment(d)
			return err
		},
	}
}

func millis(d time.Duration) string { return strconv.FormatFloat(Millis(d).value(), 'f', 6, 64) }

func parseMillis(v string) (time.Duration, error) { return time.ParseDuration(v + "ms") }

// WriteRuns writes runs.csv.
func WriteRuns(to io.Writer, samples []Sample) error {
	w := csv.NewWriter(to)
	line := make([]string, len(Columns))
	for i, c := range Columns {
		line[i] = c.Name
	}
	errs := []error{w.Write(line)}
	for _, s := range samples {
		for i, c := range Columns {
			line[i] = c.get(s)
		}
		errs = append(errs, w.Write(line))
	}
	w.Flush()
	return errors.Join(append(errs, w.Error())...)
}

// ReadRuns reads what WriteRuns wrote.
func ReadRuns(from io.Reader) (samples []Sample, err error) {
	lines, err := csv.NewReader(from).ReadAll()
	if err != nil {
		return nil, err
	}
	for n, line := range lines {
		var s Sample
		for i, c := range Columns {
			switch {
			case len(line) != len(Columns):
				return nil, fmt.Errorf("line %d has %d columns, not %d", n+1, len(line), len(Columns))
			case n == 0 && line[i] != c.Name:
				return nil, fmt.Errorf("column %d is %q, not %q", i+1, line[i], c.Name)
			case n > 0:
				if err := c.set(&s, line[i]); err != nil {
					return nil, fmt.Errorf("line %d, %s: %w", n+1, c.Name, err)
				}
			}
		}
		if n > 0 {
			samples = append(samples, s)
		}
	}
	return samples, nil
}
