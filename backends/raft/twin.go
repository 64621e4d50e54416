package raft

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/lock"
)

// A directory that was copied, or put back as it once was, makes two nodes of one: the copy
// votes again where the other has voted, and lacks what it has acknowledged since. Of two
// processes with the same ID, the one that answers at the address in the list is the node.
// The other is refused, at its start and whenever it appears, as long as the first one
// answers. So is a directory of which a peer knows that it was written more often.
//
// A process that takes connections and does not answer may only be slow. So a node asks a peer for a
// vote only once that peer has found out who answers at the node's address.

// A verdict is what asking back has shown about a process.
type verdict struct {
	twin bool
	at   time.Time
}

// meet asks this node's own address and its peers, before Raft runs, whether it may. A peer that is
// far away or slow gets more time. Raft does not begin while another process takes connections at
// this node's own address and does not answer.
func (n *node) meet(ctx context.Context) error {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	began, limit, taken := time.Now(), 2*ask, false
	for {
		try, stop := context.WithTimeout(ctx, limit)
		answers := n.askAll(try, limit)
		stop()
		unclear := false
		for _, p := range n.config.Peers {
			a := answers[p.ID]
			unclear = unclear || errors.Is(a.err, errSilent) || a.h.Unsure
			if a.err == nil {
				if err := n.objects(p, a.h); err != nil {
					return err
				}
			}
		}
		taken = errors.Is(answers[n.config.ID].err, errSilent) || taken && ctx.Err() != nil // the last round was cut short
		switch {
		case taken && ctx.Err() != nil:
			return fmt.Errorf("%w: another process takes connections at this node's own address %s, and does not answer: end it, or, if this node's data directory %s is a copy, remove that",
				context.Cause(ctx), n.config.peer(n.config.ID).Address, n.config.Dir)
		case !taken && (!unclear || time.Since(began) > n.config.attempt()):
			return nil
		}
		limit = n.config.attempt()
		rest(ctx, ask)
	}
}

// ErrTwin means that another process runs as this node.
var ErrTwin = errors.New("another process runs as this node")

type twinError struct{ text string }

func (e *twinError) Error() string        { return e.text }
func (e *twinError) Is(target error) bool { return target == ErrTwin }

// objects says why this node must not run, as the answer of p shows; nil: it may.
func (n *node) objects(p Peer, h hello) error {
	switch {
	case p.ID == n.config.ID && h.ID == p.ID && h.Process != n.process:
		return lock.Permanent(&twinError{fmt.Sprintf("another process runs as node %q and answers at its address %s: stop it, or, if this one's data directory %s is a copy, remove that", p.ID, p.Address, n.config.Dir)})
	case p.ID == n.config.ID || h.ID != p.ID:
		return nil
	case h.Twin:
		return lock.Permanent(&twinError{fmt.Sprintf("another process runs as node %q, peer %q reaches it at the address in its list, and not this one: stop it, or, if this one's data directory %s is a copy, remove that", n.config.ID, p.ID, n.config.Dir)})
	case h.Known == replaced:
		return partial(n.config.Dir, "node %q has run on another directory since, as peer %q knows, and this one lacks what it acknowledged there", n.config.ID, p.ID)
	case h.Known > n.dir.bolt.writes():
		return partial(n.config.Dir, "it is older than it was: %s was written %d times, and peer %q knows of %d", logFile, n.dir.bolt.writes(), p.ID, h.Known)
	}
	return nil
}

// heed ends this node's part in the group where an answer shows that it must not run.
func (n *node) heed(p Peer, h hello) {
	if !n.running() {
		return
	}
	if err := n.objects(p, h); err != nil && n.machine.err() == nil {
		n.log.Error("this node stops: it must not run beside another one", "id", n.config.ID, "error", err)
		n.machine.refuse(err)
		n.halt() // it votes no more; Close waits for it
	}
}

// remember notes how often the directory of the peer that answered was written.
func (n *node) remember(p Peer, h hello) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.ID == p.ID && h.ID != n.config.ID && len(h.Members) > 0 && h.Last >= n.metLast && n.config.peer(p.ID).ID != "" {
		n.met, n.metLast = h.Members, h.Last
	}
	if h.ID == p.ID && h.ID != n.config.ID && h.Directory != "" {
		n.known.hear(h)
	}
}

// A hearsay is what a node has heard of its peers' directories.
type hearsay struct {
	Writes map[string]uint64 // by directory, how often it was written, or replaced
	Latest map[string]string // by node, the directory on which it last ran
}

// replaced means that a directory's node has run on another one since. It never does on this one again.
const replaced = math.MaxUint64

func newHeard() hearsay { return hearsay{map[string]uint64{}, map[string]string{}} }

func (k *hearsay) clone() hearsay { return hearsay{maps.Clone(k.Writes), maps.Clone(k.Latest)} }

// hear takes in an answer.
func (k *hearsay) hear(h hello) {
	if len(k.Writes) >= maxKnown || len(k.Latest) >= maxKnown {
		*k = newHeard()
	}
	k.Writes[h.Directory] = max(h.Writes, k.Writes[h.Directory])
	if before := k.Latest[h.ID]; len(h.Members) > 0 && before != h.Directory && k.Writes[h.Directory] != replaced { // it runs
		k.Latest[h.ID] = h.Directory
		if before != "" {
			k.Writes[before] = replaced
		}
	}
}

// keepHeard stores what this node has heard of its peers' directories. So an older directory that replaces one
// while the whole group is stopped is noticed, too.
func (n *node) keepHeard() error {
	n.mu.Lock()
	now := n.known.clone()
	n.mu.Unlock()
	if maps.Equal(now.Writes, n.kept.Writes) && maps.Equal(now.Latest, n.kept.Latest) {
		return nil
	}
	n.kept = now // tried once: the next minute brings news
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return n.dir.bolt.Set(heardKey, data)
}

// recall opens the directory, and reads what keepHeard has stored there.
func (n *node) recall() (err error) {
	if n.dir, err = openDirectory(n.config.Dir, n.config.ID, n.log); err != nil {
		return err
	}
	data, err := n.dir.bolt.Get(heardKey)
	if err != nil && !errors.Is(err, errNoKey) {
		return err
	}
	if n.known, err = heardOf(data); err != nil { // it could be read a moment ago
		return err
	}
	n.kept = n.known.clone()
	return nil
}

// heardOf reads what keepHeard has written; nil: nothing.
func heardOf(data []byte) (hearsay, error) {
	k := newHeard()
	if data == nil {
		return k, nil
	}
	if err := json.Unmarshal(data, &k); err != nil || k.Writes == nil || k.Latest == nil || string(data) == "null" {
		return k, fmt.Errorf("%.40q", data)
	}
	return k, nil
}

// reply adds to a hello what this node knows of the one who asked.
func (n *node) reply(ctx context.Context, to hello, with *hello) {
	if to.Process == "" || len(to.Process) > 2*len(n.process) { // it is not a node's
		return
	}
	if to.ID == n.config.ID && to.Process != n.process {
		if n.said.news("twin", to.Process) {
			n.log.Error("another process runs with this node's ID: stop it, and remove its data directory if that is a copy", "id", to.ID)
		}
	}
	p := n.peer(to.ID)
	if p.ID == "" || p.ID == n.config.ID {
		return
	}
	var sure bool
	with.Twin, sure = n.isTwin(ctx, p, to.Process)
	with.Unsure = !sure
	n.mu.Lock()
	with.Known = n.known.Writes[to.Directory]
	n.mu.Unlock()
}

// isTwin reports whether another process than the one named answers at p's address. It is not
// sure while one takes connections there and has not answered.
func (n *node) isTwin(ctx context.Context, p Peer, process string) (twin, sure bool) {
	n.mu.Lock()
	v, asked := n.verdicts[process]
	n.mu.Unlock()
	if asked && time.Since(v.at) < report {
		return v.twin, true
	}
	asking, end, err := n.begin(context.Background()) // the peer may ask again meanwhile
	if err != nil {
		return false, false
	}
	select {
	case n.asking <- struct{}{}:
	default: // it asks again, when fewer do
		end()
		return false, false
	}
	found := make(chan verdict, 1)
	go func() {
		defer func() { <-n.asking; end() }()
		if v, sure := n.judge(asking, p, process); sure {
			found <- v
		}
	}()
	ctx, stop := context.WithTimeout(ctx, n.config.attempt()/4) // who asked waits
	defer stop()
	select {
	case v := <-found:
		return v.twin, true
	case <-ctx.Done():
		return false, false
	}
}

// judge asks back, and remembers the answer.
func (n *node) judge(ctx context.Context, p Peer, process string) (v verdict, sure bool) {
	ctx, stop := context.WithTimeout(ctx, greeting) // on a busy machine a handshake may take long
	defer stop()
	var h hello
	err := n.caller.greet(ctx, p, hello{}, &h) // who asks without a name is not asked back
	if errors.Is(err, errSilent) {
		return v, false
	}
	v = verdict{err == nil && h.ID == p.ID && h.Process != process, time.Now()}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.verdicts) >= maxKnown {
		clear(n.verdicts)
	}
	n.verdicts[process] = v
	return v, true
}

// vouched returns nil if a peer has found that no other process answers at this node's address. It asks
// the peer where that is not known yet.
func (n *node) vouched(id raft.ServerID) error {
	n.mu.Lock()
	ok := n.vouchers[string(id)]
	n.mu.Unlock()
	if ok {
		return nil
	}
	p := n.peer(string(id))
	h, err := n.greetOne(n.ctx, p)
	if err == nil && (h.Unsure || h.ID != p.ID) {
		err = fmt.Errorf("peer %s has not found out yet whether another process runs as node %q", p, n.config.ID)
	}
	return errors.Join(err, n.objects(p, h))
}

// trust remembers that a peer has no objection to this node.
func (n *node) trust(p Peer, h hello) {
	if h.ID == p.ID && !h.Unsure && n.objects(p, h) == nil {
		n.mu.Lock()
		n.vouchers[p.ID] = true
		n.mu.Unlock()
	}
}
