package etcd

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/storebench"
	"github.com/understudy-ha/understudy/lock"
)

// TestLeaderDies kills the leader of three members, twice, under a role that is
// held with default settings: the role does not move.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	c := cluster(t, 3, servers.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var terms atomic.Int32
	held, ended := make(chan struct{}), make(chan error, 2)
	work := func(ctx context.Context, _ coordinator.Term) error {
		if terms.Add(1) == 1 {
			close(held)
		}
		<-ctx.Done()
		return nil
	}
	for _, id := range []string{"a", "b"} {
		l := open(t, Config{Endpoints: endpoints(c)})
		config := coordinator.Config{ID: id, Roles: []lock.Bid{{Role: "r"}}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
		go func() { ended <- coordinator.Run(ctx, l, config, work) }()
	}
	<-held
	for range 2 {
		leader, err := c.Leader(timeout(t, time.Minute))
		must(t, err)
		c.Members[leader].Kill()
		client := raw(t, clientv3.Config{Endpoints: endpoints(c)})
		for begin := time.Now(); ; {
			try, stop := context.WithTimeout(ctx, 100*time.Millisecond)
			_, err := client.Put(try, "elsewhere", "x")
			stop()
			if err == nil {
				t.Logf("writes stalled for %v", time.Since(begin).Round(time.Millisecond))
				break
			}
		}
		must(t, c.Members[leader].Restart(timeout(t, time.Minute)))
	}
	// The next beats of both come to pass: a loss would have been seen by then.
	l := open(t, Config{Endpoints: endpoints(c)})
	beats := map[lock.Beat]bool{}
	for st, err := range l.Watch(timeout(t, time.Minute), "r") {
		must(t, err)
		if beats[st.Term.Holder.Beat] = true; len(beats) > 3 {
			break
		}
	}
	if n := terms.Load(); n != 1 {
		t.Errorf("%d terms, want the one that was", n)
	}
	cancel()
	for range 2 {
		must(t, <-ended)
	}
}

// BenchmarkLeaderDies is how long beats stall when the leader of three members is
// killed, beside how long a client of etcd's own stalls that makes short attempts
// meanwhile: the store's election.
func BenchmarkLeaderDies(b *testing.B) {
	c := cluster(b, 3, servers.Options{})
	l := open(b, Config{Endpoints: endpoints(c)})
	s, err := l.Register(timeout(b, 10*time.Second), lock.Contender{ID: "a", Session: "a-1"}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
	must(b, err)
	client := raw(b, clientv3.Config{Endpoints: endpoints(c)})
	storebench.Stall(b, func() (kill func(), beat, write func(context.Context) error, over func()) {
		leader, err := c.Leader(timeout(b, time.Minute))
		must(b, err)
		return c.Members[leader].Kill,
			func(ctx context.Context) error { return s.Beat(ctx) },
			func(ctx context.Context) error { _, err := client.Put(ctx, "elsewhere", "x"); return err },
			func() { must(b, c.Members[leader].Restart(timeout(b, time.Minute))) }
	})
}
