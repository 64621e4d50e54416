package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// breaksOff reports whether a server broke off a connection as one does that speaks TLS where we
// do not, or the other way round. It does so without a word, so it may as well have just ended.
func breaksOff(err error) bool {
	text := err.Error()
	return strings.Contains(text, "handshake failed: EOF") || strings.Contains(text, "reading server preface: EOF")
}

// mismatch asks a member that broke off, and that has never answered, in the other way. If it
// answers, that is why no try can succeed.
func (m *members) mismatch(ctx context.Context, at *member, address string) error {
	if m.worked.Load() || !at.broke.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, mostOpen*again)
	defer cancel()
	conn, err := m.dialer()(ctx, "tcp", address)
	if err != nil {
		return nil // it is away now, and the next connection says so
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if m.config.secure() {
		first := make([]byte, 5)
		_, _ = io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n") // what fails is read below
		if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/" {
			return nil
		}
		return lock.Permanent(certs.Mismatch(lock.InFields(fmt.Errorf("etcd does not speak TLS at %s; write http:// and give no files for TLS, or its port for TLS", at.endpoint), "Endpoints")))
	}
	var alert tls.AlertError
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // nothing is said or heard over it
	if err != nil && !errors.As(err, &alert) {
		return nil
	}
	return lock.Permanent(certs.Mismatch(lock.InFields(fmt.Errorf("etcd speaks TLS at %s; write https://, and name its authorities", at.endpoint), "Endpoints", "CAFile")))
}

// dialer makes the connections.
func (m *members) dialer() dialer {
	if m.config.Dial != nil {
		return m.config.Dial
	}
	return new(net.Dialer).DialContext
}
