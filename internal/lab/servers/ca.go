package servers

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
	"time"
)

// Files are the PEM files of one end of a TLS connection.
type Files struct{ CA, Cert, Key string }

// A CA is a certificate authority for tests.
type CA struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes an authority that keeps its files in dir.
func NewCA(dir string) (*CA, error) {
	ca := &CA{dir: dir}
	var err error
	ca.cert, ca.key, err = ca.sign("ca", &x509.Certificate{
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return ca, err
}

// Issue writes a certificate for both ends of connections on loopback, valid from
// two hours before until: a time that has passed makes an expired one. It names more addresses, too. The files are
// called after name, which is the subject too; an earlier one's are replaced.
func (ca *CA) Issue(name string, until time.Time, more ...net.IP) (Files, error) {
	_, _, err := ca.sign(name, &x509.Certificate{
		NotAfter: until, DNSNames: []string{name, "localhost"}, IPAddresses: append(more, net.IPv4(127, 0, 0, 1)),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return Files{CA: ca.file("ca.pem"), Cert: ca.file(name + ".pem"), Key: ca.file(name + ".key")}, err
}

// Replace puts another authority and its certificates, for these names and an hour, in the place of ca and its own.
func (ca *CA) Replace(names ...string) error {
	another, err := NewCA(ca.dir)
	for _, name := range names {
		if err == nil {
			_, err = another.Issue(name, time.Now().Add(time.Hour))
		}
	}
	return err
}

func (ca *CA) file(name string) string { return filepath.Join(ca.dir, name) }

func (ca *CA) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)); err != nil {
		return nil, nil, err
	}
	c.Subject, c.NotBefore = pkix.Name{CommonName: name}, c.NotAfter.Add(-2*time.Hour)
	parent, signer := ca.cert, ca.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, errors.Join(err,
		os.WriteFile(ca.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(ca.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}
