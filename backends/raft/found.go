package raft

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/lock"
)

const (
	ask     = 100 * time.Millisecond // between two rounds of questions to the peers
	soon    = 10 * time.Millisecond  // the same, where all that is missing is that the others have heard it, too
	attempt = 2 * time.Second        // for one answer, at least
	report  = 5 * time.Second        // between two lines in the log
)

// A group's identity follows from its founders: for each ID the directory with which it
// began. So it is drawn where each directory is drawn, and all founders know the same.
func groupOf(founders map[string]string) string {
	h := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(founders)) {
		fmt.Fprintf(h, "%q %q\n", id, founders[id])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// found decides what an empty directory means. A node whose directory was wiped has
// forgotten its votes, and must not begin a group of its own beside the old one; nor must
// nodes that take different processes, or a different number of them, for the group. So:
//
//  1. Every peer has said in one round that it is new, has the same IDs in its list, and
//     has heard from the same directories: a new group begins, with these as its founders.
//  2. A peer says that this very directory is a founder of its group: this node begins
//     likewise, as it has not voted yet.
//  3. Every peer says that the group has begun and had no leader yet: so nobody's vote
//     counted, this node's neither, and it begins likewise.
//  4. A peer has been part of a group with a leader: that no longer counts this node, and with it
//     its votes, or has only let it in as one that learns. Only then Raft starts, empty, and the
//     leader counts the node again once it has caught up. The list may be any then.
//  5. Otherwise somebody is silent or says otherwise, and this node waits.
//
// Members that the list does not name are not asked. But who counts this node reaches it within listenFor, whether there is
// a leader or not, and no other group than that begins here then.
func (n *node) found(ctx context.Context) error {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if n.dir.founder() { // it was about to begin, and nothing has changed since
		return n.bootstrap(n.dir.read().Founders)
	}
	began := time.Now()
	var last survey
	for round := 0; ; round++ {
		s := n.survey(ctx)
		if ctx.Err() != nil && round > 0 {
			s = last // the round was cut short, and says nothing
		}
		last = s
		if s.twin != nil {
			return s.twin
		}
		if s.drawn && time.Since(began) < n.config.listenFor() {
			s.founders, s.nearly = nil, true
		}
		if why := n.claimed(s.founders); why != nil && !s.old {
			s.founders, s.nearly, s.missing = nil, false, append(s.missing, why)
		}
		if s.founders != nil {
			if n.config.Observer {
				return lock.InFields(errors.New("an observer begins no group: leave it out of the list of the others, and let it in later by understudy raft member add"), "Observer")
			}
			return n.bootstrap(s.founders)
		}
		why, what := "waiting for every peer to say that it is new", s.missing
		if s.old {
			group, err := n.join(ctx, "remove")
			if err == nil {
				return n.dir.adopt(group)
			}
			if errors.Is(err, lock.ErrPermanent) {
				return err
			}
			why, what = "waiting for the group's leader to let this node in again", append(what, err)
			if s.lost != "" {
				what = append(what, errors.New(s.lost))
			}
		}
		if n.warnLost(s.lost); s.lost == "" && time.Since(began) >= report && n.said.due("founding") {
			n.log.Warn("empty data directory: "+why, "id", n.config.ID, "missing", errors.Join(what...))
		}
		pause := ask
		if s.nearly && round < 100 {
			pause = soon
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return errors.Join(append([]error{fmt.Errorf("%w while %s", context.Cause(ctx), why)}, what...)...)
		}
	}
}

// A survey is what one round of questions has brought.
type survey struct {
	founders map[string]string // with whom to begin
	drawn    bool              // nobody has begun with them yet
	old      bool              // a peer has been part of a group with a leader
	twin     error             // another process runs with this node's ID
	nearly   bool              // all are new, and not all have heard of it
	missing  []error           // who is silent, or says otherwise
	lost     string            // that the group has lost its majority
}

// survey asks every peer, and this node's own address.
func (n *node) survey(ctx context.Context) (s survey) {
	answers := n.askAll(ctx, 2*ask)
	self := n.config.ID
	mine := map[string]string{self: n.dir.read().Directory}
	var begun []hello
	group, last := Group{Empty: []string{self}}, uint64(0)
	for _, p := range n.config.Peers {
		a := answers[p.ID]
		if a.err == nil && s.twin == nil {
			s.twin = n.objects(p, a.h)
		}
		if p.ID == self {
			if a.err == nil && a.h.ID != self {
				s.missing = append(s.missing, fmt.Errorf("another node answers at this node's own address %s, as %q: correct raft.peers", p.Address, a.h.ID))
			}
			continue
		}
		if why := n.objection(p, a.h, a.err); why != nil {
			s.missing = append(s.missing, why)
			continue
		}
		group.note(a.h)
		if a.h.State && n.otherList(a.h) { // an operator lets this node in, whatever the lists say
			s.missing = append(s.missing, n.lists(p, a.h))
			s.old, last, group.Voters = true, a.h.Last, a.h.Voters
			continue
		}
		mine[p.ID] = a.h.Directory
		switch {
		case a.h.Founders[self] == mine[self]:
			s.founders = a.h.Founders
		case a.h.State:
			s.old = true
			if a.h.Last >= last {
				last, group.Voters = a.h.Last, a.h.Voters
			}
		case a.h.Group != "":
			begun = append(begun, a.h)
		case a.h.Claimed != "":
			s.missing = append(s.missing, fmt.Errorf("group %s counts peer %q: name one of its members in raft.peers; or, to give that group up, stop all its members and then start that peer again", a.h.Claimed, p.ID))
		}
	}
	s.lost = group.Lost()
	n.mu.Lock()
	n.seen = mine
	n.mu.Unlock()
	if s.founders != nil || s.old || len(s.missing) > 0 {
		return s
	}
	for _, h := range begun {
		if h.Founders == nil || h.Group != begun[0].Group {
			s.missing = append(s.missing, fmt.Errorf("peer %q belongs to group %s, and peer %q to group %s, which nobody leads: remove the data directories that are of no group any more", begun[0].ID, begun[0].Group, h.ID, h.Group))
			return s
		}
	}
	if len(begun) > 0 {
		s.founders = begun[0].Founders
		return s
	}
	for id := range mine {
		if id != self && !maps.Equal(answers[id].h.Seen, mine) {
			s.missing = append(s.missing, fmt.Errorf("peer %q has not heard from the same nodes as this one", id))
		}
	}
	if s.nearly = len(s.missing) > 0; !s.nearly {
		s.founders, s.drawn = mine, true
	}
	return s
}

// A claim is what a member of a group has said that counts this node.
type claim struct {
	group string
	from  string // its connection's address
}

// claimed says why this node begins no group with these founders; nil: it may.
func (n *node) claimed(founders map[string]string) error {
	c := n.port.claim.Load()
	if c == nil || founders != nil && c.group == groupOf(founders) {
		return nil
	}
	return fmt.Errorf("group %s counts this node, as a member at %s says: name one of its members in raft.peers; or, to give that group up, stop all its members and then start this node again", c.group, c.from)
}

// listenFor is how long a node listens before it begins a group. A leader tries a member that does not answer again after
// half of its heartbeat timeout at most, which calm makes four times as long; and where nobody leads, each member asks for votes
// after one to two timings.
func (c Config) listenFor() time.Duration { return cmp.Or(c.listen, c.timing()*5/2) }

// objection says why a peer's answer does not count for the beginning of a group.
func (n *node) objection(p Peer, h hello, err error) error {
	switch {
	case err != nil:
		return err
	case h.ID != p.ID:
		return fmt.Errorf("peer %s says that it is %q", p, h.ID)
	case h.Directory == "":
		return fmt.Errorf("peer %s runs an earlier version of this program: run the same on every node", p)
	case !h.State && n.otherList(h):
		return n.lists(p, h)
	}
	return nil
}

func (n *node) otherList(h hello) bool { return !sameIDs(h.Peers, formatPeers(n.config.Peers)) }

// lists says how two lists of peers differ.
func (n *node) lists(p Peer, h hello) error {
	return fmt.Errorf("peer %q has another list of peers, %s, this node has %s: use the same on every node with which a group begins", p.ID, h.Peers, formatPeers(n.config.Peers))
}

type answer struct {
	h   hello
	err error
}

// askAll says hello to every peer and to this node's own address, at once. Not everywhere a node
// reaches its own address: that has its own limit.
func (n *node) askAll(ctx context.Context, own time.Duration) map[string]answer {
	type from struct {
		id string
		answer
	}
	answers := make(chan from, len(n.config.Peers))
	for _, p := range n.config.Peers {
		go func() {
			ctx, stop := ctx, func() {}
			if p.ID == n.config.ID {
				ctx, stop = context.WithTimeout(ctx, own)
			}
			h, err := n.greetOne(ctx, p)
			stop()
			answers <- from{p.ID, answer{h, err}}
		}()
	}
	all := map[string]answer{}
	for range n.config.Peers {
		a := <-answers
		all[a.id] = a.answer
	}
	return all
}

// bootstrap begins a new group: what it is first, then that it is there. All founders
// write the same.
func (n *node) bootstrap(founders map[string]string) error {
	var c raft.Configuration
	for _, p := range n.config.Peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	slices.SortFunc(c.Servers, func(a, b raft.Server) int { return strings.Compare(string(a.ID), string(b.ID)) })
	n.log.Info("a new group begins", "id", n.config.ID, "peers", formatPeers(n.config.Peers), "group", groupOf(founders))
	err := n.dir.begins(founders)
	if err == nil {
		err = n.dir.bolt.SetUint64(termKey, 1)
	}
	if err == nil {
		err = n.dir.bolt.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(c)})
	}
	if err != nil {
		return fmt.Errorf("begin a new group: %w", err)
	}
	return nil
}
