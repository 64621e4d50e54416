package consul

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// A network that swallows everything costs no more than it lasts: the next try
// after it goes through, on a new connection.
func TestABlackHole(t *testing.T) {
	p, err := servers.StartProxy(shared.Members[0].Addr())
	must(t, err)
	t.Cleanup(p.Close)
	s, ctx := open(t, Config{Address: p.Addr()}), timeout(t, 30*time.Second)
	const patience = 250 * time.Millisecond
	try := func(i int) error {
		short, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := put(short, s, "hole/a", strconv.Itoa(i), "")
		return err
	}
	must(t, try(0))
	for i, both := range []bool{true, false} {
		p.Hold(true, both)
		for j := range 8 {
			if err := try(100*i + j); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("through a black hole: %v", err)
			}
		}
		p.Hold(false, false)
		began := time.Now()
		for try(1000*(i+1)) != nil {
			if ctx.Err() != nil {
				t.Fatal("it never came back")
			}
		}
		if took := time.Since(began); took > 3*patience {
			t.Errorf("the first write after a black hole took %s", took)
		}
	}
	p.Refuse()
	p.Reset()
	if err := try(1); err == nil || errors.Is(err, lock.ErrPermanent) {
		t.Errorf("refused: %v", err)
	}
	must(t, p.Accept())
	must(t, try(2))
}

// A follow ends when its connection does.
func TestAResetEndsAFollow(t *testing.T) {
	p, err := servers.StartProxy(shared.Members[0].Addr())
	must(t, err)
	t.Cleanup(p.Close)
	s, ctx := open(t, Config{Address: p.Addr()}), timeout(t, 10*time.Second)
	records, ended := following(t, s, "reset/")
	_, err = put(ctx, s, "reset/a", "1", "")
	must(t, err)
	next(t, records, ended)
	p.Refuse()
	p.Reset()
	endsForNow(ctx, t, ended)
}

// BenchmarkBeat is one write of a key that exists, on a session.
func BenchmarkBeat(b *testing.B) {
	s, ctx := open(b, Config{}), timeout(b, 5*time.Minute)
	l, err := s.Grant(ctx, time.Minute)
	must(b, err)
	for i := range b.N {
		_, err := put(ctx, s, "bench/a", strconv.Itoa(i), l)
		must(b, err)
	}
}
