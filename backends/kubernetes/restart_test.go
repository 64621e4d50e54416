//go:build kubernetes

package kubernetes_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestRestart kills the API server and starts it again: sessions and terms go on.
func TestRestart(t *testing.T) {
	r, ctx := start(t), within(t, 3*time.Minute)
	lab.Outlives(t, ctx, open(t, r.config("")), r.Members[0].Kill, r.Members[0].Restart)
}

// TestRestored puts an earlier state of etcd back below an API server that goes on, whose cache still has
// what was lost. Everybody sees what is there. When the API server was restarted, as it must be, everything goes on.
func TestRestored(t *testing.T) {
	r, ctx := start(t), within(t, 3*time.Minute)
	l := open(t, r.config(""))
	a, b := register(t, ctx, l, "a"), register(t, ctx, l, "b")
	kept, err := a.TryAcquire(ctx, "r")
	must(t, err)
	below := *r.Cluster
	below.Members = r.Members[1:]
	restore, err := below.Save(ctx, t.TempDir())
	must(t, err)
	must(t, until(ctx, beat(a)))
	must(t, a.Release(ctx, "r", kept))
	lost, err := b.TryAcquire(ctx, "r")
	must(t, err)
	if st := lab.Standing(t, ctx, l, "r"); st.Term.Token != lost {
		t.Fatalf("a watch shows token %d, want %d", st.Term.Token, lost)
	}
	must(t, restore(ctx))

	var st lock.Standing
	lab.Eventually(t, "etcd answers", func() bool {
		_, err := r.Members[0].AsManager(ctx, http.MethodGet, leases+"/understudy", "")
		return err == nil
	})
	if st = lab.Standing(t, ctx, open(t, r.config("")), "r"); st.Term.Token != kept || st.Term.Holder.ID != "a" {
		t.Errorf("%s is shown with token %d: it was lost; %d of a was put back", st.Term.Holder.ID, st.Term.Token, kept)
	}
	r.Members[0].Kill()
	must(t, r.Members[0].Restart(ctx))
	must(t, until(ctx, beat(b)))
	if st = lab.Standing(t, ctx, l, "r"); st.Term.Token != kept {
		t.Errorf("who saw the lost term is shown token %d, want %d", st.Term.Token, kept)
	}
	must(t, until(ctx, func(ctx context.Context) error { return l.Raise(ctx, lost) })) // the way out
	must(t, until(ctx, func(ctx context.Context) error { return a.Release(ctx, "r", kept) }))
	var next lock.Token
	err = until(ctx, func(ctx context.Context) error { next, err = b.TryAcquire(ctx, "r"); return err })
	if err != nil || next <= lost {
		t.Errorf("token %d, %v, after %d", next, err, lost)
	}
}
