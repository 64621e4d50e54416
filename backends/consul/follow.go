package consul

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
)

// How long Consul may block before it answers that nothing changed; how much it and the network
// may add to that; and the pause after an early answer without a change: Consul sends those for a
// missing key, and for an empty prefix, whenever anybody writes.
const (
	blocking = 10 * time.Second
	slack    = blocking/16 + 20*time.Second // a connection may be new
	breather = 100 * time.Millisecond
)

// Follow asks one blocking query for each key, on a connection of its own.
func (s *store) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		changes, failed := make(chan []kv.Record), make(chan error, len(keys))
		for _, key := range keys {
			t := track{key: key, index: since.Revision, seen: map[string]uint64{}}
			for _, r := range since.Records {
				if r.Key == key || strings.HasSuffix(key, "/") && strings.HasPrefix(r.Key, key) {
					t.seen[r.Key] = r.Revision
				}
			}
			running.Go(func() { failed <- s.follow(ctx, t, changes) })
		}
		for {
			select {
			case r := <-changes:
				if !yield(r, nil) {
					return
				}
			case err := <-failed:
				yield(nil, fmt.Errorf("follow: %w", err))
				return
			}
		}
	}
}

// A track is how far one key was followed.
type track struct {
	key   string
	index uint64            // of the last answer: a record that is not in seen and not newer came back
	seen  map[string]uint64 // the index of each record
}

// follow sends the changes of one key until that fails.
func (s *store) follow(ctx context.Context, t track, to chan<- []kv.Record) error {
	ask := uint64(0) // answer at once: our index may be one that is still to come
	for {
		began := time.Now()
		records, index, err := s.look(ctx, t.key, ask)
		if err != nil {
			return err
		}
		changes, err := t.compare(records)
		if err != nil {
			return err
		}
		if len(changes) > 0 {
			select {
			case to <- changes:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		// If no record went back, a smaller index only means that Consul has forgotten deletions.
		t.index = index
		if len(changes) > 0 || ask == 0 || time.Since(began) >= blocking {
			ask = index
			continue
		}
		// It answered early, perhaps because a snapshot was restored: then the answer was still
		// the old one, and the next may be below our index.
		ask = 0
		select {
		case <-time.After(breather):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look asks for the records of a key as soon as their index exceeds wait, or after a while. The
// time is limited by the context, not by the client, whose own timeout would cut every query.
func (s *store) look(ctx context.Context, key string, wait uint64) (api.KVPairs, uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, blocking+slack, errSilent)
	defer cancel()
	q, _, done, err := s.call(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	q.WaitIndex, q.WaitTime = wait, blocking
	var pairs api.KVPairs
	var meta *api.QueryMeta
	if strings.HasSuffix(key, "/") {
		pairs, meta, err = s.client.KV().List(key, q)
	} else {
		var one *api.KVPair
		if one, meta, err = s.client.KV().Get(key, q); one != nil {
			pairs = api.KVPairs{one}
		}
	}
	switch {
	case err != nil:
		return nil, 0, s.explain(q, err)
	case meta.ResultsFilteredByACLs:
		return nil, 0, s.denied(fmt.Sprintf("reading everything under %q", key))
	case meta.LastIndex == 0:
		return nil, 0, errors.New("consul answered without an index")
	}
	return pairs, meta.LastIndex, nil
}

var (
	errSilent   = errors.New("consul did not answer a blocking query in time")
	errWentBack = errors.New("consul went back to an earlier state")
)

// compare returns what changed since the last answer, by the records' own indexes: an answer need
// not be a change. It fails if one went back.
func (t *track) compare(now api.KVPairs) ([]kv.Record, error) {
	var changes []kv.Record
	gone := maps.Clone(t.seen)
	for _, p := range now {
		was, known := t.seen[p.Key]
		delete(gone, p.Key)
		switch {
		case known && p.ModifyIndex == was:
			continue
		case known && p.ModifyIndex < was, !known && p.ModifyIndex <= t.index:
			return nil, fmt.Errorf("%w: key %q has index %d, after %d", errWentBack, p.Key, p.ModifyIndex, max(was, t.index))
		}
		t.seen[p.Key] = p.ModifyIndex
		changes = append(changes, recordOf(p))
	}
	for _, key := range slices.Sorted(maps.Keys(gone)) {
		delete(t.seen, key)
		changes = append(changes, kv.Record{Key: key})
	}
	return changes, nil
}
