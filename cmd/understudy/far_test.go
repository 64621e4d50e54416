package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestTooFar: plan measures the way to the store and between Raft's peers, and says what does not fit these settings; a
// process that runs warns of it. What fits is measured, too, and nobody warns.
func TestTooFar(t *testing.T) {
	t.Parallel()
	for name, warning := range map[string]string{
		onEtcd:   "the store is too slow or too far away for this ttl: raise the ttl",
		onConsul: "the store is too slow or too far away for this ttl: raise the ttl",
		onRaft:   "a peer is too far away for the group's timing: raise the timing on every node",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ways []*servers.Proxy
			r := newTrioOn(t, func(r *trio) (config backends.Config, flags []string) {
				config, flags, ways = distant(r, name)
				return config, flags
			})
			r.ttl = 4 * time.Second // a try is half a second, and fits 450 ms; Raft's timing is 400 ms, and fits 200 ms
			more := []string{"--ttl", r.ttl.String()}
			if name == onRaft {
				r.more = []string{"--raft-timing", "400ms"}
				more = append(more, r.more...)
			}
			r.startAll("--log-level", "info")
			now := r.settle()
			r.expectSoon(" was measured; ", append([]string{"plan", "-o", "json"}, more...)...)
			if _, text := r.operate(append([]string{"plan"}, more...)...); strings.Contains(text, "TOO FAR") {
				t.Errorf("plan says too far of what is near:\n%s", text)
			}
			if strings.Contains(r.log(now.id), warning) {
				t.Errorf("%s warns of what is near:\n%s", now.id, r.log(now.id))
			}

			trip := map[string]time.Duration{onEtcd: 480 * time.Millisecond, onConsul: 480 * time.Millisecond, onRaft: 260 * time.Millisecond}[name]
			for _, way := range ways {
				way.Far(trip, 0)
			}
			r.expectSoon("TOO FAR", append([]string{"plan"}, more...)...)
			r.logged(r.ids[0], warning)
		})
	}
}

// expectSoon waits until a command says something.
func (r *trio) expectSoon(text string, args ...string) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%v says %s", args, text), func() bool {
		code, said := r.operate(args...)
		return code == 0 && strings.Contains(said, text)
	})
}

// distant starts a store that everybody reaches through proxies, or prepares one of embedded Raft.
func distant(r *trio, name string) (config backends.Config, flags []string, ways []*servers.Proxy) {
	s := stores.Start(r.t, name, r.dir)
	r.cluster = s.Cluster
	through := func(to string) string {
		way, err := servers.StartProxy(to)
		lab.Must(r.t, err)
		r.t.Cleanup(way.Close)
		ways = append(ways, way)
		return way.Addr()
	}
	if r.cluster != nil {
		s.Config.Row().Servers(&s.Config).Use([]string{through(r.cluster.Members[0].Addr())})
		return s.Config, s.Flags(), ways
	}
	r.own = map[string][]string{}
	for i, own := range s.Config.Raft.Peers { // each reaches the others through proxies of its own
		all := make([]raft.Peer, len(s.Config.Raft.Peers))
		for j, p := range s.Config.Raft.Peers {
			if all[j] = p; i != j {
				all[j].Address = through(p.Address)
			}
		}
		r.own[own.ID] = []string{"--raft-peers", stores.List(all)}
	}
	return s.Config, s.Flags(), ways
}
