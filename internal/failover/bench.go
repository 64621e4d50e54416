package failover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// A Plan says what is measured. Its fields are checked by Check.
type Plan struct {
	Backends []Backend
	Faults   []Fault
	Runs     int
	TTL      time.Duration
	Sweep    []time.Duration // more ttls, at which a crash is measured SweepRuns times each, with a witness and without
	Cost     bool            // what it costs to stand by, too
	Seed     uint64
	Dir      string // for data while it runs

	Baselines []Baseline
	LeftOut   []string // what is not measured, and why, for the report
	Progress  func(p Progress)
}

// contenders is how many there are for the role: with embedded Raft all vote.
const contenders = 3

// SweepRuns is how often each ttl of a sweep is measured.
const SweepRuns = 5

// floorWrites is how many writes and deliveries of each store are measured before every
// round of its runs: a store is not as fast in every minute.
const floorWrites = 5

// A Result is what was measured.
type Result struct {
	Samples []Sample
	Floors  map[string]Floor // by store
	Costs   []Cost
}

// Progress is how far a store's runs are.
type Progress struct {
	Name        string
	Done, Total int
	Left        time.Duration // all stores together
}

// Run measures. Whatever happens, what was measured is returned, no child of this
// process is left, and an error says why it is not all.
func Run(ctx context.Context, p Plan) (Result, error) {
	b := &bench{plan: p, draw: rand.New(rand.NewPCG(p.Seed, 0)), result: Result{Floors: map[string]Floor{}}, timing: newTiming()}
	err := b.run(ctx)
	b.close()
	return b.result, err
}

// A bench is one measuring.
type bench struct {
	plan   Plan
	draw   *rand.Rand
	sites  []*site
	stages []*stage // of the block that is being measured
	timing *timing
	result Result
}

func (b *bench) close() {
	for _, s := range b.sites {
		s.close()
	}
}

func (b *bench) run(ctx context.Context) error {
	if err := b.setUp(ctx); err != nil {
		return err
	}
	for _, witness := range []bool{false, true} { // one after the other: what idles beside costs time too
		if err := b.block(ctx, witness); err != nil {
			return err
		}
	}
	if err := b.sweep(ctx); err != nil {
		return err
	}
	if err := b.baselines(ctx); err != nil {
		return err
	}
	return b.costs(ctx)
}

// setUp starts the servers: one that does not come up is told before the first run.
func (b *bench) setUp(ctx context.Context) error {
	for _, backend := range b.plan.Backends {
		if err := b.open(ctx, backend); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) open(ctx context.Context, backend Backend) error {
	dir, err := os.MkdirTemp(b.plan.Dir, backend.Name+"-")
	if err != nil {
		return err
	}
	s, err := open(ctx, backend, dir)
	if err == nil {
		b.sites = append(b.sites, s)
	}
	return err
}

// block makes all runs with contenders that have a witness, or all others.
func (b *bench) block(ctx context.Context, witness bool) error {
	if witness && !slices.ContainsFunc(b.plan.Faults, func(f Fault) bool { return f.witness }) {
		return nil
	}
	defer func() {
		for _, s := range b.stages {
			s.close()
		}
		b.stages = nil
	}()
	name := "plain"
	if witness {
		name = "witness"
		b.say("now with a witness beside every contender")
	}
	for _, s := range b.sites {
		st, err := newStage(ctx, s, name, timesOf(b.plan.TTL), IDs(contenders))
		if err != nil {
			return fmt.Errorf("%s: %w", s.backend.Name, err)
		}
		st.witness = witness
		b.stages = append(b.stages, st)
		if err := st.startAll(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.backend.Name, err)
		}
	}
	return b.failovers(ctx)
}

// timesOf is how the coordinator divides a ttl.
func timesOf(ttl time.Duration) coordinator.Config { return coordinator.Config{TTL: ttl}.Defaults() }

// floors adds to what a store's floor is worked out from. A store that does not answer
// after a fault is told by its runs.
func (b *bench) floors(ctx context.Context) {
	for _, s := range b.stages {
		name := s.site.backend.Name
		more, err := s.measureFloor(ctx, floorWrites)
		if err != nil && ctx.Err() == nil {
			b.say(fmt.Sprintf("%s: no floor this time: %v", name, err))
		}
		f := b.result.Floors[name]
		b.result.Floors[name] = Floor{append(f.Commit, more.Commit...), append(f.Delivery, more.Delivery...)}
	}
}

// fits reports whether a fault can be done to a stage.
func (f Fault) fits(s *stage) bool {
	return f.witness == s.witness && (!f.inside || s.site.backend.Inside) && f.Lacks(s.site.backend) == ""
}

// Lacks says why a fault cannot be done to a store, or nothing.
func (f Fault) Lacks(b Backend) string {
	switch {
	case f.servers && len(b.Given) > 0:
		return "the servers are not ours to kill"
	case f.servers && b.members() == 1:
		return "it has one server here, and none is left when that is killed"
	case f.spoils && !b.Plain:
		return "through TLS no proxy can stand between"
	}
	return ""
}

// A turn is one run to come.
type turn struct {
	stage *stage
	fault Fault
	run   int
	phase float64
}

// turns are all runs, in the order in which they are made: every fault once on every
// store, then again; the stores in another order each time. A run of 0 is a warm-up.
func (b *bench) turns() []turn {
	phases := map[*stage]map[string][]float64{}
	var all []turn
	for _, s := range b.stages {
		phases[s] = map[string][]float64{}
		for _, f := range b.plan.Faults {
			phases[s][f.Name] = spread(b.draw, b.plan.Runs)
		}
		all = append(all, turn{s, warmUp, 0, b.draw.Float64()})
	}
	for run := range b.plan.Runs {
		for _, f := range b.plan.Faults {
			for _, i := range b.draw.Perm(len(b.stages)) {
				if s := b.stages[i]; f.fits(s) {
					all = append(all, turn{s, f, run + 1, phases[s][f.Name][run]})
				}
			}
		}
	}
	return all
}

// warmUp is the fault of the run that is dropped.
var warmUp = Faults[faultIndex("clean")]

// spread draws n numbers in [0, 1), one from each n-th part, in any order.
func spread(draw *rand.Rand, n int) []float64 {
	all := make([]float64, n)
	for i, part := range draw.Perm(n) {
		all[i] = (float64(part) + draw.Float64()) / float64(n)
	}
	return all
}

func (b *bench) failovers(ctx context.Context) error {
	turns := b.turns()
	for i, t := range turns {
		b.tell(turns, i)
		if i > 0 && t.run != turns[i-1].run {
			b.floors(ctx)
		}
		began := time.Now()
		sample := t.stage.run(ctx, t.fault, t.run, t.phase)
		if ctx.Err() != nil {
			return context.Cause(ctx) // the run was cut off by us: it says nothing
		}
		b.timing.took(t, time.Since(began))
		if t.run > 0 {
			b.result.Samples = append(b.result.Samples, sample)
		}
	}
	b.tell(turns, len(turns))
	return nil
}

// tell says how far each store is when the first n turns are over.
func (b *bench) tell(turns []turn, n int) {
	if b.plan.Progress == nil {
		return
	}
	var left time.Duration
	for _, t := range turns[n:] {
		left += b.timing.expect(t)
	}
	for _, s := range b.stages {
		p := Progress{Name: s.site.backend.Name, Left: left}
		if s.witness {
			p.Name += ", witness"
		}
		for i, t := range turns {
			if t.stage == s {
				p.Total++
				if i < n {
					p.Done++
				}
			}
		}
		b.plan.Progress(p)
	}
}

// ErrOverlap is that two works were active at once.
var ErrOverlap = errors.New("two works were active at once")

// ErrUnmeasured means that of some runs nothing is known.
var ErrUnmeasured = errors.New("runs that were not measured")

// Check returns what makes the result no proof: an overlap, or runs that were not measured, with the reason of each.
func (r Result) Check() error {
	var errs []error
	broken := map[string]int{}
	var reasons []string // the keys of broken, as they came
	for _, s := range r.Samples {
		if s.Overlap > 0 && s.Who == Understudy {
			errs = append(errs, fmt.Errorf("%w: %s, %s, run %d: for %v", ErrOverlap, s.Store, s.Fault, s.Run, s.Overlap))
		}
		if s.Outcome != Broken {
			continue
		}
		store := s.Store
		if s.Who != Understudy {
			store = s.Who + " on " + store
		}
		why := fmt.Sprintf("%s, %s, ttl %v: %s", store, s.Fault, s.TTL, strings.ReplaceAll(s.Note, "\n", "; "))
		if broken[why]++; broken[why] == 1 {
			reasons = append(reasons, why)
		}
	}
	for _, why := range reasons {
		errs = append(errs, fmt.Errorf("%w, %d of %d: %s", ErrUnmeasured, broken[why], len(r.Samples), why))
	}
	return errors.Join(errs...)
}
