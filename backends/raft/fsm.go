package raft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// format is the version of what stands in the log and in snapshots.
const format = 1

// An entry is one log entry.
type entry struct {
	Format  int
	Command ledger.Command
}

// A state is one snapshot.
type state struct {
	Format int
	Ledger *ledger.Ledger
}

// A replica is this node's copy of the ledger. Raft applies to it.
type replica struct {
	mu      sync.Mutex
	ledger  *ledger.Ledger
	changed chan struct{} // closed and replaced by every entry and every restore
	newer   error         // an entry of a newer format was met: nothing more is applied
}

func newReplica() *replica { return &replica{ledger: ledger.New(), changed: make(chan struct{})} }

var _ raft.FSM = (*replica)(nil)

// Apply applies one entry. One of a newer format stops this node: it would only
// get wrong what follows.
func (r *replica) Apply(log *raft.Log) any {
	var e entry
	err := json.Unmarshal(log.Data, &e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer == nil && (err != nil || e.Format > format) {
		r.newer = fmt.Errorf("%w: entry %d has format %d, this program knows %d: upgrade it", lock.ErrPermanent, log.Index, e.Format, format)
	}
	if r.newer != nil {
		return r.newer
	}
	result := r.ledger.Apply(log.Index, e.Command)
	result.Revision = log.Index
	r.wake()
	return result
}

func (r *replica) wake() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Snapshot returns a copy, so that later entries do not touch it.
func (r *replica) Snapshot() (raft.FSMSnapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer != nil {
		return nil, r.newer
	}
	data, err := json.Marshal(state{Format: format, Ledger: r.ledger})
	return snapshot(data), err
}

// Restore replaces the copy, and wakes whoever watches.
func (r *replica) Restore(from io.ReadCloser) error {
	defer from.Close()
	s := state{Ledger: ledger.New()}
	if err := json.NewDecoder(from).Decode(&s); err != nil {
		return err
	}
	if s.Format > format {
		return fmt.Errorf("%w: the snapshot has format %d, this program knows %d: upgrade it", lock.ErrPermanent, s.Format, format)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledger = s.Ledger
	r.wake()
	return nil
}

// look returns the standings now, and the channel that the next change closes.
func (r *replica) look(roles []string) ([]lock.Standing, uint64, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ledger.Standings(roles...), r.ledger.Revision, r.changed, r.newer
}

// takingOver reports whether a role stands vacant with somebody in line.
func (r *replica) takingOver() bool {
	all, _, _, _ := r.look(nil)
	for _, st := range all {
		if st.Term.Vacant() && len(st.Line) > 0 {
			return true
		}
	}
	return false
}

type snapshot []byte

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (s snapshot) Release() {}
