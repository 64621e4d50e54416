package servers

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo starts a server that answers every byte with itself, and a proxy to it.
func echo(t *testing.T) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	p, err := StartProxy(l.Addr().String())
	must(t, err)
	t.Cleanup(func() {
		p.Close()
		p.Close()
		must(t, l.Close())
		<-done
	})
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a byte and waits for the answer.
func ask(t *testing.T, c net.Conn, b byte, wait time.Duration) error {
	t.Helper()
	_, err := c.Write([]byte{b})
	if err != nil {
		return err
	}
	return answer(t, c, b, wait)
}

func answer(t *testing.T, c net.Conn, b byte, wait time.Duration) error {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(wait)))
	var got [1]byte
	if _, err := io.ReadFull(c, got[:]); err != nil {
		return err
	}
	if got[0] != b {
		t.Errorf("got %q, want %q", got[0], b)
	}
	return nil
}

const (
	soon   = 200 * time.Millisecond // for what must not come
	longer = 10 * time.Second       // for what must
)

func TestProxyHolds(t *testing.T) {
	for name, which := range map[string][2]bool{"requests": {true, false}, "replies": {false, true}, "both": {true, true}} {
		t.Run(name, func(t *testing.T) {
			p := echo(t)
			c := dial(t, p)
			must(t, ask(t, c, 'a', longer))
			p.Hold(which[0], which[1])
			if err := ask(t, c, 'b', soon); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("through a black hole: %v", err)
			}
			if err := ask(t, dial(t, p), 'x', soon); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a new connection through a black hole: %v", err)
			}
			p.Hold(false, false)
			must(t, answer(t, c, 'b', longer))
			must(t, ask(t, c, 'c', longer))
		})
	}
}

func TestProxyDelays(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Delay(50 * time.Millisecond)
	start := time.Now()
	must(t, ask(t, c, 'a', longer))
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("there and back in %s, want 100ms at least", took)
	}
}

func TestProxyResets(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	must(t, ask(t, c, 'a', longer))
	p.Hold(true, false)
	_, err := c.Write([]byte{'b'})
	must(t, err)
	p.Reset()
	if err := answer(t, c, 'b', longer); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	p.Hold(false, false)
	must(t, ask(t, dial(t, p), 'c', longer))
}

func TestProxyRefuses(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Refuse()
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refusing: %v", err)
	}
	must(t, ask(t, c, 'a', longer))
	must(t, p.Accept())
	must(t, ask(t, dial(t, p), 'b', longer))
}

func TestProxyEndsConnectionsAsTheirEndsDo(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	_, err := c.Write([]byte("abc"))
	must(t, err)
	must(t, c.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(c)
	must(t, err)
	if string(got) != "abc" {
		t.Errorf("got %q", got)
	}
}
