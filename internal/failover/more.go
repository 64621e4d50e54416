package failover

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Baseline is another way to elect, measured on the same servers.
type Baseline struct {
	Backend
	TTL time.Duration // of its lease; 0: it has none
}

// BaselineRuns is how often each of a baseline's faults is measured, at most.
const BaselineRuns = 3

// baselineFaults are what is done to baselines.
var baselineFaults = []string{"clean", "crash", "hang", "partition"}

// waits reports whether nearly all of a fault is waiting.
func (b Baseline) waits(f Fault) bool {
	return f.silence && (b.TTL >= longTTL || b.TTL == 0 && f.Name != "crash")
}

// longTTL is the ttl from which stages are measured side by side: what they do then
// is nearly all waiting.
const longTTL = 2 * time.Second

// swept are the faults of a sweep: with a witness the ttl is nothing to a crash.
var swept = []string{"crash-witness", "crash"}

// An errand is a few runs of some faults, each on a stage of its own, one after the other:
// what idles beside costs time too.
type errand struct {
	name   string
	site   *site
	ttl    time.Duration
	runs   int
	waits  bool // nearly all of it is waiting
	faults []string
}

// sweep measures a crash at other ttls.
func (b *bench) sweep(ctx context.Context) error {
	var all []errand
	for _, ttl := range b.plan.Sweep {
		for _, s := range b.sites {
			all = append(all, errand{fmt.Sprintf("ttl-%v", ttl), s, ttl, SweepRuns, ttl >= longTTL, swept})
		}
	}
	return b.errands(ctx, "the longer ttls", all)
}

// baselines measures what others do, on the same servers or, of another store, on new ones.
func (b *bench) baselines(ctx context.Context) error {
	var all []errand
	for _, baseline := range b.plan.Baselines {
		i := slices.IndexFunc(b.sites, func(s *site) bool { return s.backend.Name == baseline.Name })
		if i < 0 {
			i = len(b.sites)
			if err := b.open(ctx, baseline.Backend); err != nil {
				return err
			}
		}
		like := *b.sites[i]
		like.backend = baseline.Backend
		for _, name := range baselineFaults {
			waits := baseline.waits(Faults[faultIndex(name)])
			all = append(all, errand{baseline.Who, &like, baseline.TTL, min(BaselineRuns, b.plan.Runs), waits, []string{name}})
		}
	}
	return b.errands(ctx, "baselines that wait", all)
}

// errands runs one after the other, and then at once those that wait.
func (b *bench) errands(ctx context.Context, waiting string, all []errand) error {
	var group sync.WaitGroup
	results := make([][]Sample, len(all))
	for i, e := range all {
		if ctx.Err() == nil && !e.waits {
			b.say(fmt.Sprintf("%s, %s: %s", e.site.backend.Name, e.name, strings.Join(e.faults, ", ")))
			results[i] = e.run(ctx)
		}
	}
	for i, e := range all {
		if ctx.Err() == nil && e.waits {
			group.Go(func() { results[i] = e.run(ctx) })
		}
	}
	if slices.ContainsFunc(all, func(e errand) bool { return e.waits }) {
		b.say(waiting + ", side by side")
	}
	group.Wait()
	b.result.Samples = append(b.result.Samples, slices.Concat(results...)...)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (b *bench) say(what string) {
	if b.plan.Progress != nil {
		b.plan.Progress(Progress{Name: what})
	}
}

func (e errand) run(ctx context.Context) (all []Sample) {
	for _, name := range e.faults {
		all = append(all, e.aside(ctx, Faults[faultIndex(name)])...)
	}
	return all
}

// aside measures on a stage that lives no longer. One that cannot be set counts as a broken
// run.
func (e errand) aside(ctx context.Context, f Fault) (all []Sample) {
	st, err := newStage(ctx, e.site, e.name+"-"+f.Name, timesOf(e.ttl), IDs(contenders))
	if err == nil {
		defer st.close()
		st.witness = f.witness
		err = st.startAll(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		broken := newSample(e.site.backend, f.Name, e.ttl)
		broken.Note = err.Error()
		return []Sample{broken}
	}
	for run := range e.runs {
		sample := st.run(ctx, f, run+1, (float64(run)+0.5)/float64(e.runs))
		if ctx.Err() != nil {
			break
		}
		sample.TTL = e.ttl
		all = append(all, sample)
	}
	return all
}
