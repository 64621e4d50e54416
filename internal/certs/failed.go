package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// Failed reports whether an error says that TLS with a server does not come about: one side does not accept the
// other's certificate, or only one of them speaks TLS. Waiting cures neither.
func Failed(err error) bool {
	if err == nil {
		return false
	}
	var mismatch *mismatch
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var remote *net.OpError
	return errors.As(err, &mismatch) || errors.As(err, &record) || errors.As(err, &verification) || errors.As(err, &authority) ||
		errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &remote) && remote.Op == "remote error" ||
		strings.Contains(err.Error(), "remote error: tls: ") // gRPC keeps only the text
}

// Mismatch returns err, which says that only one side speaks TLS, as one that Failed knows. Mismatch(nil) is nil.
func Mismatch(err error) error {
	if err == nil {
		return nil
	}
	return &mismatch{err}
}

type mismatch struct{ err error }

func (m *mismatch) Error() string { return m.err.Error() }
func (m *mismatch) Unwrap() error { return m.err }
