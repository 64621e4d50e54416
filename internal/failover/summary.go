package failover

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// A Cell is all runs of one fault on one store by one contender at one ttl. Times in
// JSON are milliseconds; null: endless, as late runs stand in the quantiles.
type Cell struct {
	Who   string `json:"who"`
	Store string `json:"store"`
	Fault string `json:"fault"`
	TTL   Millis `json:"ttl_ms"`

	Runs   int `json:"runs"`   // all of them
	Moved  int `json:"moved"`  // another contender worked
	Stayed int `json:"stayed"` // the active worked on; store-leader only
	Late   int `json:"late"`   // nobody did within the limit
	Broken int `json:"broken"` // the stage could not be set: not in the quantiles

	Min        Millis    `json:"min_ms"` // of the measure: the gap; store-leader: until the store took a write again
	Median     Millis    `json:"p50_ms"`
	MedianFrom Millis    `json:"p50_from_ms"` // 95 % confidence; unknown: there are too few runs
	MedianTo   Millis    `json:"p50_to_ms"`
	P90        Millis    `json:"p90_ms"`
	P99        Millis    `json:"p99_ms"`
	Max        Millis    `json:"max_ms"`
	Detect     Millis    `json:"detect_p50_ms"`
	Grant      Millis    `json:"grant_p50_ms"`
	Activate   Millis    `json:"activate_p50_ms"`
	Overlap    Millis    `json:"overlap_max_ms"`
	Stale      int       `json:"stale_max"`
	Ratio      float64   `json:"ratio_to_floor"` // of the median to the store's floor: one delivery and one commit; 0: no floor
	samples    []Sample  // by measure
	measures   []float64 // sorted, in ms, without endless ones
}

// A Summary is summary.json.
type Summary struct {
	Cells  []Cell      `json:"cells"`
	Floors []FloorLine `json:"floors"`
	Costs  []CostLine  `json:"costs"`
}

// A FloorLine is what no failover on a store can be faster than.
type FloorLine struct {
	Store       string `json:"store"`
	Commit      Millis `json:"commit_p50_ms"` // one write
	CommitP99   Millis `json:"commit_p99_ms"`
	Delivery    Millis `json:"delivery_p50_ms"` // one write and its delivery to another's watch
	DeliveryP99 Millis `json:"delivery_p99_ms"`
}

// A CostLine is what a process costs while nothing happens.
type CostLine struct {
	Store      string  `json:"store"`
	Process    string  `json:"process"` // active, standby, witness, server; unsettled: nothing was measured
	Roles      int     `json:"roles"`
	Contenders int     `json:"contenders"`
	TTL        Millis  `json:"ttl_ms"`
	Calls      float64 `json:"calls_per_s"` // of one contender, to the store
	CPU        float64 `json:"cpu_percent"` // of one core
	Resident   float64 `json:"resident_mib"`
}

// Millis is a time that is written in milliseconds.
type Millis time.Duration

func (m Millis) value() float64 { return float64(m) / float64(time.Millisecond) }

// MarshalJSON writes milliseconds; null: endless or unknown.
func (m Millis) MarshalJSON() ([]byte, error) {
	if time.Duration(m) == Endless || Moment(m) == Unknown {
		return []byte("null"), nil
	}
	return json.Marshal(m.value())
}

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Millis) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*m = Millis(Endless)
		return nil
	}
	var f float64
	err := json.Unmarshal(text, &f)
	*m = Millis(f * float64(time.Millisecond))
	return err
}

// Summarize puts runs together that are alike, by fault, store and ttl.
func Summarize(r Result) Summary {
	var s Summary
	floors := map[string]FloorLine{}
	for name, f := range r.Floors {
		floors[name] = FloorLine{name, median(f.Commit), quantileOf(f.Commit, 0.99), median(f.Delivery), quantileOf(f.Delivery, 0.99)}
		s.Floors = append(s.Floors, floors[name])
	}
	slices.SortFunc(s.Floors, func(a, b FloorLine) int { return look(a.Store) - look(b.Store) })
	for _, one := range r.Samples {
		i := slices.IndexFunc(s.Cells, func(c Cell) bool {
			return c.Who == one.Who && c.Store == one.Store && c.Fault == one.Fault && time.Duration(c.TTL) == one.TTL
		})
		if i < 0 {
			i = len(s.Cells)
			s.Cells = append(s.Cells, Cell{Who: one.Who, Store: one.Store, Fault: one.Fault, TTL: Millis(one.TTL)})
		}
		s.Cells[i].samples = append(s.Cells[i].samples, one)
	}
	for i := range s.Cells {
		s.Cells[i].fill(floors[s.Cells[i].Store])
	}
	slices.SortStableFunc(s.Cells, func(a, b Cell) int {
		return cmp.Or(faultIndex(a.Fault)-faultIndex(b.Fault), look(a.Store)-look(b.Store), cmp.Compare(a.TTL, b.TTL))
	})
	for _, c := range r.Costs {
		s.Costs = append(s.Costs, CostLine{
			c.Store, c.Process, c.Roles, c.Contenders, Millis(c.TTL), c.Calls, 100 * c.CPU, float64(c.Resident) / (1 << 20),
		})
	}
	return s
}

func faultIndex(name string) int {
	return slices.IndexFunc(Faults, func(f Fault) bool { return f.Name == name })
}

// median is that of what is not sorted yet, and unknown of nothing.
func median(all []time.Duration) Millis {
	if len(all) == 0 {
		return Millis(Unknown)
	}
	return Millis(medianOf(slices.Sorted(slices.Values(all))))
}

// quantileOf is that of what is not sorted yet, and unknown of nothing.
func quantileOf(all []time.Duration, q float64) Millis {
	if len(all) == 0 {
		return Millis(Unknown)
	}
	return Millis(quantile(slices.Sorted(slices.Values(all)), q))
}

// fill works the figures out.
func (c *Cell) fill(floor FloorLine) {
	var all, detect, grant, activate []time.Duration
	keep := func(to *[]time.Duration, m Moment) {
		if m != Unknown {
			*to = append(*to, time.Duration(m))
		}
	}
	for _, s := range c.samples {
		c.count(s)
		d, g, a := s.Parts()
		keep(&detect, d)
		keep(&grant, g)
		keep(&activate, a)
		c.Overlap, c.Stale = max(c.Overlap, Millis(s.Overlap)), max(c.Stale, s.Stale)
		switch {
		case s.Outcome == Late:
			all = append(all, Endless)
		case s.Outcome != Broken:
			keep(&all, s.Measure())
		}
	}
	c.Detect, c.Grant, c.Activate = median(detect), median(grant), median(activate)
	unknown := Millis(Unknown)
	c.Min, c.Median, c.MedianFrom, c.MedianTo, c.P90, c.P99, c.Max = unknown, unknown, unknown, unknown, unknown, unknown, unknown
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	for _, d := range all {
		if d != Endless {
			c.measures = append(c.measures, Millis(d).value())
		}
	}
	if len(all) >= FewRuns {
		low, high := medianInterval(all)
		c.MedianFrom, c.MedianTo = Millis(low), Millis(high)
	}
	c.Min, c.Max = Millis(all[0]), Millis(all[len(all)-1])
	c.Median, c.P90, c.P99 = Millis(medianOf(all)), Millis(quantile(all, 0.9)), Millis(quantile(all, 0.99))
	if f := floor.Commit + floor.Delivery; f > 0 && time.Duration(c.Median) != Endless && c.Who == Understudy {
		c.Ratio = float64(c.Median) / float64(f)
	}
}

// HasInterval reports whether there are runs enough to say where the median lies.
func (c Cell) HasInterval() bool { return Moment(c.MedianFrom) != Unknown }

func (c *Cell) count(s Sample) {
	c.Runs++
	switch s.Outcome {
	case Moved:
		c.Moved++
	case Stayed:
		c.Stayed++
	case Late:
		c.Late++
	default:
		c.Broken++
	}
}
