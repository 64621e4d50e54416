package raft

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte of a connection says who it is for.
const (
	forRaft = 'R'
	forCall = 'U'
)

// opening is how long a connection may take to say who it is for.
const opening = 5 * time.Second

// A security is a Config's TLS, or none.
type security struct {
	pool *x509.CertPool
	cert []tls.Certificate
}

func (c Config) security() (*security, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("raft-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("raft-ca-file %s: has no certificate", c.CAFile)
	}
	cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("raft-cert-file, raft-key-file: %w", err)
	}
	if leaf := cert.Leaf; leaf != nil && time.Now().After(leaf.NotAfter) {
		return nil, fmt.Errorf("raft-cert-file %s: expired at %v", c.CertFile, leaf.NotAfter)
	}
	return &security{pool: pool, cert: []tls.Certificate{cert}}, nil
}

// dial opens a connection to a peer and says who it is for. Under TLS the peer
// must have a certificate for its ID.
func (s *security) dial(ctx context.Context, p Peer, kind byte) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.Address)
	if err != nil {
		return nil, err
	}
	if s != nil {
		secure := tls.Client(conn, &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: s.pool, Certificates: s.cert, ServerName: p.ID,
		})
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("peer %s at %s: %w", p.ID, p.Address, err)
		}
		conn = secure
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetWriteDeadline(deadline)
	}
	if _, err := conn.Write([]byte{kind}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetWriteDeadline(time.Time{})
}

// A port is the one that peers and clients dial. It sorts connections by their
// first byte.
type port struct {
	config   Config
	security *security
	listener net.Listener
	raft     *intake
	calls    *intake
	group    sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // accepted and not closed
	closed bool
}

func listen(c Config, s *security) (*port, error) {
	l, err := net.Listen("tcp", c.Bind)
	if err != nil {
		return nil, fmt.Errorf("raft-bind: %w", err)
	}
	address, err := net.ResolveTCPAddr("tcp", c.address(c.ID))
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("raft-peers: %w", err)
	}
	p := &port{config: c, security: s, listener: l, raft: newIntake(address), calls: newIntake(address), conns: map[net.Conn]bool{}}
	p.group.Go(p.accept)
	return p, nil
}

func (p *port) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if p.keep(conn) {
			p.group.Go(func() { p.sort(conn) })
		}
	}
}

// sort hands a connection to whom it is for. A Raft stream needs the certificate
// of a peer.
func (p *port) sort(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(opening))
	peer := true
	accepted := conn
	if p.security != nil {
		secure := tls.Server(conn, &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: p.security.cert,
			ClientCAs: p.security.pool, ClientAuth: tls.RequireAndVerifyClientCert,
		})
		if err := secure.Handshake(); err != nil {
			p.config.Logger.Warn("raft: connection refused", "from", conn.RemoteAddr(), "error", err)
			p.drop(conn)
			return
		}
		peer = p.isPeer(secure.ConnectionState().PeerCertificates[0])
		conn = secure
	}
	var kind [1]byte
	if _, err := conn.Read(kind[:]); err != nil {
		p.drop(accepted)
		return
	}
	_ = conn.SetDeadline(time.Time{})
	known := &sorted{Conn: conn, peer: peer, drop: func() { p.drop(accepted) }}
	switch {
	case kind[0] == forCall:
		p.calls.give(known)
	case kind[0] == forRaft && peer:
		p.raft.give(known)
	default:
		p.config.Logger.Warn("raft: connection refused", "from", conn.RemoteAddr(), "error", "it is for nobody here, or its certificate is no peer's")
		p.drop(accepted)
	}
}

// keep notes a connection, or closes it where the port is closed.
func (p *port) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

func (p *port) drop(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// isPeer reports whether a certificate names a peer.
func (p *port) isPeer(cert *x509.Certificate) bool {
	for _, id := range p.config.names() {
		if cert.VerifyHostname(id) == nil {
			return true
		}
	}
	return false
}

func (p *port) close() {
	p.listener.Close()
	p.raft.Close()
	p.calls.Close()
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		conn.Close()
	}
	p.mu.Unlock()
	p.group.Wait()
}

// sorted is a connection with what its certificate says.
type sorted struct {
	net.Conn
	peer bool
	drop func()
}

func (s *sorted) Close() error {
	err := s.Conn.Close()
	s.drop()
	return err
}

// An intake is a net.Listener fed by the port.
type intake struct {
	address net.Addr
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func newIntake(a net.Addr) *intake {
	return &intake{address: a, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give hands a connection over. While nobody accepts, such as before Raft runs,
// it waits a little and then closes it.
func (i *intake) give(conn net.Conn) {
	select {
	case i.conns <- conn:
	case <-i.closed:
		conn.Close()
	case <-time.After(opening):
		conn.Close()
	}
}

func (i *intake) Accept() (net.Conn, error) {
	select {
	case conn := <-i.conns:
		return conn, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

func (i *intake) Close() error { i.once.Do(func() { close(i.closed) }); return nil }

func (i *intake) Addr() net.Addr { return i.address }

// stream is the port as Raft's transport sees it.
type stream struct {
	*intake
	config   Config
	security *security
}

var _ raft.StreamLayer = (*stream)(nil)

func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for _, p := range s.config.Peers {
		if p.Address == string(address) {
			return s.security.dial(ctx, p, forRaft)
		}
	}
	return nil, fmt.Errorf("%s is no peer's address", address)
}
