package etcd

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestConnectBesideOneThatHangs: a connection whose first packet is lost is not waited for.
func TestConnectBesideOneThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var tries atomic.Int32
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if tries.Add(1) == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	begun := time.Now()
	c, err := (&wires{}).connect(ctx, dial, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if took := time.Since(begun); took > mostOpen*again {
		t.Errorf("the second try was let in after %v, when the first had ended", took)
	}
}

// TestCurable: of several members one may refuse for good, and another may come back.
func TestCurable(t *testing.T) {
	of := errors.New("refused")
	err := error(curable{lock.Permanent(of)})
	if errors.Is(err, lock.ErrPermanent) || !errors.Is(err, of) {
		t.Errorf("permanent: %v, and the error itself: %v", errors.Is(err, lock.ErrPermanent), errors.Is(err, of))
	}
}

// TestPlain keeps the system's own words of a gRPC error, and drops what gRPC puts around them.
func TestPlain(t *testing.T) {
	const refused = "dial tcp 127.0.0.1:1: connect: connection refused"
	for _, text := range []string{
		refused, "Error while dialing: " + refused, `connection error: desc = "transport: Error while dialing: ` + refused + `"`,
	} {
		if got := plain(text); got != refused {
			t.Errorf("%s: %s", text, got)
		}
	}
	const tls = `connection error: desc = "transport: authentication handshake failed: tls: \"x\" expired"`
	if got := plain(tls); got != `authentication handshake failed: tls: "x" expired` {
		t.Error(got)
	}
}
