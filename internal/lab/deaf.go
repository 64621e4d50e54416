package lab

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Deaf returns a dialer whose first connections hear so many words each, and then nothing more, as behind a proxy that has taken
// them and loses what comes; and how many connections were made.
func Deaf(first int32, words int) (dial func(ctx context.Context, network, address string) (net.Conn, error), made *atomic.Int32) {
	made = new(atomic.Int32)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil || made.Add(1) > first {
			return conn, err
		}
		return &deaf{conn, words}, nil
	}, made
}

// A deaf connection loses what comes.
type deaf struct {
	net.Conn
	words int // that it hears yet; one goroutine at a time reads
}

func (d *deaf) Read(b []byte) (int, error) {
	for {
		if n, err := d.Conn.Read(b); err != nil || d.words > 0 {
			d.words--
			return n, err
		}
	}
}

// WorksBehindDeaf has a store raise the floor, by calls of a second each, before the time is over.
func WorksBehindDeaf(t testing.TB, l lock.Locker, most time.Duration, made *atomic.Int32) {
	t.Helper()
	ctx, begin := Within(t, most), time.Now()
	for err := errors.New("not tried"); err != nil; {
		if ctx.Err() != nil {
			t.Fatalf("it has not worked within %v, on %d connections: %v", most, made.Load(), err)
		}
		try, cancel := context.WithTimeout(ctx, time.Second)
		err = l.Raise(try, 1)
		cancel()
		time.Sleep(10 * time.Millisecond) // as a contender, which makes no calls without a pause
	}
	t.Logf("after %v and %d connections", time.Since(begin).Round(time.Millisecond), made.Load())
}
