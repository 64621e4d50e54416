package raft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A hello is what a node says of itself.
type hello struct {
	ID        string
	Peers     string
	Timing    time.Duration
	State     bool              // it has been part of a group that elected a leader
	Directory string            `json:",omitempty"` // of its data
	Group     string            `json:",omitempty"` // to which that belongs
	Founders  map[string]string `json:",omitempty"` // the directories with which the group began, where it knows
	Seen      map[string]string `json:",omitempty"` // the directories that it has heard from, where the group has not begun
	Claimed   string            `json:",omitempty"` // the group of a member that counts it, where it belongs to none yet
	Voters    []string          `json:",omitempty"` // of the group as it is
	Members   []Peer            `json:",omitempty"` // all of it, those that learn, too
	Leader    string            `json:",omitempty"` // whom it takes for the leader
	Last      uint64            `json:",omitempty"` // the index of its last entry
	Fails     string            `json:",omitempty"` // why it cannot be relied on: "": it can
	Trip      time.Duration     `json:",omitempty"` // its longest round trip to a peer
	Process   string            `json:",omitempty"` // drawn when it was opened
	Writes    uint64            `json:",omitempty"` // how often its directory was written
	Known     uint64            `json:",omitempty"` // in an answer: the same of who asked, as last heard
	Twin      bool              `json:",omitempty"` // in an answer: not who asked, but another process answers at its address
	Unsure    bool              `json:",omitempty"` // in an answer: the process that takes connections there has not said yet who it is
}

// works reports whether a voter of the group can vote and keep what it acknowledges.
func (h hello) works(group string) bool {
	return h.Fails == "" && len(h.Voters) > 0 && (group == "" || h.Group == group)
}

func (n *node) hello() (hello, error) {
	state, err := n.dir.elected()
	r := n.dir.read()
	h := hello{
		ID: n.config.ID, Peers: formatPeers(n.config.Peers), Timing: n.config.timing(), State: state,
		Directory: r.Directory, Group: r.Group, Founders: r.Founders,
		Process: n.process, Writes: n.dir.bolt.writes(), Fails: n.fails(),
	}
	n.mu.Lock()
	h.Seen = n.seen
	n.mu.Unlock()
	if c := n.port.claim.Load(); c != nil && r.Group == "" {
		h.Claimed = c.group
	}
	if n.running() {
		_, leader := n.raft.LeaderWithID()
		h.Leader, h.Last, h.Voters, h.Trip = string(leader), n.raft.LastIndex(), n.voters(), time.Duration(n.trip.Load())
		for _, m := range n.members() {
			h.Members = append(h.Members, Peer{m.ID, m.Address})
		}
	}
	return h, err
}

func (n *node) greetOne(ctx context.Context, p Peer) (hello, error) {
	ctx, stop := context.WithTimeout(ctx, n.config.attempt())
	defer stop()
	mine, err := n.hello()
	if err != nil {
		return hello{}, err
	}
	var theirs hello
	if err := n.caller.greet(ctx, p, mine, &theirs); err != nil {
		return hello{}, err
	}
	n.compare(theirs)
	n.remember(p, theirs)
	n.heed(p, theirs)
	n.trust(p, theirs)
	return theirs, nil
}

// compare warns about a peer that is set up differently, once for each way in which it is. Once a group has
// begun, a list is only how the group is found: a new node names itself and one other.
func (n *node) compare(h hello) {
	mine := formatPeers(n.config.Peers)
	same := h.Peers == mine || h.Group != "" || n.dir.read().Group != ""
	if h.ID == n.config.ID || n.config.peer(h.ID).ID == "" || same && h.Timing == n.config.timing() {
		return
	}
	if n.said.news("differs: "+h.ID, fmt.Sprint(h.Timing, brief(h.Peers))) {
		n.log.Warn("a peer is set up differently, give every node the same raft.peers, and the same ttl or raft.timing",
			"peer", h.ID, "its_timing", h.Timing, "our_timing", n.config.timing(), "its_peers", brief(h.Peers), "our_peers", mine)
	}
}

// greet says hello to every peer until each has answered as one of this group. It says
// whose list differs, who belongs to another group, and ends this node's work where most
// of the group does: then the data directory is another group's.
func (n *node) greet(ctx context.Context) {
	waiting := n.config.others()
	for pause := ask; ctx.Err() == nil && len(waiting) > 0; pause = min(2*pause, report) {
		var still []Peer
		others := map[string][]string{} // by group
		mine := n.dir.read().Group
		for _, p := range waiting {
			h, err := n.greetOne(ctx, p)
			if err != nil || h.Group == "" || mine == "" {
				still = append(still, p)
			} else if h.Group != mine {
				still = append(still, p)
				others[h.Group] = append(others[h.Group], p.ID)
			}
		}
		waiting = still
		for group, ids := range others {
			err := lock.Permanent(fmt.Errorf("data directory %s belongs to group %s, and the peers %s to group %s: one of them has the data directory of another group", n.config.Dir, mine, strings.Join(ids, ", "), group))
			if len(ids) > len(n.config.Peers)/2 {
				n.machine.refuse(err)
			}
			if n.said.due("other group") {
				n.log.Error("a peer belongs to another group", "error", err)
			}
		}
		rest(ctx, pause)
	}
}

const (
	nobody  = "the group has no leader"
	unheard = "this node hears nothing from the group's leader"
	alone   = "this node reaches no other voter, and knows of no leader"
)

// tellNobody says that nobody has led the group for a while and why peers do not answer, and that
// the group has lost its majority, if it has.
func (n *node) tellNobody(ctx context.Context) {
	g, answers := Group{Voters: n.voters()}, n.askAll(ctx, 2*ask)
	g.heard(n.config.ID, answers)
	if n.said.news(nobody, "") {
		attrs := []any{"id", n.config.ID, "voters", strings.Join(g.Voters, ","), "must_live", g.Quorum()}
		if err := n.unanswered(answers); err != nil {
			attrs = append(attrs, "error", err)
		}
		if leader := followed(n.config.ID, answers); leader != "" {
			here := n.config.peer(n.config.ID)
			n.log.Warn(unheard+": if the group has another address for it than "+here.Address+", run understudy raft member move "+here.String(), append(attrs, "leader", leader)...)
		} else if there := g.there(n.config.ID, answers); len(there) == 0 && len(g.Voters) > 1 {
			n.log.Warn(alone, attrs...)
		} else {
			n.log.Warn(nobody+": "+g.unled(n.config.ID, there), attrs...)
		}
	}
	n.warnLost(g.Lost())
}

// followed is whom the others take for the leader, if that is not the node self; "": nobody says so.
func followed(self string, answers map[string]answer) string {
	for id, a := range answers {
		if a.err == nil && id != self && a.h.Leader != "" && a.h.Leader != self {
			return a.h.Leader
		}
	}
	return ""
}

// there are the other voters that have answered.
func (g Group) there(self string, answers map[string]answer) []string {
	return slices.DeleteFunc(slices.Clone(g.Voters), func(id string) bool {
		a, asked := answers[id]
		return id == self || !asked || a.err != nil
	})
}

// unled says what keeps the group from having a leader, by which of its other voters have answered: an election takes its
// time, and on a busy machine longer than that.
func (g Group) unled(self string, there []string) string {
	if slices.Contains(g.Voters, self) {
		there = append(there, self)
	}
	if len(there) < g.Quorum() {
		return "too few of its voters reach each other"
	}
	return "enough of its voters answer, and have elected none yet"
}

// unanswered is why other peers do not answer; nil: all do.
func (n *node) unanswered(answers map[string]answer) error {
	var errs []error
	for _, p := range n.config.others() {
		errs = append(errs, answers[p.ID].err)
	}
	return errors.Join(errs...)
}

// tellLeader says that somebody leads the group again.
func (n *node) tellLeader(leader string) {
	if leader != "" && n.said.over(nobody) {
		n.log.Info("the group has a leader again", "id", n.config.ID, "leader", leader)
	}
}

// tellWeak says what is unwise about the number of voters, if it was so before: a node that
// takes another's place makes them one more for a moment.
func (n *node) tellWeak(before string) string {
	const thing = "number of voters"
	text := (Group{Voters: n.voters()}).Weak()
	if text == "" {
		n.said.over(thing)
	} else if text == before && n.said.news(thing, text) {
		n.log.Warn(text, "id", n.config.ID)
	}
	return text
}

// mind says, at the start and whenever it changes, how the group differs from the list,
// which peers are too far away, and that nobody leads. It looks after other processes with this node's ID.
func (n *node) mind(ctx context.Context) {
	said, far, without := "", map[string]bool{}, 0
	weak := (Group{Voters: n.voters()}).Weak()
	for round := 0; ; round++ {
		weak = n.tellWeak(weak)
		n.noteAddresses()
		_, leader := n.raft.LeaderWithID() // until there is one, what is known here may be old
		without++
		if leader != "" || n.isOut(ctx) {
			without = 0
			n.tellLeader(string(leader))
		} else if without > 1 {
			n.tellNobody(ctx)
		}
		if text := (Group{Voters: n.voters()}).Differs(n.config.Peers); text != said && (leader != "" || round > 1) {
			said = text
			if text != "" {
				n.log.Warn("the group is not what the list of peers says", "id", n.config.ID, "why", text)
			}
		}
		if round%12 == 1 {
			n.measure(ctx, far)
		}
		_, _ = n.greetOne(ctx, n.config.peer(n.config.ID)) // not everywhere a node reaches its own address
		select {
		case <-time.After(report):
		case <-ctx.Done():
			return
		}
	}
}

// MaxTrip is the longest round trip between two peers with which a group of this timing
// elects its leaders and keeps them.
func MaxTrip(timing time.Duration) time.Duration { return timing / 2 }

// measure takes the round trip to every peer, on a connection that is there already.
func (n *node) measure(ctx context.Context, far map[string]bool) {
	limit := MaxTrip(n.config.timing())
	longest := time.Duration(0)
	for _, p := range n.config.others() {
		if _, err := n.greetOne(ctx, p); err != nil {
			continue
		}
		began := time.Now()
		if _, err := n.greetOne(ctx, p); err != nil {
			continue
		}
		trip := time.Since(began)
		longest = max(longest, trip)
		if trip > limit && !far[p.ID] {
			n.log.Warn("a peer is too far away for the group's timing: raise the timing on every node",
				"peer", p.ID, "round_trip", trip, "at_most", limit, "timing", n.config.timing())
		}
		far[p.ID] = trip > limit
	}
	n.trip.Store(int64(longest))
}

// sameIDs reports whether two lists of peers name the same nodes.
func sameIDs(a, b string) bool {
	ids := func(list string) map[string]bool {
		named := map[string]bool{}
		for _, item := range strings.Split(list, ",") {
			id, _, _ := strings.Cut(item, "=")
			named[id] = true
		}
		return named
	}
	return maps.Equal(ids(a), ids(b))
}
