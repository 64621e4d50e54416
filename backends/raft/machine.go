package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// format is the newest version of what stands in log entries and snapshots. A newer
// one is refused by name, and is never overwritten. What is written has the oldest that
// can say it: format 2 has values, format 3 an identity, format 4 what operators decide and
// what happened, format 5 who is about to be fenced, format 6 a backup that is restored, format 7
// values that are written on a condition. So a program that does not know one of them stops by
// name, where it would forget it in silence.
const (
	format     = 7
	restored   = 6 // without conditions
	fenced     = 5 // without a backup, too
	steered    = 4 // without who is about to be fenced, too
	identified = 3 // without what operators decide, too
	valued     = 2 // without an identity, too
	plain      = 1 // without values, too
)

// formatOf is the format of a command.
func formatOf(c ledger.Command) int {
	switch {
	case c.Conditional():
		return format
	case c.Op == ledger.Restore:
		return restored
	case c.Op == ledger.Fence:
		return fenced
	case c.Op == ledger.Pause || c.Op == ledger.Resume || c.Op == ledger.Configure || c.Op == ledger.Record:
		return steered
	case c.Identity != "" || c.Name != "" || c.Adopt != "":
		return identified
	case c.Op == ledger.Write:
		return valued
	}
	return plain
}

// An entry is what a log entry holds, and what a proposal is on the wire.
type entry struct {
	Format  int
	Command ledger.Command
}

// An image is what a snapshot holds.
type image struct {
	Format int
	Ledger *ledger.Ledger
}

// A machine is the replicated state: a ledger to which the log is applied. Once
// it met a newer format it is frozen: it applies nothing more, and refuses
// everything with the same error, which is lock.ErrPermanent.
type machine struct {
	mu      sync.Mutex
	ledger  *ledger.Ledger
	changed chan struct{} // closed and replaced by every entry and every restored snapshot
	refused error
	group   string             // to which the directory is held already
	adopt   func(string) error // holds it to another, or refuses that
	after   func()             // called when a snapshot was restored
	lists   []list             // of members, that were committed and not yet taken
}

// A list of members has its place in the log.
type list struct {
	index   uint64
	members []Member
}

var _ raft.ConfigurationStore = (*machine)(nil)

// StoreConfiguration keeps each list that is committed, in order.
func (m *machine) StoreConfiguration(index uint64, c raft.Configuration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lists = append(m.lists, list{index, membersOf(c)})
}

// takeLists returns what was kept since the last call.
func (m *machine) takeLists() []list {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.lists
	m.lists = nil
	return all
}

func newMachine() *machine {
	return &machine{ledger: ledger.New(), changed: make(chan struct{}), adopt: func(string) error { return nil }, after: func() {}}
}

func encode(c ledger.Command) ([]byte, error) { return json.Marshal(entry{formatOf(c), c}) }

// checkFormat refuses data of a newer format than this program knows.
func checkFormat(what string, data []byte) error {
	var head struct{ Format int }
	if err := json.Unmarshal(data, &head); err == nil && head.Format > format {
		return lock.Permanent(fmt.Errorf("%s has format %d, this program reads up to %d: run a newer one on this node", what, head.Format, format))
	}
	return nil
}

// Apply returns a ledger.Result, or the error of a machine that is frozen.
func (m *machine) Apply(l *raft.Log) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wake()
	if m.refused == nil {
		m.refused = checkFormat(fmt.Sprintf("log entry %d", l.Index), l.Data)
	}
	if m.refused != nil {
		return m.refused
	}
	var e entry
	if err := json.Unmarshal(l.Data, &e); err != nil { // the same on every node
		m.ledger.Apply(l.Index, ledger.Command{Op: ledger.Nothing})
		return ledger.Result{Code: ledger.Permanent, Why: fmt.Sprintf("log entry %d is not a command: %v", l.Index, err), Revision: l.Index}
	}
	r := m.ledger.Apply(l.Index, e.Command)
	r.Revision = l.Index
	if m.belong(); m.refused != nil {
		return m.refused
	}
	return r
}

// belong holds the directory to the ledger's identity, which is its group's.
func (m *machine) belong() {
	if id := m.ledger.Identity; id != m.group {
		m.group, m.refused = id, permanent(m.adopt(id))
	}
}

// permanent is err as one that freezes a machine.
func permanent(err error) error {
	if err == nil || errors.Is(err, lock.ErrPermanent) {
		return err
	}
	return lock.Permanent(err)
}

// refuse freezes the machine, for good.
func (m *machine) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wake()
	if m.refused == nil {
		m.refused = err
	}
}

func (m *machine) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// revision is that of the last entry that was applied.
func (m *machine) revision() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.Revision
}

// refusal is the ledger's.
func (m *machine) refusal(c ledger.Command) (ledger.Result, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ledger.Refusal(c)
}

// err says why the machine is frozen, if it is.
func (m *machine) err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// view returns how the roles stand, and what is closed by the next change.
func (m *machine) view(roles ...string) (ledger.View, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused != nil {
		return ledger.View{}, nil, m.refused
	}
	return m.ledger.View(roles...), m.changed, nil
}

// look is ledger.Store's Look.
func (m *machine) look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	for {
		v, changed, err := m.view(roles...)
		if err != nil || v.After(after) || after.Revision == 0 {
			return v, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ledger.View{}, context.Cause(ctx)
		}
	}
}

// Snapshot encodes the ledger at once: it is small, and goes on changing.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused != nil {
		return nil, m.refused
	}
	i := image{plain, m.ledger}
	switch {
	case m.ledger.Conditions:
		i.Format = format
	case len(m.ledger.Fences) > 0:
		i.Format = fenced
	case len(m.ledger.Paused) > 0 || len(m.ledger.Settings) > 0 || len(m.ledger.History) > 0:
		i.Format = steered
	case m.ledger.Identity != "":
		i.Format = identified
	case len(m.ledger.Values) > 0:
		i.Format = valued
	}
	data, err := json.Marshal(i)
	return snapshot(data), err
}

// Restore replaces the ledger and wakes every watcher.
func (m *machine) Restore(r io.ReadCloser) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wake()
	if m.refused == nil {
		m.refused = checkFormat("snapshot", data)
	}
	if m.refused != nil {
		return m.refused
	}
	i := image{Ledger: ledger.New()}
	if err := json.Unmarshal(data, &i); err != nil {
		return fmt.Errorf("decode snapshot: %w", err)
	}
	m.ledger = i.Ledger
	if m.belong(); m.refused == nil {
		m.after()
	}
	return m.refused
}

type snapshot []byte

func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := sink.Write(s); err != nil {
		return fmt.Errorf("write snapshot: %w", cancelled(sink, err))
	}
	return sink.Close()
}

func (s snapshot) Release() {}

func cancelled(sink raft.SnapshotSink, err error) error {
	if c := sink.Cancel(); c != nil {
		return fmt.Errorf("%w (and cancel: %w)", err, c)
	}
	return err
}
