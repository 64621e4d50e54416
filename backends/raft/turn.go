package raft

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// mostPatience is the longest turn: longer than any trip, with a connection to be made.
const mostPatience = 30 * time.Second

// patience is how long a peer is waited for before the next one is asked: not less than
// what a peer needs that is as far away as the one that answered last.
func (c *client) patience(least time.Duration) time.Duration {
	return max(least, min(3*time.Duration(c.trip.Load()), mostPatience))
}

var errSlow = errors.New("it has not answered yet")

// A turn is what one peer has of a call. The connection that is made for it is made to its
// end, also when the turn is over: the next one finds it.
type turn struct {
	peer  Peer
	call  context.Context // of the whole call
	ctx   context.Context
	sent  atomic.Bool // there was a connection: it may have been asked
	all   bool        // one that was sent has all of the call's time
	timer *time.Timer
	stop  context.CancelCauseFunc
}

func newTurn(ctx context.Context, p Peer, patience time.Duration) *turn {
	t := &turn{peer: p, call: ctx}
	t.ctx, t.stop = context.WithCancelCause(ctx)
	t.timer = time.AfterFunc(patience, func() { t.stop(errSlow) })
	t.ctx = httptrace.WithClientTrace(t.ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if t.sent.Store(true); t.all {
			t.timer.Stop()
		}
	}})
	return t
}

func (t *turn) end() {
	t.timer.Stop()
	t.stop(nil)
}
