package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/understudy-ha/understudy/internal/smallfile"
)

// A Wanted certificate is one that Make signs, in the files Name.pem and Name.key.
type Wanted struct {
	Name     string
	Operator bool // it names an operator, by a URI; else a node, by a DNS name
}

// A Made certificate is one that Make has signed.
type Made struct {
	Name, Cert, Key string // Cert and Key are files
	Until           time.Time
	Renewed         bool // there was one before, whose key it keeps
}

const (
	authority = "ca" // the name of the authority's files
	lifeOfCA  = 10 * 365 * 24 * time.Hour
	backdated = time.Hour // clocks differ
)

// OperatorURI is what the certificate of an operator bears.
func OperatorURI(name string) *url.URL {
	return &url.URL{Scheme: "understudy", Host: "operator", Path: "/" + name}
}

// Make signs certificates for life in a directory, with the authority there, and makes that where
// there is none. Where there is a certificate already, it is renewed: the key stays, and the
// file is replaced in one step. An authority that would end before what it signs is renewed
// likewise, so that what it has signed stays good. Nothing is written where anything is wrong.
// The authority comes first in what it returns.
func Make(dir string, wanted []Wanted, life time.Duration) (all []Made, err error) {
	now := time.Now()
	if err := Check(wanted); err != nil {
		return nil, err
	}
	ca, err := load(dir, authority)
	if err != nil {
		return nil, err
	}
	pairs := make([]*pair, len(wanted))
	for i, w := range wanted {
		if pairs[i], err = load(dir, w.Name); err != nil {
			return nil, err
		}
		switch old := pairs[i].cert; {
		case old != nil && ca.cert == nil:
			return nil, fmt.Errorf("%s holds %s.pem and no %s.pem, which has signed it: put that back, or give an empty directory", dir, w.Name, authority)
		case old != nil && old.CheckSignatureFrom(ca.cert) != nil:
			return nil, fmt.Errorf("%s was not signed by %s: give the directory of its authority, or an empty one", pairs[i].file(".pem"), ca.file(".pem"))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if until := now.Add(life); ca.cert == nil || ca.cert.NotAfter.Before(until) {
		m, err := ca.sign(ca, &x509.Certificate{
			Subject: pkix.Name{CommonName: "understudy"}, IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotAfter: now.Add(max(lifeOfCA, life)),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	} else {
		all = append(all, Made{authority, ca.file(".pem"), ca.file(".key"), ca.cert.NotAfter, false})
	}
	for i, w := range wanted {
		c := &x509.Certificate{
			Subject: pkix.Name{CommonName: w.Name}, NotAfter: now.Add(life), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		}
		if w.Operator {
			c.URIs = []*url.URL{OperatorURI(w.Name)}
		} else {
			c.DNSNames = []string{w.Name}
		}
		m, err := pairs[i].sign(ca, c)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

var name = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)

// Check says what is wrong with names: they are those of files, and a node's is a DNS name.
func Check(wanted []Wanted) error {
	var errs []error
	seen := map[string]bool{authority: true}
	for _, w := range wanted {
		switch {
		case w.Name == authority:
			errs = append(errs, fmt.Errorf("name %q: is that of the authority's own files; use another", w.Name))
		case !name.MatchString(w.Name):
			errs = append(errs, fmt.Errorf("name %q: write letters, digits, '-', '_' and '.' only, and no '.' first", w.Name))
		case seen[w.Name]:
			errs = append(errs, fmt.Errorf("name %q: stands there twice; give each node and each operator another", w.Name))
		}
		seen[w.Name] = true
	}
	return errors.Join(errs...)
}

// A pair is a certificate with its key, and where they are.
type pair struct {
	dir, name string
	cert      *x509.Certificate // nil: there is none yet
	key       *ecdsa.PrivateKey // nil: there is none yet
}

func (p *pair) file(end string) string { return filepath.Join(p.dir, p.name+end) }

// load reads a pair; an empty one where neither file is there.
func load(dir, name string) (*pair, error) {
	p := &pair{dir: dir, name: name}
	for _, file := range []string{p.file(".pem"), p.file(".key")} {
		text, err := smallfile.Read(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := p.read(file, text); err != nil {
			return nil, err
		}
	}
	switch {
	case (p.cert == nil) != (p.key == nil):
		return nil, fmt.Errorf("of %s and %s there is only one: put the other back, or give an empty directory", p.file(".pem"), p.file(".key"))
	case p.cert != nil && !p.key.PublicKey.Equal(p.cert.PublicKey):
		return nil, fmt.Errorf("%s does not belong to %s: put back the one that does", p.file(".key"), p.file(".pem"))
	}
	return p, nil
}

// read reads one file of a pair.
func (p *pair) read(file string, text []byte) error {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return fmt.Errorf("%s holds nothing in PEM: remove it, or give another directory", file)
	case filepath.Ext(file) == ".pem":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		p.cert = c
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ours, ok := key.(*ecdsa.PrivateKey)
	if err == nil && !ok {
		err = errors.New("it is not an ECDSA key, such as this makes")
	}
	if err != nil {
		return fmt.Errorf("%s: %w; give another directory", file, err)
	}
	p.key = ours
	return nil
}

// sign has ca sign what c says for this pair, and writes it. The key comes first.
func (p *pair) sign(ca *pair, c *x509.Certificate) (Made, error) {
	m := Made{p.name, p.file(".pem"), p.file(".key"), c.NotAfter, p.cert != nil}
	if p.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return m, err
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err == nil {
			err = replace(m.Key, "PRIVATE KEY", secret, 0o600)
		}
		if err != nil {
			return m, err
		}
		p.key = key
	}
	c.NotBefore = time.Now().Add(-backdated)
	signer := ca.cert
	if p == ca {
		signer = c // it signs itself
	}
	der, err := x509.CreateCertificate(rand.Reader, c, signer, &p.key.PublicKey, ca.key)
	if err != nil {
		return m, fmt.Errorf("sign %s: %w", m.Cert, err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		return m, err
	}
	return m, replace(m.Cert, "CERTIFICATE", der, 0o644)
}

// replace writes a file in one step.
func replace(file, kind string, der []byte, mode fs.FileMode) error {
	next := file + ".tmp"
	if err := os.WriteFile(next, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		_ = os.Remove(next) // what there is of it
		return err
	}
	if err := os.Rename(next, file); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}
