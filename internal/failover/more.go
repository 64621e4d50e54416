package failover

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Baseline is another way to elect, measured on the same servers.
type Baseline struct {
	Backend
	TTL time.Duration // of its lease, as it stands in the table
}

// BaselineRuns is how often each of a baseline's faults is measured.
const BaselineRuns = 3

// longTTL is the ttl from which stages are measured side by side: what they do then
// is nearly all waiting.
const longTTL = 2 * time.Second

// swept are the faults of a sweep: with a witness the ttl is nothing to a crash.
var swept = []string{"crash-witness", "crash"}

// sweep measures a crash at other ttls.
func (b *bench) sweep(ctx context.Context) error {
	var long []func(context.Context) []Sample
	for _, ttl := range b.plan.Sweep {
		for _, s := range b.sites {
			one := func(ctx context.Context) (all []Sample) {
				for _, fault := range swept { // one after the other: what idles beside costs time too
					all = append(all, b.aside(ctx, s, fmt.Sprintf("ttl-%v-%s", ttl, fault), ttl, SweepRuns, fault)...)
				}
				return all
			}
			if ttl >= longTTL {
				long = append(long, one)
				continue
			}
			b.say(s.backend.Name + ", ttl " + ttl.String())
			b.result.Samples = append(b.result.Samples, one(ctx)...)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	if len(long) > 0 {
		b.say(fmt.Sprintf("the longer ttls, up to %v", b.plan.Sweep[len(b.plan.Sweep)-1]))
	}
	return b.together(ctx, long)
}

// baselines measures what others do.
func (b *bench) baselines(ctx context.Context) error {
	var all []func(context.Context) []Sample
	for _, baseline := range b.plan.Baselines {
		for _, s := range b.sites {
			if s.backend.Name == baseline.Name {
				like := *s
				like.backend = baseline.Backend
				all = append(all, func(ctx context.Context) []Sample {
					return b.aside(ctx, &like, baseline.Who, baseline.TTL, BaselineRuns, "clean", "crash")
				})
			}
		}
	}
	if len(all) > 0 {
		b.say("baselines, side by side")
	}
	return b.together(ctx, all)
}

func (b *bench) say(what string) {
	if b.plan.Progress != nil {
		b.plan.Progress(Progress{Name: what})
	}
}

// together runs everything at once and keeps what was measured.
func (b *bench) together(ctx context.Context, all []func(context.Context) []Sample) error {
	var group sync.WaitGroup
	results := make([][]Sample, len(all))
	for i, f := range all {
		group.Go(func() { results[i] = f(ctx) })
	}
	group.Wait()
	for _, r := range results {
		b.result.Samples = append(b.result.Samples, r...)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// aside measures a few runs on a stage that lives no longer. One that cannot be set
// counts as a broken run.
func (b *bench) aside(ctx context.Context, s *site, name string, ttl time.Duration, runs int, faults ...string) (all []Sample) {
	st, err := newStage(ctx, s, name, timesOf(ttl), IDs(contenders))
	if err == nil {
		defer st.close()
		st.witness = Faults[faultIndex(faults[0])].witness
		err = st.startAll(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		broken := newSample(s.backend, faults[0], ttl)
		broken.Note = err.Error()
		return []Sample{broken}
	}
	for run := range runs {
		for _, f := range Faults {
			for _, name := range faults {
				if f.Name != name || ctx.Err() != nil {
					continue
				}
				sample := st.run(ctx, f, run+1, (float64(run)+0.5)/float64(runs))
				if ctx.Err() == nil {
					all = append(all, sample)
				}
			}
		}
	}
	return all
}
