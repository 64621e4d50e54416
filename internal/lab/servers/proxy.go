package servers

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Proxy stands between clients and one server, and spoils the network between
// them. At first it only passes bytes on. Its methods may be called concurrently;
// what they change acts at once on connections old and new.
type Proxy struct {
	target, addr string

	mu       sync.Mutex
	changed  chan struct{} // closed with every change of what follows
	held     [2]bool       // by direction
	delay    time.Duration
	jitter   time.Duration
	distant  bool         // a connection takes a trip to make
	listener net.Listener // nil: refusing
	closed   bool
	links    map[*link]bool
	running  sync.WaitGroup
}

// A direction is that of requests or that of replies.
type direction int

const (
	requests direction = iota
	replies
)

// StartProxy starts a proxy to target, HOST:PORT, on a port of loopback. The caller
// closes it.
func StartProxy(target string) (p *Proxy, err error) {
	for range attempts { // another process may take the port first
		var free []int
		if free, err = Ports(1); err != nil {
			return nil, err
		}
		p = &Proxy{
			target: target, addr: fmt.Sprintf("127.0.0.1:%d", free[0]),
			changed: make(chan struct{}), links: map[*link]bool{},
		}
		if err = p.Accept(); !errors.Is(err, syscall.EADDRINUSE) {
			return p, err
		}
	}
	return p, err
}

// Addr returns HOST:PORT, where clients reach the server through the proxy.
func (p *Proxy) Addr() string { return p.addr }

// Hold makes a black hole of each direction that is true, and ends that of each
// that is not: bytes are held back, and go on their way when the hole ends, as on
// a network that was cut and repeats what was not acknowledged. Connections are
// still made. Reset loses what is held.
func (p *Proxy) Hold(requestsToo, repliesToo bool) {
	p.change(func() { p.held = [2]bool{requests: requestsToo, replies: repliesToo} })
}

// Delay lets every byte take d longer, each way.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

// Far puts the server far away: a round trip takes as long as trip, and by chance up to
// jitter longer, and a connection takes one to make.
func (p *Proxy) Far(trip, jitter time.Duration) {
	p.change(func() { p.delay, p.jitter, p.distant = trip/2, jitter/2, true })
}

// Reset breaks every connection with a TCP reset, at both ends.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Refuse makes new connections fail at once. Those that stand go on: see Reset.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Accept ends Refuse.
func (p *Proxy) Accept() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	p.listener = l
	p.running.Go(func() { p.accept(l) })
	return nil
}

// Close resets every connection and returns when nothing of the proxy runs. It
// may be repeated.
func (p *Proxy) Close() {
	p.change(func() { p.closed = true })
	p.Refuse()
	p.Reset()
	p.running.Wait()
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.running.Go(func() { p.serve(client.(*net.TCPConn)) })
		}
	}
}

// dialTimeout bounds a dial to a server that is there, on loopback.
const dialTimeout = 5 * time.Second

func (p *Proxy) serve(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, dialTimeout)
	if err != nil { // the server is down: its port would have said the same
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn), broken: make(chan struct{})}
	p.mu.Lock()
	p.links[l] = true
	if p.closed {
		l.reset()
	}
	p.mu.Unlock()

	var both sync.WaitGroup
	both.Go(func() { p.pass(l, requests, l.client, l.server) })
	both.Go(func() { p.pass(l, replies, l.server, l.client) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
	l.close()
}

// A link is one connection through the proxy.
type link struct {
	client, server *net.TCPConn
	once           sync.Once
	broken         chan struct{}
}

// reset breaks both connections; what is on its way is lost.
func (l *link) reset() {
	_ = l.client.SetLinger(0)
	_ = l.server.SetLinger(0)
	l.close()
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.broken)
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// A piece is what was read at once, and when; later where it takes longer than others.
type piece struct {
	bytes []byte
	at    time.Time
}

// arrival is when what is read now counts as read.
func (p *Proxy) arrival(first bool) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if p.jitter > 0 {
		at = at.Add(rand.N(p.jitter))
	}
	if first && p.distant { // the handshake
		at = at.Add(2 * p.delay)
	}
	return at
}

// queue is how many pieces may be on their way in one direction; then the sender
// feels it, as on a network.
const queue = 256

// pass passes one direction on until its sender closes or the link breaks.
func (p *Proxy) pass(l *link, d direction, from, to *net.TCPConn) {
	pieces := make(chan piece, queue)
	p.running.Go(func() {
		defer close(pieces)
		for first := d == requests; ; first = false {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case pieces <- piece{buf[:n], p.arrival(first)}:
				case <-l.broken:
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				l.reset()
				return
			}
		}
	})
	for one := range pieces {
		if !p.await(l, d, one.at) {
			return
		}
		if _, err := to.Write(one.bytes); err != nil {
			l.reset()
			return
		}
	}
	if p.await(l, d, time.Now()) {
		_ = to.CloseWrite()
	}
}

// await waits until what was read at may go on its way; false: the link broke.
func (p *Proxy) await(l *link, d direction, at time.Time) bool {
	for {
		p.mu.Lock()
		held, left, changed := p.held[d], time.Until(at.Add(p.delay)), p.changed
		p.mu.Unlock()
		if !held && left <= 0 {
			return true
		}
		var due <-chan time.Time
		if !held {
			due = time.After(left)
		}
		select {
		case <-due:
		case <-changed:
		case <-l.broken:
			return false
		}
	}
}
