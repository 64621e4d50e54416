// Package clientconf holds the settings that clients of different stores share: TLS files,
// secrets in files, and prefixes of keys.
package clientconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// TLSFiles are the files of a client that speaks TLS. They are read for every
// connection, so that a certificate that was renewed needs no restart.
type TLSFiles struct {
	CA   string // authorities that sign servers; "": those of the system
	Cert string // our certificate; "": none
	Key  string // its key
	Name string // that the server's certificate must have; "": that of the host that is dialled

	Dialled string // the Config's field for the host that is dialled; "": it has none
	Named   string // the Config's field for Name; "": it has none
}

// Used reports whether any file is named.
func (f TLSFiles) Used() bool { return f.CA != "" || f.Cert != "" || f.Key != "" }

// Check says what is wrong with the files: with a Config's CAFile, CertFile or KeyFile.
func (f TLSFiles) Check() error {
	var errs []error
	if (f.Cert == "") != (f.Key == "") {
		errs = append(errs, lock.InFields(errors.New("give both or none"), "CertFile", "KeyFile"))
	} else if f.Cert != "" {
		errs = append(errs, lock.InFields(f.files().Check(), "CertFile"))
	}
	_, err := f.Roots()
	return errors.Join(append(errs, lock.InFields(err, "CAFile"))...)
}

// Config returns the TLS of a client of a host, which is the name or the address
// that the server's certificate must have. failed hears of each server that was
// refused: the error is lock.ErrPermanent, unless this very TLS has worked before. Then a
// certificate is being renewed, or has run out, at one end or the other, and the files are
// read again for the next connection: nobody is to end for that who could go on.
func (f TLSFiles) Config(host string, failed func(error)) *tls.Config {
	if f.Name != "" {
		host = f.Name
	}
	var worked atomic.Bool
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		InsecureSkipVerify: true, // VerifyConnection does it, with the files as they are now
		VerifyConnection: func(s tls.ConnectionState) error {
			err := f.verify(s, host)
			if err == nil {
				worked.Store(true)
				return nil
			}
			if err = f.distrust(err, host); !worked.Load() {
				err = lock.Permanent(err)
			}
			failed(err)
			return err
		},
	}
	if f.Cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return f.Pair()
		}
	}
	return c
}

func (f TLSFiles) verify(s tls.ConnectionState, host string) error {
	roots, err := f.Roots()
	if err != nil {
		return err
	}
	return Verify(s, roots, host)
}

// Verify says what is wrong with the certificate that a server shows. Nil roots are the system's.
func Verify(s tls.ConnectionState, roots *x509.CertPool, host string) error {
	o := x509.VerifyOptions{Roots: roots, DNSName: host, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(o)
	return err
}

// Roots reads the authorities; nil: those of the system.
func (f TLSFiles) Roots() (*x509.CertPool, error) { return f.files().Roots() }

// Pair reads our certificate and its key.
func (f TLSFiles) Pair() (*tls.Certificate, error) { return f.files().Pair() }

// distrust says why the certificate of a server is not accepted, and what cures that. The server is named by host.
func (f TLSFiles) distrust(err error, host string) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown) && f.CA == "":
		return lock.InFields(fmt.Errorf("the server's certificate is signed by none of this machine's authorities; give a file of those that sign it (%w)", err), "CAFile")
	case errors.As(err, &unknown):
		return lock.InFields(fmt.Errorf("the server's certificate is signed by none of the authorities in %s; add the one that signs it (%w)", f.CA, err), "CAFile")
	case errors.As(err, &name):
		return f.misnamed(host, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("tls: the certificate of the server %q is not valid now; have it renewed there, or set this machine's clock (%w)", host, err)
	}
	return fmt.Errorf("tls: the certificate of the server %q: %w", host, err)
}

// misnamed says that a server's certificate is for other names than host, and which setting names another.
func (f TLSFiles) misnamed(host string, err error) error {
	field, cure := f.Named, "write a name that it has"
	if field == "" {
		field, cure = f.Dialled, "write a host that it has, or have this one added to it"
	}
	if field == "" {
		cure = "have this one added to it"
	}
	if err = fmt.Errorf("tls: the server's certificate is not for %q; %s (%w)", host, cure, err); field == "" {
		return err
	}
	return lock.InFields(err, field)
}

// Mind warns when a third, and when a tenth, of the life of our certificate is left, or of
// the authorities'. It returns when ctx ends.
func (f TLSFiles) Mind(ctx context.Context, log *slog.Logger) { f.files().Mind(ctx, log) }

func (f TLSFiles) files() certs.Files { return certs.Files{CA: f.CA, Cert: f.Cert, Key: f.Key} }
