package main

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// Ways are the connections of one Locker, each through a proxy of ours to where it
// leads. So its network can be cut, whatever is spoken over it.
type ways struct {
	mu                sync.Mutex
	proxies           map[string]*servers.Proxy // by where they lead
	requests, replies bool                      // which are held
	refused           bool                      // no connection can be made
	closed            bool
}

func newWays() *ways { return &ways{proxies: map[string]*servers.Proxy{}} }

// client opens a store over the ways.
func (w *ways) client(ctx context.Context, store backends.Config) (*conformance.Client, error) {
	l, err := backends.Dial(ctx, store)
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	hold := func(requests, replies bool) func() error {
		return func() error { w.hold(requests, replies); return nil }
	}
	return &conformance.Client{
		Locker: overWays{l, w}, Cut: hold(true, true), CutReplies: hold(false, true), CutRequests: hold(true, false),
		Refuse: w.refuse, Heal: w.heal,
	}, nil
}

// dial connects to an address through its proxy.
func (w *ways) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p, err := w.proxy(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, p.Addr())
}

func (w *ways) proxy(address string) (*servers.Proxy, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, net.ErrClosed
	}
	if p := w.proxies[address]; p != nil {
		return p, nil
	}
	p, err := servers.StartProxy(address)
	if err == nil {
		p.Hold(w.requests, w.replies)
		if w.refused {
			p.Refuse()
		}
		w.proxies[address] = p
	}
	return p, err
}

func (w *ways) hold(requests, replies bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests, w.replies = requests, replies
	for _, p := range w.proxies {
		p.Hold(requests, replies)
	}
}

// refuse breaks every connection and lets nobody make another.
func (w *ways) refuse() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = true
	for _, p := range w.proxies {
		p.Refuse()
		p.Reset()
	}
	return nil
}

// heal ends what hold and refuse did.
func (w *ways) heal() error {
	w.hold(false, false)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.refused {
		return nil
	}
	w.refused = false
	var errs []error
	for _, p := range w.proxies {
		errs = append(errs, p.Accept())
	}
	return errors.Join(errs...)
}

func (w *ways) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, p := range w.proxies {
		p.Close()
	}
	return nil
}

// overWays closes the ways with the Locker.
type overWays struct {
	lock.Locker
	ways *ways
}

func (o overWays) Close() error { return errors.Join(o.Locker.Close(), o.ways.close()) }
