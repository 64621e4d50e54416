//go:build chaos

package main

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/hosts"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// A fleet is a trio on machines of their own, with the command as it is shipped, over mutual TLS. The test is an operator.
type fleet struct {
	*trio
	net          *hosts.Network
	voters       []string      // who compete for nothing
	acknowledged atomic.Uint64 // the greatest floor that the group has acknowledged
}

// newFleet returns contenders, and voters beside them. None runs yet.
func newFleet(t *testing.T, contenders []string, voters ...string) *fleet {
	t.Helper()
	all := slices.Concat(contenders, voters)
	f := &fleet{net: hosts.Start(t, all...), voters: voters}
	f.trio = newTrioOn(t, func(r *trio) (backends.Config, []string) {
		r.ids = contenders
		var peers []raft.Peer
		for _, id := range all {
			peers = append(peers, raft.Peer{ID: id, Address: f.net.Address(id) + ":7001"})
		}
		dir, list := filepath.Join(r.dir, "certs"), stores.List(peers)
		if code, text := said(t, "raft", "certs", "--dir", dir, "--raft-peers", list, "--operator", "alice"); code != 0 {
			t.Fatal(text)
		}
		r.own, r.through = map[string][]string{}, map[string][]string{}
		for _, id := range all {
			r.own[id], r.through[id] = tlsOf(dir, id), f.net.On(id)
		}
		alice := tlsOf(dir, "alice")
		return backends.Config{Raft: raft.Config{Peers: peers, CAFile: alice[1], CertFile: alice[3], KeyFile: alice[5]}},
			append([]string{"--backend", "raft", "--raft-peers", list}, alice...)
	})
	f.program, f.ttl = filepath.Join(shipped(t), "understudy"), 4*time.Second
	f.more = []string{"--hang-timeout", "0"} // on a busy machine all of them may stand still for a second
	return f
}

// begin starts everybody, and loaders that have the group commit something all the time until the test ends.
func (f *fleet) begin(loaders int) {
	f.t.Helper()
	for _, id := range f.voters {
		f.vote(id)
	}
	f.startAll()
	f.eventually("one works and the others stand by", func() bool { _, ok := f.wholeWith(len(f.ids)); return ok })
	client, err := raft.Dial(f.store.Raft)
	must(f.t, err)
	ctx, stop := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	var floor atomic.Uint64
	for range loaders {
		running.Go(func() {
			for ctx.Err() == nil {
				next := 1<<32 + floor.Add(1) // above every index, so that it is always a change
				short, cancel := context.WithTimeout(ctx, 2*time.Second)
				if client.Raise(short, lock.Token(next)) == nil {
					f.acknowledge(next)
				}
				cancel()
			}
		})
	}
	f.t.Cleanup(func() { stop(); running.Wait(); must(f.t, client.Close()) })
}

// acknowledge notes that the group has acknowledged a floor.
func (f *fleet) acknowledge(floor uint64) {
	for was := f.acknowledged.Load(); was < floor && !f.acknowledged.CompareAndSwap(was, floor); was = f.acknowledged.Load() {
	}
}

// vote starts one that only votes.
func (f *fleet) vote(id string) {
	f.t.Helper()
	f.launch(id, lastOfEach(slices.Concat([]string{"raft-voter", "--id", id, "--ttl", f.ttl.String(), "--log-level", "debug", "--raft-dir", filepath.Join(f.dir, id)}, f.flags[2:], f.own[id]))...)
}

// off takes the power of a machine away.
func (f *fleet) off(id string) {
	f.t.Helper()
	f.net.Off(id)
	f.kill(id, syscall.SIGKILL)
}

// served waits until somebody works later than at a moment.
func (f *fleet) served(moment time.Duration) {
	f.t.Helper()
	f.eventually("somebody works", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.ContainsFunc(f.spans, func(s *span) bool { return s.last > moment })
	})
}

// isolate loses what a machine sends to the others, what they send to it, or both.
func (f *fleet) isolate(id string, out, in bool) {
	f.t.Helper()
	for _, other := range slices.Concat(f.ids, f.voters) {
		if other == id {
			continue
		}
		if out {
			f.net.Cut(id, other)
		}
		if in {
			f.net.Cut(other, id)
		}
	}
}

// takeover takes the power of the active's machine away, and returns how long nobody works then.
func (f *fleet) takeover(now span) (next span, took time.Duration) {
	f.t.Helper()
	at := coordinator.Clocks().Mono
	f.off(now.id)
	next = f.active(now.token)
	return next, next.first - at
}

// know waits until each node, by its own ledger, knows what the group has acknowledged.
func (f *fleet) know() {
	f.t.Helper()
	floor, token := lock.Token(f.acknowledged.Load()), lock.Token(f.active(0).token)
	for _, p := range f.store.Raft.Peers {
		alone := f.store.Raft
		alone.Peers = []raft.Peer{p}
		client, err := raft.Dial(alone)
		must(f.t, err)
		f.eventually(p.ID+" knows every acknowledged term", func() bool {
			ctx, cancel := context.WithTimeout(f.t.Context(), 3*time.Second)
			defer cancel()
			st, err := standing(ctx, client, "r")
			return err == nil && st.Floor >= floor && st.Term.Token >= token
		})
		must(f.t, client.Close())
	}
}
