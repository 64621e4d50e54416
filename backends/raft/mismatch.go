package raft

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// tlsStream is what a connection begins with whose caller speaks TLS.
const tlsStream = 0x16

// onlyTLS is what a node with TLS answers to a call without. The words are known to callers of other versions.
const onlyTLS = "it speaks TLS, and this call does not: give the caller raft.caFile, raft.certFile and raft.keyFile"

// What a caller is told where one side speaks TLS and the other does not.
var (
	errOnlyTLS  = oneSide("the node speaks TLS, and this call does not: give the files here, too")
	errLacksTLS = oneSide("the node does not speak TLS, and this call does: give the node such files, too, or none here")
)

func oneSide(text string) error {
	return certs.Mismatch(lock.InFields(errors.New(text), "CAFile", "CertFile", "KeyFile"))
}

var (
	errPlainCall = errors.New("a call without TLS, which this node speaks: give the caller the files for TLS, too")
	errTLSCall   = errors.New("a call with TLS, which this node does not speak: give this node the files for TLS, or the caller none")
)

// answerPlain answers a call without TLS in its own way, as it could not read another answer.
// failed is what the handshake with it failed with.
func answerPlain(failed error) error {
	var first tls.RecordHeaderError
	if !errors.As(failed, &first) || first.Conn == nil || first.RecordHeader[0] != userStream {
		return failed
	}
	farewell(first.Conn, fmt.Sprintf("HTTP/1.1 %d Misdirected Request\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", statusNo, len(onlyTLS), onlyTLS))
	return errPlainCall
}

// unread is how much of a call is taken in that is answered without being read.
const unread = maxHeader

// farewell says something before a connection is closed, and takes in what the other side has
// sent: else that might close it before it was read.
func farewell(conn net.Conn, text string) {
	if conn.SetDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	if _, err := io.WriteString(conn, text); err == nil {
		_, _ = io.CopyN(io.Discard, conn, unread) // it hangs up when it has read that
	}
}

var errNoMember = errors.New("a Raft stream needs a certificate with a peer's ID")

// unknownMember names who wants a Raft stream. It may have become a member while this node was away.
func unknownMember(state *tls.ConnectionState) error {
	if state == nil || len(state.PeerCertificates) == 0 {
		return errNoMember
	}
	return fmt.Errorf("%w; this one names %q: if that is a member by now, have raft.peers name a member that lives", errNoMember, state.PeerCertificates[0].DNSNames)
}

// distrust says what a handshake that failed means.
func (d *dialer) distrust(err error) error {
	var first tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &first):
		return errLacksTLS
	case errors.As(err, &unknown):
		return lock.InFields(fmt.Errorf("the node's certificate is signed by none of the authorities in %s; add the one that signs it, to the files of all (%w)", d.ca, err), "CAFile")
	}
	return err
}
