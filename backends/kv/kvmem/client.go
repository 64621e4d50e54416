package kvmem

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
)

// A Client is one process's way to a Server.
type Client struct {
	server *Server
	ctx    context.Context // of all calls, until Close
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	calls  int
	faults func(Call) Fault
	breaks context.CancelCauseFunc // ends every Follow
	broken context.Context
}

var _ kv.Store = (*Client)(nil)

// A Call is one call of a Client.
type Call struct {
	Number int    // 1 is the Client's first
	Name   string // "Read", "Commit", "Follow", "Grant", "Keep", "Revoke"; "Step": what a Follow is about to yield
	Keys   []string
	Txn    kv.Txn
}

// A Fault is what goes wrong with a call: Before happens on the request's way, After on the
// reply's. Either may take as long as it likes, within the call's context. An error is the
// call's: after Before's nothing was done, after After's it was. A nil func is not a fault.
type Fault struct {
	Before, After func(context.Context) error
}

// Fail fails a call before the store has seen it.
func Fail(err error) Fault { return Fault{Before: func(context.Context) error { return err }} }

// Lose loses the reply: the call is done, and fails.
func Lose(err error) Fault { return Fault{After: func(context.Context) error { return err }} }

// Delay has the request and the reply take this long.
func Delay(request, reply time.Duration) Fault {
	return Fault{
		Before: func(ctx context.Context) error { return wait(ctx, request) },
		After:  func(ctx context.Context) error { return wait(ctx, reply) },
	}
}

// Hold holds the request until the channel is closed.
func Hold(until <-chan struct{}) Fault { return Fault{Before: held(until)} }

// HoldReply holds the reply until the channel is closed.
func HoldReply(until <-chan struct{}) Fault { return Fault{After: held(until)} }

func held(until <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-until:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// On has f decide about each later call; nil ends all faults. f is called from one goroutine
// at a time; it must not block, nor call the Client.
func (c *Client) On(f func(Call) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// Break ends every Follow of this Client with an error.
func (c *Client) Break(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.breaks != nil {
		c.breaks(err)
		c.breaks = nil
	}
}

// Calls is how many calls were made.
func (c *Client) Calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// fault counts a call and says what goes wrong with it.
func (c *Client) fault(call Call) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	call.Number = c.calls
	if c.faults == nil {
		return Fault{}
	}
	return c.faults(call)
}

// do makes one call: it does what its fault says around it.
func (c *Client) do(ctx context.Context, call Call, do func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })()
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	return c.fault(call).Around(ctx, do)
}

// Around makes a call with the fault.
func (f Fault) Around(ctx context.Context, do func() error) error {
	if f.Before != nil {
		if err := f.Before(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := do()
	if f.After != nil {
		if lost := f.After(ctx); lost != nil {
			return lost
		}
	}
	return err
}

// wait returns after d, or with the reason when ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	if d > 0 && ctx.Err() == nil {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Read is kv.Store's.
func (c *Client) Read(ctx context.Context, keys ...string) (v kv.View, err error) {
	err = c.do(ctx, Call{Name: "Read", Keys: keys}, func() error { v = c.server.read(keys); return nil })
	return v, err
}

// Commit is kv.Store's.
func (c *Client) Commit(ctx context.Context, t kv.Txn) (r kv.Result, err error) {
	err = c.do(ctx, Call{Name: "Commit", Txn: t}, func() (err error) { r, err = c.server.commit(t); return err })
	if err != nil {
		return kv.Result{}, err
	}
	return r, nil
}

// Grant is kv.Store's.
func (c *Client) Grant(ctx context.Context, ttl time.Duration) (l kv.Lease, err error) {
	err = c.do(ctx, Call{Name: "Grant"}, func() error { l = c.server.grant(ttl); return nil })
	return l, err
}

// Keep is kv.Store's.
func (c *Client) Keep(ctx context.Context, l kv.Lease) error {
	return c.do(ctx, Call{Name: "Keep"}, func() error { return c.server.keep(l) })
}

// Revoke is kv.Store's.
func (c *Client) Revoke(ctx context.Context, l kv.Lease) error {
	return c.do(ctx, Call{Name: "Revoke"}, func() error { return c.server.revoke(l) })
}

// Follow is kv.Store's. Faults strike when it begins and with every step; Break ends it.
func (c *Client) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		if err := c.do(ctx, Call{Name: "Follow", Keys: keys}, func() error { return nil }); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(c.ctx, func() { cancel(ErrClosed) })()
		c.mu.Lock()
		if c.breaks == nil {
			c.broken, c.breaks = context.WithCancelCause(context.Background())
		}
		broken := c.broken
		c.mu.Unlock()
		defer context.AfterFunc(broken, func() { cancel(context.Cause(broken)) })()
		for step, err := range c.server.follow(ctx, since, keys) {
			if err == nil {
				err = c.do(ctx, Call{Name: "Step", Keys: keys}, func() error { return nil })
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Close ends every call. It may be repeated, and called from anywhere.
func (c *Client) Close() error {
	c.cancel(ErrClosed)
	return nil
}
