// Package certs reads certificates from files, again for every connection, so that renewed ones
// need no restart. It checks our own at the start, and says when they expire. It makes some for a
// trial, and renews them.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/internal/smallfile"
)

// Files are the files of one side of TLS. Any may be "".
type Files struct {
	CA   string // authorities that sign the other side
	Cert string // our certificate
	Key  string // its key
}

// Pair reads our certificate and its key.
func (f Files) Pair() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	return &pair, nil
}

// Roots reads the authorities; nil, which means the system's, if no file is named.
func (f Files) Roots() (*x509.CertPool, error) {
	if f.CA == "" {
		return nil, nil
	}
	all, err := authorities(f.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range all {
		pool.AddCert(c)
	}
	return pool, nil
}

func authorities(file string) (all []*x509.Certificate, err error) {
	text, err := smallfile.Read(file)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil { // as x509.CertPool does
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("CA file %s holds no PEM certificate", file)
	}
	return all, nil
}

// Check says what is wrong with our certificate: its key, and its dates.
func (f Files) Check() error {
	pair, err := f.Pair()
	if err != nil {
		return err
	}
	now, c := time.Now(), pair.Leaf
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf("certificate %s is not valid before %s, and it is %s here: wait, or set the clock", f.Cert, stamp(c.NotBefore), stamp(now))
	case now.After(c.NotAfter):
		return fmt.Errorf("certificate %s expired at %s: renew it", f.Cert, stamp(c.NotAfter))
	}
	return nil
}

// CheckPeer is Check for a certificate that both sides of a connection show, for a name, and that
// an authority in CA has signed.
func (f Files) CheckPeer(name string) error {
	if err := f.Check(); err != nil {
		return err
	}
	pair, err := f.Pair()
	if err != nil {
		return err
	}
	roots, err := f.Roots()
	if err != nil {
		return err
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, der := range pair.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil { // without it the chain fails by name
			o.Intermediates.AddCert(c)
		}
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		o.KeyUsages = []x509.ExtKeyUsage{use}
		if _, err := pair.Leaf.Verify(o); err != nil {
			return fmt.Errorf("certificate %s against CA file %s, as one of a client and of a server: %w", f.Cert, f.CA, err)
		}
	}
	if name != "" && pair.Leaf.VerifyHostname(name) != nil {
		return fmt.Errorf("certificate %s names %s, and this node is %q: give it one with its ID as a DNS name", f.Cert, Names(pair.Leaf), name)
	}
	return nil
}

// Names are those that a certificate bears, for an error about them: a node's DNS names, and an
// operator's URIs.
func Names(c *x509.Certificate) string {
	var all []string
	for _, name := range c.DNSNames {
		all = append(all, strconv.Quote(name))
	}
	for _, u := range c.URIs {
		all = append(all, strconv.Quote(u.String()))
	}
	if len(all) == 0 {
		return "nobody, as it has neither a DNS name nor a URI"
	}
	return strings.Join(all, ", ")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// A Reader reads files again and again. If one cannot be read, as in the middle of a renewal, its
// last content counts.
type Reader struct {
	files Files
	mu    sync.Mutex
	pair  *tls.Certificate
	roots *x509.CertPool
}

// NewReader returns a reader of files that can be read now.
func NewReader(f Files) (*Reader, error) {
	r := &Reader{files: f}
	_, err := f.Pair()
	_, err2 := f.Roots()
	r.Pair()
	r.Roots()
	return r, errors.Join(err, err2)
}

// Pair returns our certificate as it is now.
func (r *Reader) Pair() *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if pair, err := r.files.Pair(); err == nil {
		r.pair = pair
	}
	return r.pair
}

// Roots returns the authorities as they are now.
func (r *Reader) Roots() *x509.CertPool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if roots, err := r.files.Roots(); err == nil {
		r.roots = roots
	}
	return r.roots
}

// often is how often the files are looked at; a variable for tests.
var often = time.Minute

// Mind warns when a third, and when a tenth, of a certificate's life is left, ours or the
// last of the authorities', says so each time it looks once one has expired, and when a
// file cannot be read. It warns once of a key that everybody may read, and of a certificate of ours in which a check finds a
// fault. It returns when ctx ends.
func (f Files) Mind(ctx context.Context, log *slog.Logger, checks ...func(Files) error) {
	if f.CA == "" && f.Cert == "" || log == nil {
		return
	}
	said := map[string]string{}
	for {
		f.look(log, said, checks...)
		select {
		case <-time.After(often):
		case <-ctx.Done():
			return
		}
	}
}

// look warns of what it has not said yet.
func (f Files) look(log *slog.Logger, said map[string]string, checks ...func(Files) error) {
	judge := func(file string, c *x509.Certificate, err error) {
		level, text := slog.LevelWarn, ""
		if err != nil {
			text = "cannot be read, its last content counts: " + err.Error()
		} else {
			level, text = age(c, time.Now())
		}
		if text == "" && file == f.Cert {
			for _, check := range checks {
				if err := check(f); err != nil {
					level, text = slog.LevelWarn, "does not fit, so new connections fail: "+err.Error()
				}
			}
		}
		if text != "" && (text != said[file] || level == slog.LevelError) {
			log.Log(context.Background(), level, "certificate: "+file+" "+text)
		}
		said[file] = text
	}
	f.each(judge)
	key := "the key " + f.Key
	text := exposed(f.Key)
	if text != "" && text != said[key] {
		log.Warn("certificate: " + key + " " + text)
	}
	said[key] = text
}

// exposed says that everybody on this machine may read or replace a key; else "". A key that is
// no secret any more lets others be who we are, but it may have been mounted so, and is used all
// the same.
func exposed(key string) string {
	info, err := os.Stat(key)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o006 == 0 {
		return ""
	}
	return fmt.Sprintf("may be read by everybody on this machine (mode %04o), who can then pass for this process: "+
		"chmod 600 %s, or where Kubernetes mounts it a defaultMode of 0440 and an fsGroup", info.Mode().Perm(), key)
}

// each shows our certificate, and the last one of the authorities', or why it cannot be read.
func (f Files) each(show func(file string, c *x509.Certificate, err error)) {
	if f.Cert != "" {
		pair, err := f.Pair()
		var leaf *x509.Certificate
		if err == nil {
			leaf = pair.Leaf
		}
		show(f.Cert, leaf, err)
	}
	if f.CA != "" {
		all, err := authorities(f.CA)
		var last *x509.Certificate
		for _, c := range all {
			if last == nil || c.NotAfter.After(last.NotAfter) {
				last = c
			}
		}
		show(f.CA, last, err)
	}
}

// Ends returns a function that says when our certificate ends, and the last one of the authorities', by file. For one that
// cannot be read its last content counts, and it is left out if there was none.
func (f Files) Ends() func() map[string]time.Time {
	var mu sync.Mutex
	all := map[string]time.Time{}
	return func() map[string]time.Time {
		mu.Lock()
		defer mu.Unlock()
		f.each(func(file string, c *x509.Certificate, err error) {
			if err == nil {
				all[file] = c.NotAfter
			}
		})
		return maps.Clone(all)
	}
}

// age says how much of a certificate's life is left, where that is little.
func age(c *x509.Certificate, now time.Time) (slog.Level, string) {
	left, life := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	const cure = ": renew it; it is read again for every connection"
	switch {
	case left <= 0:
		return slog.LevelError, "expired at " + stamp(c.NotAfter) + ", new connections fail" + cure
	case left <= life/10:
		return slog.LevelWarn, "expires at " + stamp(c.NotAfter) + ", less than a tenth of its life is left" + cure
	case left <= life/3:
		return slog.LevelWarn, "expires at " + stamp(c.NotAfter) + ", less than a third of its life is left" + cure
	}
	return slog.LevelInfo, ""
}
