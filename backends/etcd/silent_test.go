package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
)

// TestConnectionThatFallsSilent: a connection that stands and loses what comes, from whichever
// word of the member on, keeps nobody from the next one, which is well.
func TestConnectionThatFallsSilent(t *testing.T) {
	c := start(t, 1)
	for words := range 5 {
		t.Run(fmt.Sprint(words), func(t *testing.T) {
			t.Parallel()
			deafConnections(t, c.Members[0].Addr(), 1, words)
		})
	}
	t.Run("three in a row", func(t *testing.T) { // gRPC says that it has failed after two, and waits for the third
		t.Parallel()
		deafConnections(t, c.Members[0].Addr(), 3, 0)
	})
}

// deafConnections works on a store whose first connections hear so many words each.
func deafConnections(t *testing.T, address string, deafs int32, words int) {
	var dialed atomic.Int32
	l, err := etcd.Open(t.Context(), etcd.Config{
		Endpoints: []string{address}, Prefix: t.Name(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil || dialed.Add(1) > deafs {
				return conn, err
			}
			return &deaf{Conn: conn, words: words, closed: make(chan struct{})}, nil
		},
	})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	ctx, begin := within(t, 30*time.Second), time.Now()
	for err := errors.New("not tried"); err != nil; {
		must(t, ctx.Err())
		try, cancel := context.WithTimeout(ctx, time.Second)
		err = l.Raise(try, 1)
		cancel()
	}
	t.Logf("after %v and %d connections", time.Since(begin).Round(time.Millisecond), dialed.Load())
}

// A deaf connection hears so many words, and nothing more until it is closed.
type deaf struct {
	net.Conn
	words  int // one goroutine at a time reads
	once   sync.Once
	closed chan struct{}
}

func (d *deaf) Read(b []byte) (int, error) {
	if d.words--; d.words < 0 {
		<-d.closed
		return 0, net.ErrClosed
	}
	return d.Conn.Read(b)
}

func (d *deaf) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Conn.Close()
}
