package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// benchOptions are what the flags of bench say.
type benchOptions struct {
	*options
	stores []string
	faults []string
	runs   int
	seed   uint64
	out    string

	quick, force, sweep, cost, baselines bool
}

func (b *benchOptions) flags() {
	set := b.Set
	set.StringSliceVar(&b.stores, "backends", nil, "what is measured: "+strings.Join(benchStores(), ", ")+" (default those that have servers here)")
	set.StringSliceVar(&b.faults, "faults", nil, "what is done: "+strings.Join(faultNames(), ", ")+" (default all that the ttl allows)")
	set.IntVar(&b.runs, "runs", 30, "of each fault on each store")
	set.Uint64Var(&b.seed, "seed", 0, "of the order and of the moments of injection (default drawn)")
	set.StringVar(&b.out, "out", "report", "the directory of the report")
	set.BoolVar(&b.force, "force", false, "replace a report that is there")
	set.BoolVar(&b.quick, "quick", false, "an answer in about a minute: 2 runs of clean and crash, ttl 500ms")
	set.BoolVar(&b.sweep, "sweep", true, "measure a crash at ttls from 200ms to 30s, too, with a witness and without")
	set.BoolVar(&b.cost, "cost", true, "measure what it costs to stand by, too")
	set.BoolVar(&b.baselines, "baselines", false, "measure what is commonly used instead, too ('make baselines' builds it)")
}

// quickFaults are what --quick does.
var quickFaults = []string{"clean", "crash"}

func faultNames() (all []string) {
	for _, f := range failover.Faults {
		all = append(all, f.Name)
	}
	return all
}

// sweepTTLs are those of a sweep.
var sweepTTLs = []time.Duration{
	200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// finish checks everything before the first run, and says what is left out.
func (b *benchOptions) finish(cmd *cobra.Command) (p failover.Plan, _ error) {
	errs := []error{b.Read(cmd)}
	if runtime.GOOS != "linux" {
		errs = append(errs, errors.New("bench: measures on Linux only: it needs one clock that all processes share"))
	}
	b.hurry()
	if b.runs < 1 {
		errs = append(errs, fmt.Errorf("runs %d: must be at least 1", b.runs))
	}
	errs = append(errs, b.ForPlan())
	p = failover.Plan{Runs: b.runs, TTL: b.Coordinator.TTL, Seed: b.seed, Cost: b.cost}
	if p.Seed == 0 {
		p.Seed = uint64(time.Now().UnixNano())
	}
	if b.sweep {
		p.Sweep = slices.DeleteFunc(slices.Clone(sweepTTLs), func(d time.Duration) bool { return d == p.TTL })
	}
	errs = append(errs, b.chooseStores(&p), b.chooseFaults(&p), b.checkOut())
	if b.baselines {
		errs = append(errs, b.findBaselines(&p))
	}
	for _, what := range p.LeftOut {
		fmt.Fprintln(cmd.ErrOrStderr(), what)
	}
	if err := errors.Join(errs...); err != nil {
		return p, err
	}
	return p, p.CheckRoom()
}

// hurry is what --quick changes of what was not given.
func (b *benchOptions) hurry() {
	if !b.quick {
		return
	}
	given := func(name string) bool { return b.Set.Changed(name) || b.Given(name) }
	if !given("runs") {
		b.runs = 2
	}
	if !given("ttl") {
		b.Coordinator.TTL = 500 * time.Millisecond
	}
	if !given("faults") {
		b.faults = quickFaults
	}
	b.sweep, b.cost = b.sweep && given("sweep"), b.cost && given("cost")
}

func (b *benchOptions) chooseStores(p *failover.Plan) error {
	known := benchStores()
	names, chosen := b.stores, len(b.stores) > 0
	if !chosen {
		names = known
	}
	var errs []error
	for i, name := range names {
		name = strings.TrimSpace(name)
		if !slices.Contains(known, name) {
			errs = append(errs, fmt.Errorf("backends: %q cannot be measured, use some of %s%s", name, strings.Join(known, ", "), config.DidYouMean(name, known)))
			continue
		}
		if slices.Contains(names[:i], name) {
			errs = append(errs, fmt.Errorf("backends: %q is given twice", name))
			continue
		}
		backend := b.benchBackend(name)
		err := b.checkGiven(backend)
		if !backend.Inside && len(backend.Given) == 0 {
			_, err = servers.Path(name)
		}
		switch {
		case err == nil:
			p.Backends = append(p.Backends, backend)
		case chosen || len(backend.Given) > 0:
			errs = append(errs, err)
		default:
			p.LeftOut = append(p.LeftOut, fmt.Sprintf("%s is left out: %v", name, err))
		}
	}
	return errors.Join(errs...)
}

// checkGiven is what is wrong with the settings of servers that are the user's.
func (b *benchOptions) checkGiven(backend failover.Backend) error {
	if len(backend.Given) == 0 {
		return nil
	}
	one := *b.Config
	one.Store.Backend = backend.Name
	return one.ForClient()
}

func (b *benchOptions) chooseFaults(p *failover.Plan) error {
	var errs []error
	for _, name := range b.faults {
		if !slices.Contains(faultNames(), name) {
			errs = append(errs, fmt.Errorf("faults: there is no %q, use some of %s%s", name, strings.Join(faultNames(), ", "), config.DidYouMean(name, faultNames())))
		}
	}
	for _, f := range failover.Faults {
		if len(b.faults) > 0 && !slices.ContainsFunc(b.faults, func(n string) bool { return f.Name == n || strings.HasPrefix(f.Name, n+"-") }) {
			continue
		}
		if err := f.Check(p.TTL); err != nil {
			if len(b.faults) > 0 {
				errs = append(errs, err)
			} else {
				p.LeftOut = append(p.LeftOut, err.Error()+": it is left out")
			}
			continue
		}
		for _, backend := range p.Backends {
			if why := f.Lacks(backend); why != "" {
				p.LeftOut = append(p.LeftOut, fmt.Sprintf("%s on %s is left out: %s", f.Name, backend.Name, why))
			}
		}
		p.Faults = append(p.Faults, f)
	}
	return errors.Join(errs...)
}

// checkOut refuses a directory that holds a report, or cannot hold one. It leaves none that was not there.
func (b *benchOptions) checkOut() error {
	if b.out == "" {
		return errors.New("out: is empty; write a directory")
	}
	info, missing := os.Stat(b.out)
	if missing == nil && !info.IsDir() {
		return fmt.Errorf("out %q: is not a directory", b.out)
	}
	if _, err := os.Stat(filepath.Join(b.out, failover.RunsFile)); err == nil && !b.force {
		return fmt.Errorf("out %q: holds another report; write another directory, or add --force", b.out)
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return fmt.Errorf("out %q: %w", b.out, err)
	}
	probe, err := os.CreateTemp(b.out, ".probe-")
	if err != nil {
		return fmt.Errorf("out %q: %w", b.out, err)
	}
	err = errors.Join(probe.Close(), os.Remove(probe.Name()))
	if missing != nil {
		err = errors.Join(err, os.Remove(b.out))
	}
	return err
}
