package raft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// An authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir(), next: 1}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(a.t, err)
	a.next++
	c.SerialNumber, c.Subject = big.NewInt(a.next), pkix.Name{CommonName: name}
	if c.NotBefore = time.Now().Add(-time.Hour); c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	must(a.t, err)
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	must(a.t, a.write(name, cert, key))
	return cert, key
}

func (a *authority) write(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) error {
	secret, err := x509.MarshalECPrivateKey(key)
	return errors.Join(err,
		os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600),
		os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// give signs a certificate for name and sets the three files of c.
func (a *authority) give(c *Config, name string) { a.giveUntil(c, name, time.Time{}) }

func (a *authority) giveUntil(c *Config, name string, until time.Time) {
	a.sign(name, &x509.Certificate{NotAfter: until, DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	c.CAFile, c.CertFile, c.KeyFile = a.file("ca.pem"), a.file(name+".pem"), a.file(name+".key")
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ours.give(c, c.ID) }).start()
	s := register(t, g.lockers[0], "a")
	other := register(t, g.lockers[1], "b")
	token := acquire(t, s)

	t.Run("a name that is not a peer's may watch and ask", func(t *testing.T) {
		c := Config{Peers: g.configs[0].Peers}
		ours.give(&c, "operator")
		l, err := Dial(c)
		must(t, err)
		defer func() { must(t, l.Close()) }()
		standing(t, l, holds(token))
		must(t, l.Ask(timeout(t, 5*time.Second), "r", lock.Request{Token: token, To: other.ID()}))
		values := l.(lock.Values)
		_, readErr := values.Read(timeout(t, 5*time.Second))
		_, writeErr := values.Write(timeout(t, 5*time.Second), "r", token, map[string][]byte{"k": {}}, nil)
		op := l.(lock.Operator)
		must(t, op.Pause(timeout(t, 5*time.Second), "r", lock.Pause{By: "operator"}))
		must(t, op.Pause(timeout(t, 5*time.Second), "r", lock.Pause{}))
		must(t, op.Configure(timeout(t, 5*time.Second), "a", lock.Settings{By: "operator", Drained: true}))
		set, err := op.Configured(timeout(t, 5*time.Second))
		history, historyErr := op.History(timeout(t, 5*time.Second), "r")
		if must(t, errors.Join(err, historyErr)); !set["a"].Drained || len(history) != 0 {
			t.Errorf("%+v, %+v", set, history)
		}
		recordErr := op.Record(timeout(t, 5*time.Second), "r", lock.Event{At: time.Now(), By: "operator", Kind: lock.Began})
		for _, err := range []error{recordErr, l.Evict(timeout(t, 5*time.Second), s.ID(), 1, lock.End{By: "operator"}), readErr, writeErr} {
			if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "operator") {
				t.Fatalf("want ErrPermanent that names the certificate, got %v", err)
			}
		}
	})
	t.Run("a name that is not a peer's gets no raft stream", func(t *testing.T) {
		c := Config{Peers: g.configs[0].Peers}
		ours.give(&c, "operator")
		d, err := newDialer(c, "")
		must(t, err)
		conn, err := d.dial(timeout(t, 5*time.Second), c.Peers[0].Address, raftStream)
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		_, err = conn.Read(make([]byte, 1))
		var slow net.Error
		if err == nil || errors.As(err, &slow) && slow.Timeout() {
			t.Fatalf("the stream was not closed: %v", err)
		}
		_ = conn.Close() // it is closed already
	})
	t.Run("a wrong CA gets nothing", func(t *testing.T) {
		c := Config{Peers: g.configs[0].Peers}
		theirs.give(&c, "a")
		l, err := Dial(c)
		must(t, err)
		for _, err = range l.Watch(timeout(t, 2*time.Second), "r") {
			distrusts(t, err, c.CAFile)
		}
		distrusts(t, l.Ask(timeout(t, 2*time.Second), "r", lock.Request{Token: token}), c.CAFile)
		must(t, l.Close())
		c.CAFile = ours.file("ca.pem")
		if _, err := Dial(c); err == nil || !strings.Contains(err.Error(), "unknown authority") {
			t.Errorf("want an error about the authority, got %v", err)
		}
	})
}

// distrusts expects an error about the file of authorities.
func distrusts(t *testing.T, err error, file string) {
	t.Helper()
	var field *lock.FieldError
	if !errors.As(err, &field) || field.Fields[0] != "CAFile" || !strings.Contains(err.Error(), "signed by none of the authorities in "+file) {
		t.Errorf("want an error about the authorities, got %v", err)
	}
}

// TestTLSOnOneSide: whoever calls without TLS a node that has it, or with TLS a node that has none,
// is told so, and the node says it, once.
func TestTLSOnOneSide(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, secure := range []bool{true, false} {
		var said lab.Said
		g := newGroup(t, 1, func(c *Config) {
			if secure {
				a.give(c, c.ID)
			}
			c.Logger = slog.New(slog.NewTextHandler(&said, nil))
		}).start()
		client, want := g.configs[0], "the node speaks TLS, and this call does not"
		client.ID = ""
		if client.CAFile, client.CertFile, client.KeyFile = "", "", ""; !secure {
			a.give(&client, "a")
			want = "the node does not speak TLS, and this call does"
		}
		l, err := Dial(client)
		must(t, err)
		defer l.Close()
		for range 3 {
			err = l.Raise(timeout(t, time.Second), 7)
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "CAFile, CertFile and KeyFile: ") {
				t.Errorf("the node has TLS: %v; the caller is told %v", secure, err)
			}
		}
		eventually(t, "the node's warning", func() bool { return said.Has("level=WARN") })
		if n := strings.Count(said.String(), "level=WARN"); n != 1 || !strings.Contains(said.String(), "TLS") {
			t.Errorf("the node has TLS: %v; it says\n%s", secure, said.String())
		}
	}
}

// TestCertificateIsCheckedAtTheStart: its name, its authority, its dates and its key.
func TestCertificateIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	for name, bad := range map[string]struct {
		do   func(c *Config)
		says string
	}{
		"another node's name": {func(c *Config) { ours.give(c, "b") }, `names "b", and this node is "a"`},
		"expired":             {func(c *Config) { ours.giveUntil(c, "a", time.Now().Add(-time.Minute)) }, "expired at"},
		"another authority":   {func(c *Config) { theirs.give(c, "a"); c.CAFile = ours.file("ca.pem") }, "unknown authority"},
		"another key":         {func(c *Config) { ours.give(c, "b"); key := c.KeyFile; ours.give(c, "a"); c.KeyFile = key }, "does not match"},
		"no authority":        {func(c *Config) { ours.give(c, "a"); c.CAFile = c.KeyFile }, "holds no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 1, nil)
			bad.do(&g.configs[0])
			_, err := open(timeout(t, 5*time.Second), g.configs[0])
			if err == nil || !strings.Contains(err.Error(), bad.says) {
				t.Fatalf("want an error with %q, got %v", bad.says, err)
			}
			if _, err := os.Stat(g.configs[0].Dir); err == nil {
				t.Error("there is a data directory")
			}
		})
	}
}

// TestRenewedCertificateNeedsNoRestart: certificates are read for every connection, those
// of a client too. The old ones expire, and an authority is replaced by another.
func TestRenewedCertificateNeedsNoRestart(t *testing.T) {
	ca := newAuthority(t)
	soon := time.Now().Add(12 * time.Second)
	var said lab.Said
	g := newGroup(t, 3, func(c *Config) {
		ca.giveUntil(c, c.ID, soon)
		c.Logger = slog.New(slog.NewTextHandler(&said, nil))
	}).start()
	client := Config{Peers: g.configs[0].Peers}
	ca.giveUntil(&client, "operator", soon)
	l, err := Dial(client)
	must(t, err)
	defer func() { must(t, l.Close()) }()
	first := acquire(t, register(t, g.lockers[0], "s"))
	standing(t, l, holds(first))
	eventually(t, "a warning", func() bool { return strings.Contains(said.String(), "less than a tenth of its life is left") })

	next := newAuthority(t) // signs in the same files, and does not know the old one
	next.dir = ca.dir
	must(t, next.write("ca", next.cert, next.key))
	for _, id := range []string{"a", "b", "c", "operator"} {
		next.give(&Config{}, id)
	}
	time.Sleep(time.Until(soon) + 100*time.Millisecond) // the old ones are over
	for i := range g.nodes {
		g.nodes[i].port.conns.drop()
	}
	l.(outsider).client.dialer.conns.drop()
	second := first
	eventually(t, "a raised floor", func() bool {
		err := g.lockers[1].Raise(timeout(t, 2*time.Second), first+1000)
		if err == nil {
			second, err = register(t, g.lockers[2], "later").TryAcquire(timeout(t, 2*time.Second), "other")
		}
		return err == nil
	})
	if second <= first+1000 {
		t.Errorf("token %d after %d", second, first)
	}
	must(t, l.Raise(timeout(t, 5*time.Second), second))
}

// TestNobodyLeadsIsToldWithTheReason: all certificates have expired, and the nodes reach each other no more. Who
// reads that no leader is known reads why.
func TestNobodyLeadsIsToldWithTheReason(t *testing.T) {
	t.Parallel()
	ca, soon := newAuthority(t), time.Now().Add(4*time.Second)
	var said lab.Said
	g := newGroup(t, 3, func(c *Config) {
		ca.giveUntil(c, c.ID, soon)
		c.Logger = slog.New(slog.NewTextHandler(&said, nil))
	}).start()
	time.Sleep(time.Until(soon) + 100*time.Millisecond) // they are over
	for _, n := range g.nodes {
		n.port.conns.drop()
	}
	eventually(t, "the warning that no leader is known", func() bool { return strings.Contains(said.String(), alone) })
	for line := range strings.Lines(said.String()) {
		if strings.Contains(line, alone) && !strings.Contains(line, "expired") {
			t.Errorf("it does not say why: %s", line)
		}
	}
}

func TestSilentConnectionIsClosed(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 1, nil).start()
	conn, err := net.Dial("tcp", g.configs[0].Peers[0].Address)
	must(t, err)
	defer func() { must(t, conn.Close()) }()
	must(t, conn.SetDeadline(time.Now().Add(2*greeting)))
	_, err = conn.Read(make([]byte, 1))
	var slow net.Error
	if err == nil || errors.As(err, &slow) && slow.Timeout() {
		t.Fatalf("the connection was not closed: %v", err)
	}
}

// drop closes every connection, as a network that was down for long.
func (s *conns) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.open {
		_ = t.Conn.Close() // whoever uses it hears of it
	}
}
