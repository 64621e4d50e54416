//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// replica starts a standby of the server, which has everything when it returns.
func (r *rig) replica() *servers.Member {
	r.Helper()
	c, err := servers.StartReplica(within(r, time.Minute), r.Members[0])
	must(r, err)
	r.Cleanup(c.Stop)
	r.caughtUp()
	return c.Members[0]
}

// caughtUp waits until a replica has everything that was committed until now.
func (r *rig) caughtUp() {
	r.Helper()
	lsn := r.hand("postgres", "select pg_current_wal_lsn()")
	lab.Eventually(r, "the replica has everything", func() bool {
		return r.hand("postgres", fmt.Sprintf("select count(*) from pg_stat_replication where replay_lsn >= '%s'", lsn)) == "1"
	})
}

// said is the first error that a call on a store has which is of this kind.
func said(t testing.TB, l lock.Locker, want error) error {
	t.Helper()
	ctx := within(t, 30*time.Second)
	var last error
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, time.Second)
		last = l.Raise(short, 0)
		cancel()
		if errors.Is(last, want) {
			return last
		}
	}
	t.Fatalf("%v, want %v", last, want)
	return nil
}

// TestStandby: a standby is refused by name, and passed over where the primary is named besides.
func TestStandby(t *testing.T) {
	r := start(t)
	standby := r.replica()
	err := said(t, open(t, config("g", standby)), postgres.ErrStandby)
	if errors.Is(err, lock.ErrPermanent) {
		t.Errorf("%v: it may be promoted at any time", err)
	}
	register(t, within(t, time.Minute), open(t, config("g", standby, r.Members[0])), "a")
}

// TestPromoted ends the primary and promotes a replica that has everything: the session and its
// term go on, a beat that was seen before counts no more, and tokens rise. Then the old primary comes
// back, and is refused.
func TestPromoted(t *testing.T) {
	r := start(t)
	standby, ctx := r.replica(), within(t, time.Minute)
	l := open(t, config("g", r.Members[0], standby))
	a, b := register(t, ctx, l, "a"), register(t, ctx, l, "b")
	first, err := a.TryAcquire(ctx, "r")
	must(t, err)
	seen := lab.Standing(t, ctx, l, "r").Term.Holder.Beat
	r.caughtUp()
	r.Members[0].Kill()
	must(t, standby.Promote(ctx))

	must(t, until(ctx, beat(a)))
	if err := until(ctx, func(ctx context.Context) error {
		return l.Evict(ctx, a.ID(), seen, lock.End{By: "b", Why: "silent"})
	}); !errors.Is(err, lock.ErrMoved) {
		t.Errorf("an eviction by a beat from before the promotion: %v, want ErrMoved", err)
	}
	if token, err := a.TryAcquire(ctx, "r"); err != nil || token != first {
		t.Errorf("the term that went on: token %d, %v; want %d", token, err, first)
	}
	must(t, a.Release(ctx, "r", first))
	second, err := b.TryAcquire(ctx, "r")
	if err != nil || second <= first {
		t.Errorf("token %d, %v, after %d", second, err, first)
	}

	must(t, r.Members[0].Restart(ctx)) // on what it had
	standby.Kill()
	err = said(t, l, postgres.ErrOlder)
	if !strings.Contains(err.Error(), "timeline 1, and 2 was seen") || errors.Is(err, lock.ErrPermanent) {
		t.Error(err)
	}
	must(t, standby.Restart(ctx))
	must(t, until(ctx, beat(b))) // the other one is passed over
}

// TestPromotedWithout promotes a replica that lacks a term: its token is not given again, and who
// has seen it sees that the role went back.
func TestPromotedWithout(t *testing.T) {
	r := start(t)
	standby, ctx := r.replica(), within(t, time.Minute)
	l := open(t, config("g", r.Members[0], standby))
	a, b := register(t, ctx, l, "a"), register(t, ctx, l, "b")
	must(t, a.Beat(ctx))
	r.caughtUp()
	standby.Kill() // what waits for a process that is only stopped would still reach it
	for range 5 {
		must(t, b.Beat(ctx))
	}
	lost, err := a.TryAcquire(ctx, "r")
	must(t, err)
	if at := lab.Standing(t, ctx, l, "r").Term.Token; at != lost {
		t.Fatalf("a watch shows token %d, want %d", at, lost)
	}
	r.Members[0].Kill()
	must(t, standby.Restart(ctx))
	must(t, standby.Promote(ctx))

	must(t, until(ctx, beat(b)))
	st := lab.Standing(t, ctx, l, "r")
	if st.Term.Token >= lost {
		t.Errorf("a watch shows token %d, want the one from before %d", st.Term.Token, lost)
	}
	fresh := open(t, config("g", standby))
	c := register(t, ctx, fresh, "c")
	if token, err := c.TryAcquire(ctx, "r"); err != nil || token <= lost {
		t.Errorf("token %d, %v, after %d, which was lost", token, err, lost)
	}
}

func beat(s lock.Session) func(context.Context) error {
	return func(ctx context.Context) error { return s.Beat(ctx) }
}
