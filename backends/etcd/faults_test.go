package etcd_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestServerRestarts: a watch survives its server, and says meanwhile that there is
// none.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, start(t, 1))
	l := r.locker()
	a := lab.Join(r.ctx, r, l, "a")
	v := r.view(l)
	token := lab.Acquire(r.ctx, r, a)
	v.until("held", lab.HeldBy(a))
	for range 2 {
		r.Members[0].Kill()
		failed := time.After(10 * time.Second)
		for said := false; !said; {
			v.mu.Lock()
			said, v.failed = len(v.failed) > 0, nil
			changed := v.changed
			v.mu.Unlock()
			select {
			case <-changed:
			case <-failed:
				t.Fatal("a watch without a store said nothing for 10 s")
			}
		}
		must(t, r.Members[0].Restart(r.ctx))
		hedged(t, a)
		must(t, a.Release(r.ctx, "r", token))
		t.Logf("seen %v after the release", v.until("vacant", lab.Vacant).Round(time.Millisecond))
		token = lab.Acquire(r.ctx, r, a)
		v.until("held", lab.HeldBy(a))
	}
}

// TestPaused: every call obeys its context while the server is silent, and says
// nothing for certain.
func TestPaused(t *testing.T) {
	c := start(t, 1)
	noLeak(t)
	r := newRig(t, c)
	l := r.locker()
	a := lab.Join(r.ctx, r, l, "a")
	token := lab.Acquire(r.ctx, r, a)
	v := r.view(l)
	v.until("held", lab.HeldBy(a))
	must(t, c.Members[0].Pause())
	for name, call := range map[string]func(context.Context) error{
		"register": func(ctx context.Context) error { _, err := l.Register(ctx, lab.Contender("b"), lab.Long); return err },
		"beat":     func(ctx context.Context) error { return a.Beat(ctx) },
		"acquire":  func(ctx context.Context) error { _, err := a.TryAcquire(ctx, "q"); return err },
		"release":  func(ctx context.Context) error { return a.Release(ctx, "r", token) },
		"handoff":  func(ctx context.Context) error { return a.Handoff(ctx, "r", token, "b") },
		"close":    a.Close,
		"evict":    func(ctx context.Context) error { return l.Evict(ctx, a.ID(), 1, lock.End{By: "me"}) },
		"ask":      func(ctx context.Context) error { return l.Ask(ctx, "r", lock.Request{Token: token}) },
		"raise":    func(ctx context.Context) error { return l.Raise(ctx, 5) },
		"watch": func(ctx context.Context) (err error) {
			for _, err = range r.locker().Watch(ctx, "r") {
			}
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		begin := time.Now()
		err := call(ctx)
		if late := time.Since(begin) - 150*time.Millisecond; late > time.Second { // 100 ms, and what a busy machine takes
			t.Errorf("%s outlived its context by %v", name, late)
		}
		cancel()
		for _, named := range []error{nil, lock.ErrHeld, lock.ErrLost, lock.ErrMoved, lock.ErrGone, lock.ErrRolledBack, lock.ErrPermanent} {
			if errors.Is(err, named) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	must(t, c.Members[0].Resume())
	if err := a.Beat(r.ctx); err != nil && !errors.Is(err, lock.ErrLost) { // the close may have come to pass
		t.Errorf("beat: %v", err)
	}
	v.until("held or over", func(st lock.Standing) bool { return st.Term.Token == token })
}

// TestNotThere: an endpoint that refuses, or swallows everything, hinders no call,
// also when it is the first.
func TestNotThere(t *testing.T) {
	t.Parallel()
	c := start(t, 1)
	proxy, err := servers.StartProxy(c.Members[0].Addr())
	must(t, err)
	t.Cleanup(proxy.Close)
	for name, hurt := range map[string]func(){"refuses": proxy.Refuse, "swallows": func() { must(t, proxy.Accept()); proxy.Hold(true, true) }} {
		hurt()
		for range 3 {
			l, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{proxy.Addr(), c.Members[0].Addr()}})
			must(t, err)
			begin := time.Now()
			if err := l.Raise(within(t, 20*time.Second), 1); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			t.Logf("%s: %v", name, time.Since(begin).Round(time.Millisecond))
			must(t, l.Close())
		}
	}
}

// TestDeadMember: with one member of three dead or silent, whichever it is, calls
// and watches go on at the others.
func TestDeadMember(t *testing.T) {
	t.Parallel()
	c := start(t, 3)
	r := newRig(t, c)
	l := r.locker()
	a, err := l.Register(r.ctx, lab.Contender("a"), lock.Promise{TTL: 2 * time.Second, Skew: 100 * time.Millisecond})
	must(t, err)
	token := lab.Acquire(r.ctx, r, a)
	v := r.view(r.locker())
	v.until("held", lab.HeldBy(a))
	for _, hurt := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		for i, m := range c.Members {
			v.mu.Lock()
			before := v.last.Term.Holder.Beat
			v.mu.Unlock()
			if hurt == syscall.SIGKILL {
				m.Kill()
			} else {
				must(t, m.Pause())
			}
			beaten := hedged(t, a)
			seen := v.until("another beat", func(st lock.Standing) bool { return st.Term.Holder.Beat != before })
			t.Logf("member %d, %s: beats go on after %v, and are seen %v later", i, hurt, beaten.Round(time.Millisecond), seen.Round(time.Millisecond))
			if seen > 4*time.Second {
				t.Errorf("the watch was blind for %v, two promises", seen)
			}
			if hurt == syscall.SIGKILL {
				must(t, m.Restart(r.ctx))
			} else {
				must(t, m.Resume())
			}
		}
	}
	for err = a.Release(r.ctx, "r", token); err != nil && r.ctx.Err() == nil; { // the leader changes again, maybe
		err = a.Release(r.ctx, "r", token)
	}
	must(t, err)
	v.until("vacant", lab.Vacant)
}

// hedged beats as the coordinator does, until one beat is acknowledged: another try
// every 100 ms, each for 2 s. It returns how long that took.
func hedged(t testing.TB, s lock.Session) time.Duration {
	t.Helper()
	begin, done := time.Now(), make(chan error, 1000)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		go func() {
			try, stop := context.WithTimeout(ctx, 2*time.Second)
			defer stop()
			done <- s.Beat(try)
		}()
		for next := false; !next; {
			select {
			case err := <-done:
				if err == nil {
					return time.Since(begin)
				}
			case <-ctx.Done():
				t.Fatal("no beat within 20 s")
			case <-tick.C:
				next = true
			}
		}
	}
}
