package etcd_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestIdleConnectionIsSilent waits for longer than the shortest interval of gRPC's
// pings. A server calls off a connection that pings while nothing is under way, and
// gRPC prints that.
func TestIdleConnectionIsSilent(t *testing.T) {
	noLeak(t)
	r := newRig(t, start(t, 1))
	var sent atomic.Int64
	l, err := etcd.Open(r.ctx, etcd.Config{
		Endpoints: r.endpoints(), Prefix: r.prefix,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return counted{c, &sent}, err
		},
	})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	s := lab.Join(r.ctx, r, l, "a")
	before := sent.Load()
	must(t, s.Beat(r.ctx))
	if sent.Load() == before {
		t.Fatal("a beat sends nothing: the count is wrong")
	}
	time.Sleep(time.Second) // what gRPC sends after a call
	before = sent.Load()
	time.Sleep(11 * time.Second) // longer than a keepalive of the client, if it had one
	if after := sent.Load(); after != before {
		t.Errorf("%d bytes were sent while nothing was under way", after-before)
	}
}

// A counted counts what is sent.
type counted struct {
	net.Conn
	sent *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(int64(n))
	return n, err
}
