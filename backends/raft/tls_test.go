package raft

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
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
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	must(a.t, err)
	cert, err := x509.ParseCertificate(der)
	must(a.t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	must(a.t, err)
	must(a.t, os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(a.t, os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// give signs a certificate for name and sets the three files of c.
func (a *authority) give(c *Config, name string) {
	a.sign(name, &x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	c.CAFile, c.CertFile, c.KeyFile = a.file("ca.pem"), a.file(name+".pem"), a.file(name+".key")
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ours.give(c, c.ID) }).start()
	s := register(t, g.lockers[0], "a")
	other := register(t, g.lockers[1], "b")
	token := acquire(t, s)

	t.Run("a name that is no peer's may watch and ask", func(t *testing.T) {
		c := Config{Peers: g.configs[0].Peers}
		ours.give(&c, "operator")
		l, err := Dial(c)
		must(t, err)
		defer func() { must(t, l.Close()) }()
		standing(t, l, holds(token))
		must(t, l.Ask(timeout(t, 5*time.Second), "r", lock.Request{Token: token, To: other.ID()}))
		values := l.(ledger.Values)
		_, readErr := values.Read(timeout(t, 5*time.Second))
		_, writeErr := values.Write(timeout(t, 5*time.Second), "r", token, map[string][]byte{"k": {}})
		for _, err := range []error{l.Evict(timeout(t, 5*time.Second), s.ID(), 1, lock.End{By: "operator"}), readErr, writeErr} {
			if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "operator") {
				t.Fatalf("want ErrPermanent that names the certificate, got %v", err)
			}
		}
	})
	t.Run("a name that is no peer's gets no raft stream", func(t *testing.T) {
		c := Config{Peers: g.configs[0].Peers}
		ours.give(&c, "operator")
		d, err := newDialer(c)
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
		for _, ca := range []string{theirs.file("ca.pem"), ours.file("ca.pem")} {
			c.CAFile = ca
			l, err := Dial(c)
			must(t, err)
			for _, err = range l.Watch(timeout(t, 300*time.Millisecond), "r") {
				if err == nil || !strings.Contains(err.Error(), "tls") {
					t.Errorf("with %s: want an error about tls, got %v", ca, err)
				}
			}
			if err := l.Ask(timeout(t, 300*time.Millisecond), "r", lock.Request{Token: token}); err == nil || !strings.Contains(err.Error(), "tls") {
				t.Errorf("want an error about tls, got %v", err)
			}
			must(t, l.Close())
		}
	})
}

func TestSilentConnectionIsClosed(t *testing.T) {
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
