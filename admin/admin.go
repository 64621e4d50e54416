// Package admin shows a process of package coordinator to its operators: to probes, load
// balancers, metrics and people. docs/monitoring.md has the endpoints and the metrics.
//
//	m := new(coordinator.Monitor)
//	s, err := admin.Listen(admin.Config{Listen: "127.0.0.1:7070"}, m)
//	...
//	defer s.Close()
//	config.Monitor = m
//	err = coordinator.Run(ctx, locker, config, work)
//
// [Handler] serves the same from a server of your own, and [Collector] gives the metrics to a
// registry.
//
// What it says about the active is a routing hint, never a fence: see package fencing.
//
// It only reads a [coordinator.Monitor], and asks the store for the history. So nothing that guards,
// beats or takes over waits for it, and it answers even while the coordinator hangs.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says where a process is shown, and to whom.
//
// On a loopback address everybody may ask everything. On any other, metrics, status and history
// need a certificate signed by CAFile, or the token in TokenFile; one of the two must be given.
// So do the probes, unless Open is set. If CAFile or TokenFile is given, metrics, status and
// history need it on loopback, too.
type Config struct {
	Listen      string // HOST:PORT of HTTP and gRPC; empty: there is none
	AgentListen string // HOST:PORT of HAProxy's agent protocol, which has no authentication; empty: there is none
	Open        bool   // probes and agent are for everybody, on any address

	CertFile, KeyFile string // the server's certificate, for TLS; read again for every connection
	CAFile            string // authorities that sign the certificates of clients
	TokenFile         string // holds the bearer token; only its owner may read it; read again when it changes

	// Certificates are further ones whose expiry the metrics show, by file. nil: there are none.
	Certificates func() map[string]time.Time

	Logger *slog.Logger // nil: slog.Default()
}

// Validate says everything that is wrong with c. Each error is a lock.FieldError.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, lock.InFields(fmt.Errorf(format, args...), field))
	}
	for _, one := range []struct {
		field, address, open string // why it may not be open; "": it may be
	}{
		{"Listen", c.Listen, c.unprotected()},
		{"AgentListen", c.AgentListen, c.unasked()},
	} {
		switch err := checkAddress(one.address); {
		case one.address == "":
		case err != nil:
			errs = append(errs, lock.InFields(err, one.field))
		case one.open != "" && !onLoopback(one.address):
			bad(one.field, "%s is not on loopback, and %s, or listen on 127.0.0.1", one.address, one.open)
		}
	}
	if c.Listen == "" {
		for field, given := range map[string]bool{"CertFile": c.CertFile != "", "KeyFile": c.KeyFile != "", "CAFile": c.CAFile != "", "TokenFile": c.TokenFile != ""} {
			if given {
				bad(field, "it protects nothing; give the address to listen on, or leave it out")
			}
		}
	}
	files := certs.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}
	switch {
	case (c.CertFile == "") != (c.KeyFile == ""):
		errs = append(errs, lock.InFields(errors.New("give both or none"), "CertFile", "KeyFile"))
	case c.CertFile != "":
		errs = append(errs, lock.InFields(files.Check(), "CertFile"))
	case c.CAFile != "":
		bad("CAFile", "clients show certificates to a server that has one; give its certificate and key, too")
	}
	_, err := files.Roots()
	errs = append(errs, lock.InFields(err, "CAFile"))
	if c.TokenFile != "" {
		token, err := clientconf.Secret(c.TokenFile)
		if err == nil && len(token) < shortest {
			err = fmt.Errorf("the token has %d characters, but must have at least %d; draw one: openssl rand -hex 16", len(token), shortest)
		}
		errs = append(errs, lock.InFields(err, "TokenFile"))
	}
	return errors.Join(errs...)
}

// unprotected is why anybody who reaches the address may read what is shown; "": they may not.
func (c Config) unprotected() string {
	if c.CAFile != "" || c.TokenFile != "" {
		return ""
	}
	return "anybody there could read the metrics and the status; give TokenFile, a file with a token, or CAFile, one with the authorities of the clients' certificates"
}

// unasked is why the agent may not be open to everybody; "": it may.
func (c Config) unasked() string {
	if c.Open {
		return ""
	}
	return "the agent's protocol has no authentication; say by Open that it is open to everybody"
}

// shortest is the least number of characters of a token, because attackers have time to guess.
const shortest = 16

// checkAddress says what is wrong with HOST:PORT.
func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not an address; write HOST:PORT, such as 127.0.0.1:7070", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", address)
	}
	return nil
}

// onLoopback reports whether only this machine can reach an address. Any host name but localhost
// may mean anything.
func onLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// A Server answers until it is closed.
type Server struct {
	http  *http.Server
	stop  context.CancelFunc
	group sync.WaitGroup

	listener, agent net.Listener // nil: there is none
}

// Limits of a connection. A probe is answered at once, so a slow client is only a burden.
const (
	maxHeader = 16 << 10
	maxConns  = 128 // for one host an eighth of that, so that none keeps others out
	reading   = 5 * time.Second
	writing   = 10 * time.Second
	idle      = 30 * time.Second
	pace      = 500 // requests a second in total: more would delay the beats
	burst     = 100 // so many at once
)

// Listen shows what m does from now on. It returns when the addresses are bound; an error says
// what is wrong with c, or that an address cannot be bound, and then nothing is bound.
func Listen(c Config, m *coordinator.Monitor) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{stop: stop}
	var err, err2 error
	s.listener, err = bind("Listen", c.Listen)
	s.agent, err2 = bind("AgentListen", c.AgentListen)
	if err := errors.Join(err, err2); err != nil {
		s.Close()
		return nil, err
	}
	if s.listener != nil {
		s.serve(ctx, c, m)
	}
	if s.agent != nil {
		c.Logger.Info("HAProxy's agent checks are answered", "address", s.agent.Addr())
		s.group.Go(func() { serveAgent(s.agent, m) })
	}
	return s, nil
}

// serve serves HTTP and gRPC.
func (s *Server) serve(ctx context.Context, c Config, m *coordinator.Monitor) {
	g := &guard{config: c, loopback: onLoopback(c.Listen)}
	files := certs.Files{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile}
	own := files.Ends()
	ends := func() map[string]time.Time {
		all := own()
		if c.Certificates != nil {
			maps.Copy(all, c.Certificates())
		}
		return all
	}
	s.http = &http.Server{
		Handler:           paced(Handler(m, Options{Allow: g.allow, Certificates: ends})),
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: reading, ReadTimeout: reading, WriteTimeout: writing, IdleTimeout: idle,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 16},
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug), // what strangers send
	}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetHTTP2(true)
	s.http.Protocols.SetUnencryptedHTTP2(true)
	c.Logger.Info("probes and metrics are served", "address", s.listener.Addr(), "tls", c.CertFile != "")
	if !g.loopback && c.CertFile == "" {
		c.Logger.Warn("the token of metrics and status travels unencrypted: give the server a certificate and a key", "address", s.listener.Addr())
	}
	s.group.Go(func() { files.Mind(ctx, c.Logger) })
	s.group.Go(func() {
		err := g.serve(s.http, s.listener, files)
		if !errors.Is(err, http.ErrServerClosed) {
			c.Logger.Error("probes and metrics are no longer served", "error", err)
		}
	})
}

// paced makes requests wait for each other. Otherwise a client that asks again before it was
// answered would keep its connection's goroutine running, and many of them would hold up the
// coordinator's.
func paced(h http.Handler) http.Handler {
	limit := rate.NewLimiter(pace, burst)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if limit.Wait(r.Context()) == nil {
			h.ServeHTTP(w, r)
		}
	})
}

// serve serves until the server is closed.
func (g *guard) serve(s *http.Server, l net.Listener, files certs.Files) error {
	if files.Cert == "" {
		return s.Serve(l)
	}
	again, err := certs.NewReader(files)
	if err != nil {
		return err
	}
	s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*again.Pair()}, NextProtos: []string{"h2", "http/1.1"}}
		if files.CA != "" {
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, again.Roots()
		}
		return c, nil
	}}
	return s.ServeTLS(l, "", "")
}

// Addr returns the address of HTTP and gRPC; nil: there is none.
func (s *Server) Addr() net.Addr { return addr(s.listener) }

// AgentAddr returns the address of HAProxy's agent protocol; nil: there is none.
func (s *Server) AgentAddr() net.Addr { return addr(s.agent) }

func addr(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// Close ends every connection and frees the addresses. It does not wait for clients.
func (s *Server) Close() {
	s.stop()
	if s.http != nil {
		_ = s.http.Close() // even if it has not begun to serve
	}
	for _, l := range []net.Listener{s.listener, s.agent} {
		if l != nil {
			_ = l.Close() // it may be closed already
		}
	}
	s.group.Wait()
}

// A guard says who may ask.
type guard struct {
	config   Config
	loopback bool

	mu    sync.Mutex
	token string // as it was read last
}

// allow reports whether a request may be answered.
func (g *guard) allow(r *http.Request, probe bool) bool {
	c := &g.config
	switch {
	case probe && (g.loopback || c.Open):
		return true
	case c.CAFile == "" && c.TokenFile == "": // then it listens on loopback
		return true
	case c.CAFile != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0:
		return true
	case c.TokenFile == "":
		return false
	}
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	is, want := strings.EqualFold(scheme, "Bearer"), g.secret() // the name of a scheme has no case
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return is && want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// secret is the current token; if it cannot be read, as in the middle of a change, the last one
// that was read.
func (g *guard) secret() string {
	now, err := clientconf.Secret(g.config.TokenFile)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && len(now) >= shortest {
		g.token = now
	}
	return g.token
}

// A bounded listener closes the connections above its limit, those of one host first.
type bounded struct {
	net.Listener
	mu    sync.Mutex
	all   int
	hosts map[string]int
}

// Accept returns the next connection within the limit.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		if b.change(host, 1) {
			return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { b.change(host, -1) })}, nil
		}
		_ = conn.Close() // nobody needs to know
	}
}

// change counts a connection in or out, and reports whether there is room for it.
func (b *bounded) change(host string, by int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if by > 0 && (b.all >= maxConns || b.hosts[host] >= maxConns/8 && !net.ParseIP(host).IsLoopback()) {
		return false
	}
	b.all += by
	if b.hosts[host] += by; b.hosts[host] == 0 {
		delete(b.hosts, host)
	}
	return true
}

type boundedConn struct {
	net.Conn
	leave func()
}

func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite ends the sending side. It is for a plain connection.
func (c *boundedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return io.ErrClosedPipe
}
