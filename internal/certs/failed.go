package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
	"slices"
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

// joined is the type of what [errors.Join] returns: an error of fmt.Errorf that wraps several is one error.
var joined = reflect.TypeOf(errors.Join(errors.ErrUnsupported))

// Every reports whether is holds for each of the errors that err joins, or for err where it joins none.
func Every(err error, is func(error) bool) bool {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if all, ok := e.(interface{ Unwrap() []error }); ok && reflect.TypeOf(e) == joined {
			return !slices.ContainsFunc(all.Unwrap(), func(one error) bool { return !Every(one, is) })
		}
	}
	return is(err)
}

type mismatch struct{ err error }

func (m *mismatch) Error() string { return m.err.Error() }
func (m *mismatch) Unwrap() error { return m.err }

// Alert makes TLS over a connection, and returns the alert by which the server refuses it; nil: there is none until
// ctx is done, whose end ends the connection. It writes nothing after the handshake, after which TLS 1.3 looks at our
// certificate: a server that closes what still sends would break the connection before its alert was read.
func Alert(ctx context.Context, conn net.Conn, c *tls.Config) error {
	server := tls.Client(conn, c)
	err := server.HandshakeContext(ctx)
	if err == nil {
		_, err = server.Read(make([]byte, 1))
	}
	var remote *net.OpError
	if errors.As(err, &remote) && remote.Op == "remote error" {
		return err
	}
	return nil
}
