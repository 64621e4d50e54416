package raft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/internal/certs"
)

// A NodeStatus is what a node says of itself.
type NodeStatus struct {
	ID      string   `json:"id"`
	Group   string   `json:"group"`
	State   string   `json:"state"`  // leader, follower, candidate, shutdown, or starting
	Leader  string   `json:"leader"` // whom it takes for the leader; "": nobody
	Members []Member `json:"members"`

	Term         uint64                   `json:"term"`
	Last         uint64                   `json:"last"`     // the index of its last entry
	Applied      uint64                   `json:"applied"`  // and of the last one that its ledger has
	Snapshot     uint64                   `json:"snapshot"` // and of the last one that is in a snapshot; 0: there is none
	SnapshotAt   time.Time                `json:"snapshotAt,omitzero"`
	Used         int64                    `json:"used"`                // bytes of its data directory
	Free         *uint64                  `json:"free"`                // bytes that its disk has free; nil: that is not known
	Refused      string                   `json:"refused,omitempty"`   // why it takes no part any more; "": it does
	Observes     bool                     `json:"observes,omitempty"`  // it does not ask to be counted
	DeadAfter    time.Duration            `json:"deadAfter,omitempty"` // it takes out voters that are silent for so long, while it leads
	SilentFor    map[string]time.Duration `json:"silentFor,omitempty"` // and how long those are already
	Disk         string                   `json:"disk,omitempty"`      // what its disk does not take; "": nothing is known
	Certificates Ends                     `json:"certificates,omitempty"`
}

// Ends are when certificates end, by their files. For a file that cannot be read its last content counts.
type Ends map[string]time.Time

// First is the first of them; ok: there is one.
func (e Ends) First() (first time.Time, ok bool) {
	for _, end := range e {
		if first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first, len(e) > 0
}

func (n *node) status() (s NodeStatus) {
	s = NodeStatus{ID: n.config.ID, Group: n.dir.group(), State: starting, Disk: n.shortage(), Observes: n.config.Observer, DeadAfter: n.config.DeadAfter, Certificates: n.ends()}
	s.Used = used(n.config.Dir)
	if left, err := room(n.config.Dir); err == nil {
		s.Free = &left
		if s.Disk == "" && left < least { // nothing has been written since
			s.Disk = fmt.Sprintf("the disk of %s is full", n.config.Dir)
		}
	}
	if err := n.machine.err(); err != nil {
		s.Refused = err.Error()
	}
	if !n.running() {
		return s
	}
	if silent := n.silent.Load(); silent != nil {
		s.SilentFor = *silent
	}
	_, leader := n.raft.LeaderWithID()
	s.State, s.Leader = map[raft.RaftState]string{
		raft.Leader: "leader", raft.Follower: "follower", raft.Candidate: "candidate", raft.Shutdown: "shutdown",
	}[n.raft.State()], string(leader)
	s.Members = n.members()
	s.Term, s.Last, s.Applied = n.raft.CurrentTerm(), n.raft.LastIndex(), n.raft.AppliedIndex()
	if list, err := n.dir.snaps.List(); err == nil && len(list) > 0 { // where it cannot be read the log says so
		s.Snapshot = list[0].Index
		if info, err := os.Stat(filepath.Join(n.config.Dir, snapFolder, list[0].ID)); err == nil {
			s.SnapshotAt = info.ModTime().UTC()
		}
	}
	return s
}

// used is how many bytes the files of a directory have. They come and go meanwhile.
func used(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // what is gone counts nothing
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// A GroupStatus is what the members of a group say of it and of themselves.
type GroupStatus struct {
	Group   string         `json:"group"`
	Leader  string         `json:"leader"` // by its own word; "": nobody leads
	Members []MemberStatus `json:"members"`
}

// A MemberStatus is a member, as the group knows it, and what it says itself.
type MemberStatus struct {
	Member
	Silent string      `json:"silent,omitempty"` // why there is no answer; "": there is one
	Fails  string      `json:"fails,omitempty"`  // why it cannot be relied on, though it answers; "": it can
	Behind *uint64     `json:"behind"`           // entries of the leader's that it has not applied; nil: unknown, as where nobody leads
	Node   *NodeStatus `json:"node"`             // nil: it gives no answer
	barred bool        // TLS with it fails
}

// Voters are the IDs of those that count, silent of them those that gave no answer, and failing
// those that gave one and cannot be relied on.
func (g GroupStatus) Voters() (voters, silent, failing []string) {
	for _, m := range g.Members {
		switch {
		case !m.Voter:
			continue
		case m.Silent != "":
			silent = append(silent, m.ID)
		case m.Fails != "":
			failing = append(failing, m.ID)
		}
		voters = append(voters, m.ID)
	}
	return voters, silent, failing
}

// Barred are the IDs of the silent voters with which TLS fails. Something answers at their addresses, so they may well
// work. Silent says which side refuses the other's certificate.
func (g GroupStatus) Barred() (all []string) {
	for _, m := range g.Members {
		if m.Voter && m.barred {
			all = append(all, m.ID)
		}
	}
	return all
}

// Lost says that the group has lost its majority, as Group.Lost does.
func (g GroupStatus) Lost() string {
	var of Group
	of.Voters, _, _ = g.Voters()
	for _, m := range g.Members {
		if m.Node != nil && m.Node.empty() {
			of.Empty = append(of.Empty, m.ID)
		}
	}
	return of.Lost()
}

// empty reports whether a node waits on an empty data directory.
func (s NodeStatus) empty() bool { return s.Group == "" && s.State == starting }

const starting = "starting"

// Status asks every peer of c, and every member that is not a peer of c, how it is. Once somebody has answered it does not
// wait long for one that says nothing. An error says that none knows a group.
func Status(ctx context.Context, c Config) (g GroupStatus, err error) {
	c.ID = ""
	if err := c.ValidatePeers(); err != nil {
		return g, fmt.Errorf("raft: %w", err)
	}
	if _, err := newDialer(c, ""); err != nil {
		return g, fmt.Errorf("raft: %w", err)
	}
	answers := askStatus(ctx, c)
	known := best(answers)
	if known == nil {
		return g, silence(answers)
	}
	return groupStatus(*known, answers), nil
}

// A statusAnswer is a peer's, or why there is none.
type statusAnswer struct {
	peer Peer
	node NodeStatus
	err  error
}

// askStatus asks all at once, and the members that an answer names as soon as it is there. Of two answers from the two
// addresses of one member the good one comes last.
func askStatus(ctx context.Context, c Config) (all []statusAnswer) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began, answers := time.Now(), make(chan statusAnswer)
	asked, waits := map[Peer]bool{}, map[Peer]bool{}
	ask := func(p Peer) {
		if asked[p] {
			return
		}
		asked[p], waits[p] = true, true
		go func() {
			select {
			case answers <- askOneStatus(ctx, c, p):
			case <-ctx.Done():
			}
		}()
	}
	for _, p := range c.Peers {
		ask(p)
	}
	heard := map[string]bool{}
	var enough <-chan time.Time
	for over := false; !over && len(waits) > 0; {
		select {
		case a := <-answers:
			delete(waits, a.peer)
			all = append(all, a)
			if a.err != nil {
				break
			}
			heard[a.peer.ID] = true
			for _, m := range a.node.Members {
				if !heard[m.ID] {
					ask(Peer{m.ID, m.Address})
				}
			}
			maps.DeleteFunc(waits, func(p Peer, _ bool) bool { return heard[p.ID] })
			enough = time.After(max(attempt, 3*time.Since(began))) // it may be far away
		case <-enough:
			over = true
		case <-ctx.Done():
			over = true
		}
	}
	for p := range waits {
		all = append(all, statusAnswer{peer: p, err: fmt.Errorf("peer %s: it has not answered within %v", p, time.Since(began).Round(time.Millisecond))})
	}
	good := func(a statusAnswer) int {
		if a.err != nil {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(a, b statusAnswer) int {
		return cmp.Or(cmp.Compare(good(a), good(b)), cmp.Compare(a.peer.String(), b.peer.String()))
	})
	return all
}

func askOneStatus(ctx context.Context, c Config, p Peer) statusAnswer {
	a := statusAnswer{peer: p}
	c.Peers = []Peer{p}
	d, err := newDialer(c, "")
	if err != nil {
		a.err = fmt.Errorf("peer %s: %w", p, err)
		return a
	}
	caller := newCaller(d)
	defer func() { d.conns.closeAll(); caller.close() }()
	if a.err = caller.call(ctx, p, pathStatus, struct{}{}, &a.node); a.err == nil && a.node.ID != p.ID {
		a.err = fmt.Errorf("peer %s says that it is %q", p, a.node.ID)
	}
	return a
}

// best is the answer of who knows the group's members best: the leader of the greatest term, or
// else the one with the longest log; nil: nobody knows any.
func best(answers []statusAnswer) (known *NodeStatus) {
	rank := func(s NodeStatus) (leads int, term, last uint64) {
		if s.State == "leader" {
			return 1, s.Term, s.Last
		}
		return 0, s.Term, s.Last
	}
	for i, a := range answers {
		if a.err != nil || len(a.node.Members) == 0 {
			continue
		}
		if known != nil {
			l, t, n := rank(a.node)
			kl, kt, kn := rank(*known)
			if cmp.Or(cmp.Compare(l, kl), cmp.Compare(t, kt), cmp.Compare(n, kn)) <= 0 {
				continue
			}
		}
		known = &answers[i].node
	}
	return known
}

func silence(answers []statusAnswer) error {
	errs := []error{errors.New("no peer knows a group")}
	for _, a := range answers {
		errs = append(errs, a.err)
	}
	return errors.Join(errs...)
}

func groupStatus(known NodeStatus, answers []statusAnswer) GroupStatus {
	g := GroupStatus{Group: known.Group}
	if known.State == "leader" {
		g.Leader = known.ID
	}
	for _, m := range known.Members {
		one := MemberStatus{Member: m, Silent: "it is in no list of peers"}
		for _, a := range answers {
			switch {
			case a.peer.ID != m.ID:
			case a.err != nil:
				one.Silent, one.barred = a.err.Error(), certs.Failed(a.err)
			default:
				one.Silent, one.Fails, one.Node = "", a.node.fails(known.Group), &a.node
				if g.Leader != "" && a.node.State != starting {
					behind := known.Last - min(known.Last, a.node.Applied)
					one.Behind = &behind
				}
			}
		}
		g.Members = append(g.Members, one)
	}
	slices.SortFunc(g.Members, func(a, b MemberStatus) int { return cmp.Compare(a.ID, b.ID) })
	return g
}

// fails says why a node that answers cannot be relied on as a member of the group; "": it can.
func (s NodeStatus) fails(group string) string {
	switch {
	case s.Refused != "":
		return "it takes no part any more: " + s.Refused
	case s.empty():
		return "it waits on an empty data directory"
	case s.Group != group:
		return fmt.Sprintf("it belongs to group %s", cmp.Or(s.Group, "none yet"))
	case s.State == starting:
		return "it is starting"
	}
	return s.Disk
}
