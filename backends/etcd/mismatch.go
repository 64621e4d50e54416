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

// mismatch says why a connection to a member broke before it was ready, if TLS is why. A server breaks it off without
// a word if it speaks TLS and we do not, or the other way round, and may break it off before we have read that it
// wants a certificate: it is asked again, in the other way, and in ours. nil: it is not TLS.
func (m *members) mismatch(ctx context.Context, at *member) error {
	err := m.otherWay(ctx, at)
	switch {
	case err == nil:
		return nil
	case m.worked.Load(): // it may be on its way to be set up anew
		return lock.Refusal(err)
	case certs.Failed(err) && !isAlert(err):
		return lock.Permanent(err)
	}
	return err // explain says what an alert means
}

func isAlert(err error) bool { return strings.Contains(err.Error(), "remote error: tls: ") }

func (m *members) otherWay(ctx context.Context, at *member) error {
	if m.config.secure() {
		plain := m.asks(ctx, at, func(_ context.Context, conn net.Conn) error {
			first := make([]byte, 5)
			_, _ = io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n") // what fails is read below
			if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/" {
				return nil
			}
			return certs.Mismatch(lock.InFields(fmt.Errorf("etcd does not speak TLS at %s; write http:// and give no files for TLS, or its port for TLS", at.endpoint), "Endpoints"))
		})
		if plain != nil {
			return plain
		}
		return m.asks(ctx, at, func(ctx context.Context, conn net.Conn) error {
			return certs.Alert(ctx, conn, m.config.files().Config(host(at.endpoint), func(error) {}))
		})
	}
	return m.asks(ctx, at, func(ctx context.Context, conn net.Conn) error {
		var alert tls.AlertError
		err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // nothing is said or heard over it
		if err != nil && !errors.As(err, &alert) && !isAlert(err) {
			return nil
		}
		return certs.Mismatch(lock.InFields(fmt.Errorf("etcd speaks TLS at %s; write https://, and name its authorities", at.endpoint), "Endpoints", "CAFile"))
	})
}

// asks hands a connection to ask, for a second. A member that is away now has nothing to say: the next one tells that.
func (m *members) asks(ctx context.Context, at *member, ask func(context.Context, net.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, again)
	defer cancel()
	target, _ := address(at.endpoint) // Validate has seen it
	conn, err := m.dialer()(ctx, "tcp", target)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	return ask(ctx, conn)
}

// dialer makes the connections.
func (m *members) dialer() dialer {
	if m.config.Dial != nil {
		return m.config.Dial
	}
	return new(net.Dialer).DialContext
}
