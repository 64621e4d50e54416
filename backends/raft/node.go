// Package raft keeps the ledger among the coordinators themselves, by embedded
// Raft (hashicorp/raft) with its log on disk. [Open] makes this process a voter
// of the group; [Dial] reaches a group from outside.
//
// A node's data directory goes on from where it was, or the node does not start: one that
// is older than it was, lacks a part or is a copy of a living node's would vote twice.
//
// Being Raft's leader is not being active in a role: roles are records of the
// ledger, as on any store. A beat and a token are indexes of the log.
package raft

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lack"
	"github.com/understudy-ha/understudy/lock"
)

var errClosed = errors.New("the locker is closed")

// retry is the pause after a try that found no leader.
const retry = 5 * time.Millisecond

// A node is a voter of the group.
type node struct {
	config  Config
	log     *slog.Logger
	process string // drawn here
	dir     *directory
	port    *port
	server  *http.Server
	caller  caller
	machine *machine
	lag     lag
	raft    *raft.Raft
	halt    func() raft.Future // ends raft; the library's own can be waited for only once

	transport *transport
	ctx       context.Context // ends when the node closes
	cancel    context.CancelCauseFunc
	mu        sync.Mutex
	closed    bool               // no call begins any more
	seen      map[string]string  // whom the last survey has heard from; never changed
	met       []Peer             // the group's members by the word of the peer in the list with the longest log
	metLast   uint64             // the last entry of that peer's log
	noting    sync.Mutex         // for noted, and what is written with it
	noted     []Member           // as the library last said
	begun     uint64             // the last entry of the log when the library began
	known     hearsay            // of the peers' directories
	kept      hearsay            // what of known is in raft.db; for settle alone
	verdicts  map[string]verdict // by process
	vouchers  map[string]bool    // the peers that have no objection to this node
	calls     sync.WaitGroup     // what Close waits for
	ready     chan struct{}      // closed once raft is set
	down      chan struct{}      // closed once raft has ended
	said      sayings
	large     chan struct{}                            // a place for each call with a large body
	stray     atomic.Pointer[Peer]                     // the leader at the address that viaLeader tries first; nil: the one in the list
	paces     paces                                    // of what anybody calls
	asking    chan struct{}                            // and for each question of isTwin
	reloading sync.Mutex                               // of the library's configuration
	out       atomic.Pointer[departure]                // how this node was taken out; nil: it is a member, as far as it knows
	ends      func() map[string]time.Time              // when certificates end
	trip      atomic.Int64                             // the longest to a peer, as last measured
	silent    atomic.Pointer[map[string]time.Duration] // the voters that this node, which leads, does not hear; nil: it asks nobody
	once      sync.Once
	err       error
}

var _ ledger.Store = (*node)(nil)

// Open makes this process a voter of the group and returns its Locker. It warns through the
// logger of a number of voters that is unwise. It
// returns when Raft runs, which is before a leader is known. On an empty
// directory it first waits, as long as ctx lets it, for what the peers say: only
// if all of them are new as well does a new group begin.
func Open(ctx context.Context, c Config) (lock.Locker, error) {
	n, err := open(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", lack.Found(err)) // bbolt and Raft's library keep only the text of some
	}
	return ledger.NewLocker(n), nil
}

func open(ctx context.Context, c Config) (*node, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Logger = asynclog.Logger(c.logger())
	n := newNode(c)
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func newNode(c Config) *node {
	n := &node{
		config: c, log: c.logger(), process: rand.Text(), machine: newMachine(), ready: make(chan struct{}), down: make(chan struct{}),
		paces: newPaces(), large: make(chan struct{}, maxLarge), asking: make(chan struct{}, maxAsking),
		known: newHeard(), verdicts: map[string]verdict{}, vouchers: map[string]bool{}, ends: c.files().Ends(),
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	return n
}

func (n *node) start(ctx context.Context) error {
	if err := n.prepare(); err != nil {
		return err
	}
	used, err := n.dir.used()
	if err != nil {
		return fmt.Errorf("read data directory %s: %w", n.config.Dir, err)
	}
	first := n.meet
	if !used {
		first = n.found
	}
	if err := first(ctx); err != nil {
		return err
	}
	if err := n.run(); err != nil {
		return err
	}
	for _, f := range []func(context.Context){n.greet, n.mind, n.name, n.calm, n.enter, n.settle, n.trim, n.bury, n.watchDirectory, n.keepMembers} {
		n.background(f)
	}
	return nil
}

// prepare opens all that a node needs before Raft runs.
func (n *node) prepare() error {
	d, err := newDialer(n.config, n.config.ID)
	if err != nil {
		return err
	}
	if err := inUse(n.config.Dir); err != nil {
		return err
	}
	listener, err := listen(n.config.bind()) // nothing has been written yet
	if err != nil {
		return err
	}
	if err := n.recall(); err != nil {
		return errors.Join(err, listener.Close())
	}
	n.dir.bolt.limit(cmp.Or(n.config.snapshots.bytes, maxLog))
	d.member, n.machine.adopt = n.dir, n.dir.adopt
	n.machine.after = func() {
		if n.running() { // before that the library has not read its log yet
			n.dir.bolt.restored(n.dir.opened.Load())
		}
	}
	n.caller = newCaller(d)
	more, moved := n.others, n.moved
	d.more.Store(&more)
	d.moved.Store(&moved)
	n.port = openPort(d, listener, n.log)
	n.server = n.serve()
	fits := func(f certs.Files) error { return f.CheckPeer(n.config.ID) }
	n.background(func(ctx context.Context) { n.config.files().Mind(ctx, n.log, fits) })
	return nil
}

// run starts Raft and lets its streams in.
func (n *node) run() error {
	t := n.newTransport()
	n.transport = t
	r, err := n.newRaft(t)
	if err != nil {
		return errors.Join(n.machine.err(), fmt.Errorf("start on data directory %s: %w", n.config.Dir, err))
	}
	n.raft, n.halt, n.begun = r, sync.OnceValue(r.Shutdown), r.LastIndex()
	n.dir.bolt.runs.Store(&n.ctx)
	n.dir.look() // before it asks to be counted
	close(n.ready)
	n.noteAddresses()
	n.port.raftOpen.Store(true)
	return nil
}

func (n *node) newTransport() *transport {
	timing := n.config.timing()
	return &transport{
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:                streams{n.port, advertised(n.config.peer(n.config.ID).Address)},
			ServerAddressProvider: n.port.dialer,
			Logger:                raftLogger(n.log),
			MaxPool:               4,
			MaxRPCsInFlight:       1, // with two the library's pipeline can wait for itself, and a node never ends
			Timeout:               max(2*time.Second, 3*timing),
		}),
		log:  n,
		done: n.port.ctx.Done(),
		rest: min(timing/2, 200*time.Millisecond),
	}
}

// options are the library's. Heartbeat and election timeout are equal, as its
// documentation wants them.
func (n *node) options() *raft.Config {
	timing, s := n.config.timing(), n.config.snapshots
	o := raft.DefaultConfig()
	o.LocalID = raft.ServerID(n.config.ID)
	o.HeartbeatTimeout, o.ElectionTimeout = timing, timing
	o.LeaderLeaseTimeout = timing // nobody relies on a leader that steps down sooner
	o.CommitTimeout = timing / 5
	if n.config.patient() {
		o.CommitTimeout = timing / 2
	}
	o.SnapshotThreshold = cmp.Or(s.threshold, 4096)
	o.TrailingLogs = cmp.Or(s.trailing, 1024)
	o.SnapshotInterval = cmp.Or(s.interval, 30*time.Second)
	o.MaxAppendEntries = maxEntries
	o.ShutdownOnRemove = false // a node that was removed to be added again stays
	o.NoLegacyTelemetry = true
	o.Logger = raftLogger(n.log)
	return o
}

// begin counts a call, whose context ends with the node too.
func (n *node) begin(ctx context.Context) (context.Context, func(), error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, nil, errClosed
	}
	n.calls.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(n.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil); n.calls.Done() }, nil
}

// background runs f until it returns or the node closes.
func (n *node) background(f func(context.Context)) {
	ctx, end, err := n.begin(context.Background())
	if err != nil {
		return
	}
	go func() { defer end(); f(ctx) }()
}

func (n *node) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return ledger.View{}, err
	}
	defer end()
	return n.machine.look(ctx, after, roles...)
}

func (n *node) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	ctx, end, err := n.begin(ctx)
	if err != nil {
		return ledger.Result{}, err
	}
	defer end()
	if err := n.follows(c); err != nil {
		return ledger.Result{}, err
	}
	r, err := n.propose(ctx, c)
	if err == nil {
		n.acknowledged(r.Revision)
	}
	return r, err
}

// propose tries until the command is applied, may have been applied, or ctx ends.
func (n *node) propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	for began := time.Now(); ; {
		r, err := n.try(ctx, c)
		if !errors.Is(err, errNotApplied) {
			return r, err
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return r, fmt.Errorf("%w: %w", tooLate(ctx, began), err)
		}
	}
}

// try has the leader apply the command, once.
func (n *node) try(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if err := n.unable(); err != nil {
		return ledger.Result{}, err
	}
	if n.raft.State() == raft.Leader {
		return n.apply(ctx, c)
	}
	return n.passOn(ctx, c)
}

func (n *node) running() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// unable is why this node can neither apply a command nor pass one on; nil: it can.
func (n *node) unable() error {
	if !n.running() {
		return undone{errors.New("raft does not run yet")}
	}
	return n.machine.err()
}

// apply applies the command if this node is the leader.
func (n *node) apply(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	if err := n.unable(); err != nil {
		return ledger.Result{}, err
	}
	if err := c.Check(); err != nil { // whoever sent it: nothing refused is kept
		return ledger.Result{Code: ledger.Permanent, Why: err.Error()}, nil
	}
	if group := n.dir.read().Group; group != "" && c.Name != "" {
		c.Name = group // the ledger's identity is its group's
	}
	data, err := encode(c)
	if err != nil {
		return ledger.Result{}, lock.Permanent(err)
	}
	type outcome struct {
		r   ledger.Result
		err error
	}
	done, began := make(chan outcome, 1), time.Now()
	n.calls.Add(1) // within the caller's own, so Close still waits
	go func() {
		defer n.calls.Done()
		r, err := n.commitUnlessRefused(c, data)
		done <- outcome{r, err}
		if r.Changed || c.Op == ledger.Nothing { // a reader waits for what it asked to be applied where it reads
			n.announce()
		}
	}()
	select {
	case o := <-done:
		return o.r, o.err
	case <-ctx.Done():
		return ledger.Result{}, tooLate(ctx, began)
	}
}

// commit appends an entry and waits for what the ledger says to it.
func (n *node) commit(data []byte, enqueue time.Duration) (ledger.Result, error) {
	f := n.raft.Apply(data, enqueue)
	n.answer(f)
	switch err := f.Error(); {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return ledger.Result{}, undone{err}
	case err != nil:
		return ledger.Result{}, err
	}
	switch r := f.Response().(type) {
	case ledger.Result:
		return r, nil
	case error:
		return ledger.Result{}, r
	}
	return ledger.Result{}, errors.New("the entry was not applied here")
}

// answer sees to it that a future is answered: one whose entry is committed in the
// moment of the library's shutdown never is by itself, and whoever waits for it stays.
// The library has a field for that, which it sets for some of its futures only.
func (n *node) answer(f raft.Future) {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer {
		return // it is answered already
	}
	if down := v.Elem().FieldByName("ShutdownCh"); down.IsValid() && down.CanSet() {
		down.Set(reflect.ValueOf(n.down))
	}
}
