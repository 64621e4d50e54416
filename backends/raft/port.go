package raft

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// A connection's first byte says what it carries.
const (
	raftStream  = 'G' // the Raft library's own, after a greeting both ways
	userStream  = 'U' // HTTP/1.1
	olderStream = 'R' // raftStream of programs that know no groups
)

// greeting bounds the TLS handshake and the first byte, so that a connection
// that says nothing holds nothing.
const greeting = 10 * time.Second

// A dialer opens connections to peers. Under TLS the peer must prove its ID.
type dialer struct {
	peers  []Peer
	more   atomic.Pointer[func() []Peer] // the group's members, some of whom may not be in peers; nil: not known yet
	moved  atomic.Pointer[func() []Peer] // the members whose address the group has changed
	certs  *certs.Reader                 // nil: no TLS, loopback only
	ca     string                        // the file of authorities
	conns  *conns
	member belonging // nil: we are none
}

// newDialer checks our own certificate, which must bear the name where that is not empty.
func newDialer(c Config, name string) (*dialer, error) {
	d := &dialer{peers: c.Peers, conns: &conns{open: map[*tracked]bool{}}}
	if c.CertFile == "" {
		return d, nil
	}
	if err := c.checkFiles(name); err != nil {
		return nil, lock.Permanent(err)
	}
	var err error
	d.ca = c.CAFile
	d.certs, err = certs.NewReader(c.files())
	return d, err
}

// files are those of TLS.
func (c Config) files() certs.Files {
	return certs.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}
}

// tls is the TLS of one connection, with the certificates as they are now.
func (d *dialer) tls(name string) *tls.Config {
	roots := d.certs.Roots()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*d.certs.Pair()}, ServerName: name,
		RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}
}

// dial connects to a peer. After an error nothing was asked of it.
func (d *dialer) dial(ctx context.Context, address string, kind byte) (net.Conn, error) {
	ctx, stop := context.WithTimeout(ctx, greeting)
	defer stop()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", d.route(address))
	if err != nil {
		return nil, err
	}
	conn := d.conns.add(raw)
	if d.certs != nil {
		name := cmp.Or(d.id(address), calledOf(ctx))
		secure := tls.Client(conn, d.tls(name))
		err := secure.HandshakeContext(ctx)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("TLS with it: %w", d.distrust(err)), conn.Close())
		}
		conn = secure
	}
	if kind == raftStream {
		conn = &greeted{Conn: conn, member: d.member}
	}
	if _, err := conn.Write(d.hello(kind)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// hello is what a connection begins with.
func (d *dialer) hello(kind byte) []byte {
	if kind == raftStream {
		return append([]byte{kind}, greetingOf(d.member)...)
	}
	return []byte{kind}
}

// known are the peers of the list, and then the members of the group.
func (d *dialer) known() []Peer {
	if more := d.more.Load(); more != nil {
		return append(slices.Clone(d.peers), (*more)()...)
	}
	return d.peers
}

func (d *dialer) id(address string) string {
	for _, p := range d.known() {
		if p.Address == address {
			return p.ID
		}
	}
	return ""
}

// isPeer reports whether a connection's certificate names a peer. Without TLS
// everybody on the machine is one.
func (d *dialer) isPeer(state *tls.ConnectionState) bool {
	if d.certs == nil {
		return true
	}
	if state == nil || len(state.PeerCertificates) == 0 {
		return false
	}
	return slices.ContainsFunc(state.PeerCertificates[0].DNSNames, func(name string) bool {
		return slices.ContainsFunc(d.known(), func(p Peer) bool { return strings.EqualFold(p.ID, name) })
	})
}

// A port is a node's one listener. It sorts what comes in by its first byte.
type port struct {
	*dialer
	listener net.Listener
	log      *slog.Logger
	ctx      context.Context
	cancel   context.CancelFunc
	raft     queue       // refused while raftOpen is false
	user     queue       // HTTP
	raftOpen atomic.Bool // set once Raft runs
	claim    atomic.Pointer[claim]
	said     sayings
	wg       sync.WaitGroup

	mu     sync.Mutex
	unsaid []net.Conn // that have not said yet what they are, the oldest first
}

func listen(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, lock.InFields(fmt.Errorf("cannot listen on %s: %w; end what listens there, as this node where it runs already, or give a free address of this machine", address, err), "Bind")
	}
	return listener, nil
}

func openPort(d *dialer, listener net.Listener, log *slog.Logger) *port {
	p := &port{dialer: d, listener: listener, log: log}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.raft = queue{make(chan net.Conn), p.ctx.Done(), listener.Addr()}
	p.user = queue{make(chan net.Conn), p.ctx.Done(), listener.Addr()}
	p.wg.Go(p.accept)
	return p
}

func (p *port) accept() {
	for {
		raw, err := p.listener.Accept()
		if p.ctx.Err() != nil {
			if err == nil {
				_ = raw.Close() // it has not said anything yet
			}
			return
		}
		if err != nil { // such as too many open files: it may get better
			if p.said.due("accept") {
				p.log.Error("cannot accept connections", "error", err)
			}
			rest(p.ctx, 100*time.Millisecond)
			continue
		}
		if p.said.over("accept") {
			p.log.Info("connections are accepted again")
		}
		conn := p.conns.add(raw)
		p.wait(conn)
		p.wg.Go(func() {
			if err := p.sort(conn); err != nil && p.ctx.Err() == nil {
				p.refused(conn, err)
			}
		})
	}
}

// wait has a connection say what it is. Where too many have not, the oldest gives way: so
// they who say nothing keep out nobody.
func (p *port) wait(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unsaid = append(p.unsaid, conn); len(p.unsaid) > maxUnsaid {
		_ = p.unsaid[0].Close() // its own goroutine says so
		p.unsaid = slices.Delete(p.unsaid, 0, 1)
	}
}

func (p *port) waited(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.unsaid, conn); i >= 0 {
		p.unsaid = slices.Delete(p.unsaid, i, i+1)
	}
}

// refused says once what somebody has to mend.
func (p *port) refused(conn net.Conn, err error) {
	level := slog.LevelDebug
	switch {
	case errors.Is(err, errOtherGroup) && p.said.due("other group"):
		level = slog.LevelError
	case errors.Is(err, errTooMany) && p.said.due("too many"), errors.Is(err, errNoMember) && p.said.due("no member"),
		(errors.Is(err, errPlainCall) || errors.Is(err, errTLSCall)) && p.said.due("TLS on one side"):
		level = slog.LevelWarn
	}
	p.log.Log(p.ctx, level, "connection refused", "from", conn.RemoteAddr().String(), "error", err)
}

// sort reads a connection's greeting and hands it to who serves it.
func (p *port) sort(conn net.Conn) (err error) {
	raw := conn
	defer func() {
		if p.waited(raw); err != nil {
			_ = conn.Close() // the first error is the one to tell
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(greeting)); err != nil {
		return err
	}
	var state *tls.ConnectionState
	if p.certs != nil {
		secure := tls.Server(conn, p.tls(""))
		if err := secure.HandshakeContext(p.ctx); err != nil {
			return answerPlain(err)
		}
		s := secure.ConnectionState()
		conn, state = secure, &s
	}
	kind := make([]byte, 1)
	if _, err := conn.Read(kind); err != nil {
		return err
	}
	switch {
	case kind[0] == userStream:
		if !p.conns.serve(raw) {
			return errTooMany
		}
		return p.put(p.user, conn)
	case kind[0] == tlsStream:
		farewell(conn, "no TLS here\n")
		return errTLSCall
	case kind[0] == olderStream:
		return fmt.Errorf("%w: its node runs an earlier version of this program: stop every node, and start them with this one", errOtherGroup)
	case kind[0] != raftStream:
		return fmt.Errorf("unknown kind of connection %q", kind)
	case !p.raftOpen.Load():
		if group, err := hearGroup(conn); err == nil && group != "" {
			p.claim.Store(&claim{group, conn.RemoteAddr().String()})
		}
		return errors.New("raft does not run yet")
	case !p.isPeer(state):
		return unknownMember(state)
	}
	if err := answerGreeting(conn, p.member); err != nil {
		return err
	}
	return p.put(p.raft, &metered{Conn: conn})
}

var errTooMany = fmt.Errorf("there are %d connections with calls already", maxUsers)

// put hands over a connection that has said all that it was waited for.
func (p *port) put(q queue, conn net.Conn) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return q.put(conn)
}

// end ends every connection, and whatever waits for one.
func (p *port) end() {
	p.cancel()
	p.conns.closeAll()
}

// close ends every connection and waits for who handled them.
func (p *port) close() error {
	p.end()
	err := p.listener.Close()
	p.wg.Wait()
	return err
}

// A queue is a net.Listener of connections that a port has sorted.
type queue struct {
	conns chan net.Conn
	done  <-chan struct{}
	addr  net.Addr
}

func (q queue) put(conn net.Conn) error {
	select {
	case q.conns <- conn:
		return nil
	case <-q.done:
		return net.ErrClosed
	}
}

func (q queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q queue) Close() error   { return nil }
func (q queue) Addr() net.Addr { return q.addr }

// conns are the open connections of a node, both ways, so that Close can end
// what waits on them.
type conns struct {
	mu     sync.Mutex
	open   map[*tracked]bool // whether it is one with calls that others make
	users  int               // of those
	closed bool
}

type tracked struct {
	net.Conn
	of *conns
}

func (s *conns) add(conn net.Conn) net.Conn {
	t := &tracked{conn, s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close() // its user finds it closed
		return t
	}
	s.open[t] = false
	return t
}

// serve notes that others make calls on a connection, unless they do on too many.
func (s *conns) serve(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := conn.(*tracked) // which add has returned
	if _, open := s.open[t]; !open {
		return true // its user finds it closed
	}
	if s.users >= maxUsers {
		return false
	}
	s.open[t] = true
	s.users++
	return true
}

func (t *tracked) Close() error {
	t.of.mu.Lock()
	if t.of.open[t] {
		t.of.users--
	}
	delete(t.of.open, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}

func (s *conns) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for t := range s.open {
		_ = t.Conn.Close() // whoever uses it hears of it
	}
	clear(s.open)
}
