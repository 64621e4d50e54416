package raft

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// Dial returns a Locker that reaches the group through any of its peers and is
// no member of it: it needs no data directory. Of c it reads the peers, the TLS
// files and the logger. It can watch, ask and raise; all else is for members.
func Dial(c Config) (lock.Locker, error) {
	if err := c.ValidatePeers(); err != nil {
		return nil, err
	}
	s, err := c.security()
	if err != nil {
		return nil, err
	}
	cl := &client{closed: make(chan struct{})}
	for _, p := range c.Peers {
		cl.peers = append(cl.peers, newCaller(p, s))
	}
	return ledger.NewLocker(cl), nil
}

// A client reaches the group from outside.
type client struct {
	peers  []*caller
	good   atomic.Int32 // the peer that answered last
	done   atomic.Bool
	closed chan struct{}
}

var _ ledger.Store = (*client)(nil)

// attempt is how long one peer may take to answer.
const attempt = time.Second

func (c *client) Propose(ctx context.Context, cmd ledger.Command) (ledger.Result, error) {
	var r ledger.Result
	return r, c.each(ctx, func(ctx context.Context, p *caller) error { return p.call(ctx, "/wish", cmd, &r) })
}

func (c *client) Look(ctx context.Context, after uint64, roles ...string) ([]lock.Standing, uint64, error) {
	for {
		var r lookReply
		err := c.round(ctx, func(ctx context.Context, p *caller) error {
			err := p.call(ctx, "/look", lookRequest{After: after, Roles: roles}, &r)
			if err != nil && !errors.Is(err, lock.ErrPermanent) {
				return fmt.Errorf("%w: %w", errNotApplied, err) // looking changes nothing
			}
			return err
		})
		if err != nil || r.Revision > after || after == 0 {
			return r.Standings, r.Revision, err
		}
	}
}

// each makes rounds until a peer answers, the outcome is unknown, or ctx ends.
func (c *client) each(ctx context.Context, ask func(context.Context, *caller) error) error {
	for {
		err := c.round(ctx, ask)
		if !errors.Is(err, errNotApplied) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.closed:
			return errClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// round asks the peers in turn, from the one that answered last on, until one
// answers or the outcome is unknown. Otherwise it says what each of them said.
func (c *client) round(ctx context.Context, ask func(context.Context, *caller) error) error {
	var errs []error
	for i := range c.peers {
		at := (int(c.good.Load()) + i) % len(c.peers)
		one, cancel := context.WithTimeout(ctx, attempt)
		err := ask(one, c.peers[at])
		cancel()
		if err == nil {
			c.good.Store(int32(at))
			return nil
		}
		if !errors.Is(err, errNotApplied) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *client) Close() error {
	if c.done.CompareAndSwap(false, true) {
		close(c.closed)
		for _, p := range c.peers {
			p.close()
		}
	}
	return nil
}
