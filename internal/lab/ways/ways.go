// Package ways lays a network of our own between one client and its store, and spoils it for
// the conformance suite, whatever is spoken over it.
package ways

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// Ways are the connections of one Locker, each through a proxy of ours to where it leads.
// What is done to the ways is done to all of them, and to those that are laid later. Their
// methods may be called concurrently.
type Ways struct {
	mu      sync.Mutex
	proxies map[string]*servers.Proxy // by where they lead; nil: closed
	spoil   map[string]func(*servers.Proxy)
	refused bool // no connection can be made
}

// New returns ways, none of them laid yet.
func New() *Ways {
	return &Ways{proxies: map[string]*servers.Proxy{}, spoil: map[string]func(*servers.Proxy){}}
}

// Through returns HOST:PORT, where the way to an address begins.
func (w *Ways) Through(address string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.proxies == nil {
		return "", net.ErrClosed
	}
	if p := w.proxies[address]; p != nil {
		return p.Addr(), nil
	}
	p, err := servers.StartProxy(address)
	if err != nil {
		return "", err
	}
	w.proxies[address] = p
	for _, spoil := range w.spoil {
		spoil(p)
	}
	if w.refused {
		p.Refuse()
	}
	return p.Addr(), nil
}

// ThroughAll is Through for several addresses. Where one way cannot be laid, all are closed.
func (w *Ways) ThroughAll(addresses ...string) (through []string, err error) {
	for _, address := range addresses {
		begin, err := w.Through(address)
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		through = append(through, begin)
	}
	return through, nil
}

// Dial connects to an address on the way to it.
func (w *Ways) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	begin, err := w.Through(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, begin)
}

// Client is a Locker whose connections are the ways, as the suite sees it. The ways are
// closed with it, and at once where err says that there is none.
func (w *Ways) Client(l lock.Locker, err error) (*conformance.Client, error) {
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	op, decides := l.(lock.Operator)
	if !decides {
		return nil, errors.Join(fmt.Errorf("a %T does not implement lock.Operator", l), l.Close(), w.Close())
	}
	way := lock.Locker(over{l, op, w})
	if values, keeps := l.(lock.Values); keeps {
		way = keeping{over{l, op, w}, values}
	}
	hold := func(requests, replies bool) func() error {
		return func() error { w.hold(requests, replies); return nil }
	}
	return &conformance.Client{
		Locker: way, Cut: hold(true, true), CutReplies: hold(false, true), CutRequests: hold(true, false),
		Refuse: w.refuse, Heal: w.heal, Far: w.far,
	}, nil
}

// each does something to every way, and to those that are laid later unless something of
// the same kind is done to them by then.
func (w *Ways) each(kind string, spoil func(*servers.Proxy)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoil[kind] = spoil
	for _, p := range w.proxies {
		spoil(p)
	}
}

func (w *Ways) hold(requests, replies bool) {
	w.each("hold", func(p *servers.Proxy) { p.Hold(requests, replies) })
}

func (w *Ways) far(trip, jitter time.Duration) {
	w.each("far", func(p *servers.Proxy) { p.Far(trip, jitter) })
}

// refuse breaks every connection and lets nobody make another.
func (w *Ways) refuse() error {
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
func (w *Ways) heal() (err error) {
	w.hold(false, false)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused {
		for _, p := range w.proxies {
			err = errors.Join(err, p.Accept())
		}
	}
	w.refused = false
	return err
}

// Close closes every connection, and lets nobody make another.
func (w *Ways) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.proxies {
		p.Close()
	}
	w.proxies = nil
	return nil
}

// over closes the ways with the Locker.
type over struct {
	lock.Locker
	lock.Operator
	ways *Ways
}

// keeping is over a Locker that keeps values, too.
type keeping struct {
	over
	lock.Values
}

func (o over) Close() error { return errors.Join(o.Locker.Close(), o.ways.Close()) }
