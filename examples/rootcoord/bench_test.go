package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/state"
)

var entries = flag.Int("entries", 10_000, "collections and partitions of BenchmarkTakeover")

// BenchmarkTakeover times a takeover: from the moment at which the active is killed until another gives
// a linearizable answer that is right. In turn with it, it times what that would cost a process which
// knows nothing: it reads the same entries from the same store. The medians of both are shown.
func BenchmarkTakeover(b *testing.B) {
	for store, ids := range map[string][]string{"raft": {"a", "b", "c"}, "etcd": {"a", "b"}} {
		b.Run(store, func(b *testing.B) {
			g := newGroup(b, store, ids...)
			g.fill(g.at[g.settled(1).Term.Holder.ID])
			var takeovers, reloads []time.Duration
			for b.Loop() {
				id := g.settled(1).Term.Holder.ID
				for _, id := range g.ids {
					lab.Eventually(b, id+" to know all", func() bool { return g.knows(id, "") })
				}
				reloads = append(reloads, g.reload())
				began := time.Now()
				lab.Must(b, g.procs[id].Signal(syscall.SIGKILL))
				lab.Eventually(b, "an answer of another", func() bool {
					return slices.ContainsFunc(g.ids, func(other string) bool { return other != id && g.knows(other, "0") })
				})
				takeovers = append(takeovers, time.Since(began))
				<-g.procs[id].Gone()
			}
			b.Logf("takeovers %v, reloads %v", takeovers, reloads)
			b.ReportMetric(median(takeovers), "ms/takeover")
			b.ReportMetric(median(reloads), "ms/reload")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// place is where an entry is, and what it is about, which is the same for all of a collection: with its
// name about 200 bytes.
func place(i int) (path, about string) {
	path = fmt.Sprintf("/collections/collection_%04d", i/100)
	if i%100 > 0 {
		path += fmt.Sprintf("/partitions/partition_%04d", i%100)
	}
	return path, fmt.Sprintf(`{"db":"default","shards":2,"state":"Created","channels":["rootcoord-dml_%d","rootcoord-dml_%d"],"consistency":"Bounded","properties":{"collection.ttl.seconds":"%d"}}`, i/100%16, (i/100+1)%16, 3600*(i/100%5))
}

// fill creates all entries: collections first, from many clients at once.
func (g *group) fill(at string) {
	create := func(i int) {
		path, about := place(i)
		for !g.Failed() {
			a, err := ask(g.Context(), lab.Patience, "PUT", at+path, fmt.Sprintf("fill-%06d", i), about)
			switch {
			case err == nil && a.status == http.StatusCreated:
				return
			case err != nil || a.status != http.StatusServiceUnavailable && a.status != http.StatusGatewayTimeout:
				g.Errorf("%s: %d %s %v", path, a.status, a.text, err)
			}
			time.Sleep(10 * time.Millisecond) // its work may be about to begin
		}
	}
	for _, collections := range []bool{true, false} {
		var next atomic.Int64
		var busy sync.WaitGroup
		for range 256 {
			busy.Go(func() {
				for i := int(next.Add(1)) - 1; i < *entries; i = int(next.Add(1)) - 1 {
					if (i%100 == 0) == collections {
						create(i)
					}
				}
			})
		}
		busy.Wait()
	}
	if g.Failed() {
		g.FailNow()
	}
}

// knows reports whether a process shows the last entry, and as old as that if age says so.
func (g *group) knows(id, age string) bool {
	path, about := place(*entries - 1)
	a, err := ask(g.Context(), time.Second, "GET", g.at[id]+path, "", "")
	return err == nil && a.entry.About == about && (age == "" || a.age == age)
}

// reload has a log that knows nothing read everything.
func (g *group) reload() time.Duration {
	ctx, stop := context.WithCancel(g.Context())
	began := time.Now()
	log, err := state.Open(ctx, g.client, "rootcoord", newMeta, state.Options{})
	lab.Must(g, err)
	ended := make(chan error, 1)
	go func() { ended <- log.Standby(ctx, "rootcoord") }()
	lab.Eventually(g, "everything to be read", func() (all bool) {
		_, _ = log.Read(func(m *meta) { all = m.Created == uint64(*entries) })
		return all
	})
	took := time.Since(began)
	stop()
	lab.Must(g, <-ended)
	return took
}
