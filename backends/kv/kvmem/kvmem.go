// Package kvmem is a store of package kv in memory: the one to read before you write your
// own, and the one to test against, since it fails on demand and runs in a bubble of
// testing/synctest.
//
// A [Server] is the store. Each process has a [Client] of its own: its way to the store,
// with faults. Nothing survives the process.
package kvmem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
)

// A Server is one store. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	revision uint64
	records  map[string]kv.Record
	leases   map[kv.Lease]*lease
	granted  int
	history  []commit      // what Follow yields, oldest first
	forgot   uint64        // the history up to this revision is gone
	epoch    int           // counts rollbacks
	news     chan struct{} // closed and replaced with every commit
}

// A commit is what one transaction, or the end of a lease, changed.
type commit struct {
	revision uint64
	changes  []kv.Record
}

type lease struct {
	ttl time.Duration
	end *time.Timer
}

// New returns an empty store.
func New() *Server {
	return &Server{records: map[string]kv.Record{}, leases: map[kv.Lease]*lease{}, news: make(chan struct{})}
}

// Open returns another process's way to the store.
func (s *Server) Open() *Client {
	c := &Client{server: s}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c
}

// Forget makes the store forget its history, as compaction does: a Follow since an earlier
// view ends with an error.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.history, s.forgot = nil, s.revision
}

// Save copies the store's data and returns what puts it back: the revision goes back, too.
// Leases are not part of it.
func (s *Server) Save() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	records, revision := maps.Clone(s.records), s.revision
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.records, s.revision = maps.Clone(records), revision
		s.history, s.forgot = nil, revision
		s.epoch++
		s.wake()
	}
}

func (s *Server) wake() {
	close(s.news)
	s.news = make(chan struct{})
}

// matches reports whether one of the keys names the record; one that ends in "/" stands for
// every key that begins with it.
func matches(keys []string, key string) bool {
	return slices.ContainsFunc(keys, func(k string) bool {
		return k == key || strings.HasSuffix(k, "/") && strings.HasPrefix(key, k)
	})
}

func (s *Server) view(keys []string) kv.View {
	v := kv.View{Revision: s.revision}
	for key, r := range s.records {
		if matches(keys, key) {
			r.Value = bytes.Clone(r.Value)
			v.Records = append(v.Records, r)
		}
	}
	return v
}

func (s *Server) read(keys []string) kv.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view(keys)
}

func (s *Server) commit(t kv.Txn) (kv.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := max(len(t.Guards), len(t.Writes)); n > kv.MaxOps {
		return kv.Result{}, fmt.Errorf("%d operations in one transaction: at most %d", n, kv.MaxOps)
	}
	for _, g := range t.Guards {
		r, exists := s.records[g.Key]
		if g.Exists && !exists || !g.Exists && r.Revision != g.Revision {
			var keys []string
			for _, g := range t.Guards {
				keys = append(keys, g.Key)
			}
			return kv.Result{Found: s.view(keys)}, nil
		}
	}
	written := map[string]bool{}
	for _, w := range t.Writes {
		if written[w.Key] {
			return kv.Result{}, fmt.Errorf("key %q is written twice in one transaction", w.Key)
		}
		written[w.Key] = true
		if w.Value != nil && w.Lease != "" && s.leases[w.Lease] == nil {
			return kv.Result{}, kv.ErrNoLease
		}
	}
	return kv.Result{Committed: true, Revision: s.apply(t.Writes)}, nil
}

// apply does writes as one commit and returns its revision.
func (s *Server) apply(writes []kv.Write) uint64 {
	s.revision++
	c := commit{revision: s.revision}
	for _, w := range writes {
		if w.Value == nil {
			if _, exists := s.records[w.Key]; exists {
				delete(s.records, w.Key)
				c.changes = append(c.changes, kv.Record{Key: w.Key, Gone: s.revision})
			}
			continue
		}
		r := kv.Record{Key: w.Key, Value: bytes.Clone(w.Value), Revision: s.revision, Lease: w.Lease}
		s.records[w.Key] = r
		c.changes = append(c.changes, r)
	}
	s.history = append(s.history, c)
	s.wake()
	return s.revision
}

func (s *Server) grant(ttl time.Duration) kv.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.granted++
	id := kv.Lease(fmt.Sprint(s.granted))
	s.leases[id] = &lease{ttl, time.AfterFunc(ttl, func() { _ = s.revoke(id) })}
	return id
}

func (s *Server) keep(id kv.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return kv.ErrNoLease
	}
	l.end.Reset(l.ttl)
	return nil
}

func (s *Server) revoke(id kv.Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.leases[id]
	if l == nil {
		return kv.ErrNoLease
	}
	l.end.Stop()
	delete(s.leases, id)
	var gone []kv.Write
	for key, r := range s.records {
		if r.Lease == id {
			gone = append(gone, kv.Write{Key: key})
		}
	}
	if len(gone) > 0 {
		s.apply(gone)
	}
	return nil
}

// since returns what changed after a revision, and a channel that is closed when more does.
func (s *Server) since(revision uint64, epoch int) ([]commit, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.epoch || revision < s.forgot {
		return nil, nil, fmt.Errorf("the history since revision %d is gone", revision)
	}
	i, _ := slices.BinarySearchFunc(s.history, revision+1, func(c commit, r uint64) int { return int(c.revision) - int(r) })
	return s.history[i:], s.news, nil
}

func (s *Server) follow(ctx context.Context, view kv.View, keys []string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		s.mu.Lock()
		epoch, revision := s.epoch, view.Revision
		s.mu.Unlock()
		for {
			commits, news, err := s.since(revision, epoch)
			if err == nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, c := range commits {
				revision = c.revision
				step := slices.DeleteFunc(slices.Clone(c.changes), func(r kv.Record) bool { return !matches(keys, r.Key) })
				if len(step) > 0 && !yield(step, nil) {
					return
				}
			}
			select {
			case <-news:
			case <-ctx.Done():
			}
		}
	}
}

// ErrClosed is what calls of a Client say after Close.
var ErrClosed = errors.New("kvmem: the client is closed")
