package raft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lasting"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// A client reaches a group from outside. It asks one peer after the other, and
// stays with the one that answers.
type client struct {
	peers  atomic.Pointer[[]Peer]
	caller caller
	dialer *dialer
	next   atomic.Uint64
	trip   atomic.Int64 // how long the last proposal took that was answered, in its turn or late
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Of a witness alone: the node of its process, and where that keeps what it knows of the others.
	self, dir string
	learning  atomic.Bool
}

var _ ledger.Store = (*client)(nil)

// Dial returns a Locker on the group of which this process is not a member. It
// needs Peers, and under TLS the three files; with a certificate that names no
// peer it may watch and do what operators do, and neither sees values nor records events. Where ID is a peer's, that peer
// is never asked: it is the process that the caller is a witness of. It connects when it
// is first used.
func Dial(c Config) (lock.Locker, error) {
	if err := c.ValidatePeers(); err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	d, err := newDialer(c, "")
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	cl := newClient(c.others(), d)
	if c.ID != "" {
		cl.self, cl.dir = c.ID, c.Dir
		cl.learn()
	}
	if len(cl.list()) == 0 {
		return nil, errors.Join(lock.Permanent(fmt.Errorf("raft: %q is the only peer, there is no other to ask", c.ID)), cl.Close())
	}
	l := ledger.NewLocker(cl)
	return outsider{l, l.(lock.Values), l.(ledger.Keeper), l.(lock.Operator), cl}, nil
}

// An outsider is what Dial returns.
type outsider struct {
	lock.Locker
	lock.Values
	ledger.Keeper
	lock.Operator
	client *client
}

func (o outsider) Close() error { return o.Locker.Close() }

// Limits are less than a node's own: a node takes no large call from outside.
func (o outsider) Limits(ctx context.Context) (lock.Limits, error) {
	most, err := o.Values.Limits(ctx)
	most.Keys, most.Write = maxSmall/(2*lock.MaxName), maxSmall/2
	return most, err
}

func (o outsider) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	most, err := o.Limits(ctx)
	if err := errors.Join(err, most.CheckWrite(role, changes, when)); err != nil {
		return 0, err
	}
	return o.Values.Write(ctx, role, t, changes, when)
}

// Elect has one peer stand for election, the one with the longest log, and another only
// when that brought no leader soon: two at once would split the votes. A peer that knows
// another leader than the one that is dead changes nothing. It is for a witness, whose
// word is that the process is dead.
//
// A peer that is far away has the time of the trip there, as last measured; but all of
// them together have at most half of ctx, so that the session can be ended after that.
func (o outsider) Elect(ctx context.Context, dead string) error {
	var errs []error
	o.client.learn()
	limit := o.client.patience(2 * electing)
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, max(2*electing, time.Until(end)/time.Duration(2*len(o.client.list()))))
	}
	for _, p := range o.client.byLog(ctx) {
		try, stop := context.WithTimeout(ctx, limit)
		var now hello
		err := o.client.caller.call(try, p, pathElect, hello{Leader: dead}, &now)
		stop()
		if err == nil && now.Leader != "" {
			o.client.next.Store(uint64(max(0, slices.Index(o.client.list(), p)))) // it is there, and has heard of the leader: it is asked next
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// byLog are the peers that answer soon, the one with the longest log first, and then the
// others.
func (c *client) byLog(ctx context.Context) []Peer {
	ctx, stop := context.WithTimeout(ctx, electing/5)
	defer stop()
	all := c.list()
	last := make([]uint64, len(all))
	var asked sync.WaitGroup
	for i, p := range all {
		asked.Go(func() {
			var h hello
			if c.caller.call(ctx, p, pathHello, hello{}, &h) == nil {
				last[i] = h.Last + 1
			}
		})
	}
	asked.Wait()
	peers := slices.Clone(all)
	slices.SortStableFunc(peers, func(a, b Peer) int {
		return cmp.Compare(last[slices.Index(all, b)], last[slices.Index(all, a)])
	})
	return peers
}

func newClient(peers []Peer, d *dialer) *client {
	c := &client{caller: newCaller(d), dialer: d}
	c.peers.Store(&peers)
	more := c.list
	d.more.Store(&more)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	waits := func(r *http.Request) bool { return r.URL.Path == pathLook || r.URL.Path == pathElect }
	c.caller.http.Transport = &lasting.Transport{Base: clocked{c.caller.http.Transport, &c.trip}, Open: c.ctx, Ends: waits}
	return c
}

// A clocked transport notes how long each proposal takes, also where its turn is over
// meanwhile: else a client that has had no answer yet would not learn how long to wait.
type clocked struct {
	http.RoundTripper
	trip *atomic.Int64
}

func (c clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := c.RoundTripper.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusOK && r.URL.Path == pathPropose {
		c.trip.Store(int64(time.Since(began)))
	}
	return resp, err
}

// CloseIdleConnections closes those that no request uses.
func (c clocked) CloseIdleConnections() {
	if base, ok := c.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// repeatable are the commands that change nothing when they are applied twice.
var repeatable = append(slices.Clone(operators), ledger.Begin, ledger.Read, ledger.Record, ledger.Save, ledger.Restore, ledger.Evict)

// Propose asks the peers in turn. A command that may have been applied is
// proposed again only where that changes nothing.
func (c *client) Propose(ctx context.Context, cmd ledger.Command) (r ledger.Result, err error) {
	again := slices.Contains(repeatable, cmd.Op)
	if cmd.Op == ledger.Nothing {
		return c.proposeNothing(ctx)
	}
	err = c.each(ctx, c.patience(attempt), func(t *turn) (bool, error) {
		t.all = !again // it is made only once
		var err error
		r, err = c.caller.propose(t.ctx, t.peer, pathPropose, cmd)
		return err == nil || !again && t.sent.Load() && !errors.Is(err, errNotApplied), err
	})
	return r, err
}

// proposeNothing asks the peers in turn, and does not wait long for one that sleeps; but
// an answer counts also when its peer's turn is over: that may be far away.
func (c *client) proposeNothing(ctx context.Context) (r ledger.Result, err error) {
	type answer struct {
		peer Peer
		r    ledger.Result
		err  error
	}
	answers := make(chan answer)
	err = c.each(ctx, c.patience(attempt/4), func(t *turn) (bool, error) {
		go func() {
			r, err := c.caller.propose(t.call, t.peer, pathPropose, ledger.Command{Op: ledger.Nothing})
			select {
			case answers <- answer{t.peer, r, err}:
			case <-t.call.Done():
			}
		}()
		for {
			select {
			case a := <-answers:
				if a.err == nil {
					r = a.r
					c.next.Store(uint64(max(0, slices.Index(c.list(), a.peer))))
					return true, nil
				}
				if a.peer == t.peer {
					return false, a.err
				}
			case <-t.ctx.Done():
				return false, fmt.Errorf("peer %s: %w", t.peer, context.Cause(t.ctx))
			}
		}
	})
	return r, err
}

// Look asks the peers in turn. The first answer is no older than the question: a
// peer that was cut off, or has only started, would show a past as the present.
func (c *client) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	first := after.Revision == 0
	if first {
		r, err := c.Propose(ctx, ledger.Command{Op: ledger.Nothing})
		if err != nil {
			return view{}, err
		}
		after.Revision = r.Revision - 1
	}
	patience := poll + c.patience(attempt)
	if first {
		patience = c.patience(attempt / 4) // the answer is there, at all peers but one that does not follow the log
	}
	var v view
	err := c.each(ctx, patience, func(t *turn) (bool, error) {
		v = view{}
		err := c.caller.call(t.ctx, t.peer, pathLook, question{after, roles}, &v)
		return err == nil && v.After(after), err
	})
	return v, err
}

// each calls f with one peer after the other, for a turn each, until it is done
// or ctx ends. An error then names what failed at each peer. Where no peer has answered,
// each has twice as long the next time: they may be far away, and not dead.
func (c *client) each(ctx context.Context, patience time.Duration, f func(*turn) (done bool, err error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(errClosed) })()
	if c.ctx.Err() != nil { // what was just started cancels a little later
		return errClosed
	}
	failed, began := map[string]error{}, time.Now()
	tried := uint64(0)
	for pause, idle := ask/20, uint64(0); ; {
		peers := c.list()
		p := peers[(c.next.Load()+idle)%uint64(len(peers))]
		t := newTurn(ctx, p, c.patience(patience)) // a late answer may have come meanwhile
		done, err := f(t)
		t.end()
		if done || errors.Is(err, lock.ErrPermanent) {
			return err
		}
		if ctx.Err() == nil || failed[p.ID] == nil && !errors.Is(err, context.Cause(ctx)) { // that no time was left says nothing of a peer
			failed[p.ID] = err
		}
		if err == nil && ctx.Err() == nil { // it lives, and has nothing new: others may ask it all the same
			idle++
			continue
		}
		if !errors.Is(ctx.Err(), context.Canceled) { // then nothing is known of the peer
			c.next.Add(1)
		}
		if tried++; tried%uint64(len(peers)) != 0 && ctx.Err() == nil {
			continue
		}
		patience = min(2*patience, mostPatience)
		c.learn()
		select {
		case <-time.After(pause):
			pause = min(2*pause, ask)
		case <-ctx.Done():
			return c.failure(tooLate(ctx, began), failed)
		}
	}
}

// tooLate is why a call of the group ended with its context, which it began to wait for then.
func tooLate(ctx context.Context, began time.Time) error {
	err := context.Cause(ctx)
	if late.Is(err) {
		err = late.Error(err, "the group gave no answer within %s", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// failure names what failed at each peer.
func (c *client) failure(cause error, failed map[string]error) error {
	errs := []error{cause}
	for _, p := range c.list() {
		if failed[p.ID] != nil {
			errs = append(errs, failed[p.ID])
		}
	}
	return errors.Join(errs...)
}

func (c *client) Close() error {
	c.cancel(errClosed)
	c.dialer.conns.closeAll()
	c.caller.close()
	return nil
}
