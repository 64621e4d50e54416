package coordinator

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestManyRoles takes many roles without asking the store for all of them at once:
// Consul, which allows 200 connections, gave none then, and lost the session's beats.
func TestManyRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		l := &narrow{Locker: s.store.Open()}
		c := config("a")
		c.Roles = nil
		for i := range 300 {
			c.Roles = append(c.Roles, lock.Bid{Role: fmt.Sprint("r", i)})
		}
		stop := s.contendOver(l, c, untilTold)
		time.Sleep(10 * time.Second)
		if n := len(s.active()); n != 300 {
			t.Errorf("active in %d roles, want 300", n)
		}
		if most := l.most.Load(); most > roleCalls {
			t.Errorf("%d calls about roles were open at once, want at most %d", most, roleCalls)
		}
		_ = stop()
	})
}

// A narrow Locker answers late, and refuses where too many ask at once.
type narrow struct {
	lock.Locker
	open, most atomic.Int64
}

func (n *narrow) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := n.Locker.Register(ctx, c, p, bids...)
	return &narrowed{s, n}, err
}

type narrowed struct {
	lock.Session
	n *narrow
}

func (s *narrowed) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	s.n.most.Store(max(s.n.most.Load(), s.n.open.Add(1)))
	defer s.n.open.Add(-1)
	time.Sleep(100 * time.Millisecond) // virtual time
	return s.Session.TryAcquire(ctx, role)
}
