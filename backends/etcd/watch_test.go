package etcd_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/lock"
)

// TestWatch is how package kv follows a real server.
func TestWatch(t *testing.T) {
	c := start(t, 1)
	noLeak(t)
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"what was acknowledged", acknowledged},
		{"another locker", anotherLocker},
		{"calls without pause", withoutPause},
		{"beats of the holder", holderBeats},
		{"the line once per ttl", lineBeats},
		{"a slow consumer", slowConsumer},
		{"the end of a watch", watchEnds},
		{"unreadable beside readable", unreadable},
		{"compaction", compaction},
		{"rolled back", rolledBack},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(newRig(t, c)) })
	}
}

// A view is a watch that runs, and what it showed last of role r.
type view struct {
	*rig
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	last    lock.Standing
	count   int
	failed  []error
	changed chan struct{}
}

func (r *rig) view(l lock.Locker) *view {
	ctx, cancel := context.WithCancel(r.ctx)
	v := &view{rig: r, cancel: cancel, ended: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(v.ended)
		for st, err := range l.Watch(ctx, "r") {
			v.mu.Lock()
			if err != nil {
				v.failed = append(v.failed, err)
			} else {
				v.last, v.count = st, v.count+1
			}
			close(v.changed)
			v.changed = make(chan struct{})
			v.mu.Unlock()
		}
	}()
	r.Cleanup(func() { cancel(); <-v.ended })
	return v
}

// until waits until the view shows what is good, and returns how long that took.
func (v *view) until(what string, good func(lock.Standing) bool) time.Duration {
	v.Helper()
	begin := time.Now()
	timeout := time.After(20 * time.Second)
	for {
		v.mu.Lock()
		last, changed, failed := v.last, v.changed, v.failed
		v.mu.Unlock()
		if good(last) {
			return time.Since(begin)
		}
		select {
		case <-changed:
		case <-timeout:
			v.Fatalf("not %s within 20 s; the last standing: %+v; %v", what, last, failed)
		}
	}
}

func holds(s lock.Session) func(lock.Standing) bool {
	return func(st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Holder.Session == s.ID() }
}

func vacant(st lock.Standing) bool { return st.Term.Token != 0 && st.Term.Vacant() }

// acknowledged: a watch never shows what is older than what its Locker did.
func acknowledged(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	standings := make(chan lock.Standing)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	go func() {
		defer close(standings)
		for st, err := range l.Watch(ctx, "r") {
			if err == nil {
				select {
				case standings <- st:
				case <-ctx.Done():
				}
			}
		}
	}()
	<-standings
	for range 50 {
		token := r.acquire(a)
		// One standing may have been on its way to us; what comes after it is new.
		st := <-standings
		if st.Term.Token != token {
			st = <-standings
		}
		if st.Term.Token != token {
			r.Fatalf("shown %+v after token %d", st.Term, token)
		}
		must(r, a.Release(r.ctx, "r", token))
		if got := r.now(l); !got.Term.Vacant() { // a new watch
			r.Fatalf("shown %+v after the release", got.Term)
		}
		if st := <-standings; !st.Term.Vacant() {
			r.Fatalf("shown %+v after the release", st.Term)
		}
	}
	must(r, b.Beat(r.ctx, lock.Bid{Role: "q"}))
	select { // no event tells of it, and the next look by itself is 10 s away
	case st := <-standings:
		if len(st.Line) != 1 {
			r.Fatalf("%+v", st)
		}
	case <-time.After(2 * time.Second):
		r.Error("an own change of bids is not shown")
	}
}

func anotherLocker(r *rig) {
	one, two := r.locker(), r.locker()
	v := r.view(two)
	a, b := r.join(one, "a"), r.join(two, "b")
	var took []time.Duration
	for range 20 {
		token := r.acquire(a)
		took = append(took, v.until("held by a", holds(a)))
		must(r, a.Handoff(r.ctx, "r", token, b.ID()))
		took = append(took, v.until("held by b", holds(b)))
		must(r, b.Release(r.ctx, "r", r.acquire(b)))
		took = append(took, v.until("vacant", vacant))
	}
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	r.Logf("another process sees a change after %v on average", (sum / time.Duration(len(took))).Round(10*time.Microsecond))
	r.acquire(a)
	v.until("held by a", holds(a))
	must(r, a.Close(r.ctx))
	v.until("vacant", vacant)
}

// withoutPause has a Locker some call of which ends during each reading of everything,
// as it takes long: its watch shows what others do all the same.
func withoutPause(r *rig) {
	for i := range 200 {
		var puts []clientv3.Op
		for j := range 100 {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%sforeign/%d/%d", r.prefix, i, j), strings.Repeat("x", 200)))
		}
		_, err := r.hand.Txn(r.ctx).Then(puts...).Commit()
		must(r, err)
	}
	l := r.locker()
	a, b := r.join(r.locker(), "a"), r.join(l, "b")
	ctx, stop := context.WithCancel(r.ctx)
	var callers sync.WaitGroup
	defer callers.Wait()
	defer stop()
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				_ = l.Ask(ctx, "r", lock.Request{Token: 1}) // refused: that term never was
			}
		})
	}
	v := r.view(l)
	for range 3 {
		token := r.acquire(a)
		v.until("held by a", holds(a))
		must(r, a.Handoff(r.ctx, "r", token, b.ID()))
		v.until("held by b", holds(b))
		must(r, b.Release(r.ctx, "r", r.acquire(b)))
		v.until("vacant", vacant)
	}
}

// holderBeats are seen at once, each, without reading everything again.
func holderBeats(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	r.acquire(a)
	v := r.view(r.locker())
	v.until("held", holds(a))
	for range 20 {
		v.mu.Lock()
		before := v.last.Term.Holder.Beat
		v.mu.Unlock()
		must(r, a.Beat(r.ctx))
		if took := v.until("another beat", func(st lock.Standing) bool { return st.Term.Holder.Beat != before }); took > time.Second {
			r.Errorf("seen after %v", took)
		}
	}
	r.revoke("line/session/" + string(a.ID()))
	if took := v.until("absent", func(st lock.Standing) bool { return st.Term.Holder.Beat == lock.Absent }); took > time.Second {
		r.Errorf("absence seen after %v", took)
	}
}

// lineBeats: who stands by is looked at before its silence is due.
func lineBeats(r *rig) {
	l, p := r.locker(), lock.Promise{TTL: time.Second, Skew: 60 * time.Millisecond}
	b, err := l.Register(r.ctx, r.contender("b"), p, lock.Bid{Role: "r"})
	must(r, err)
	v := r.view(r.locker())
	v.until("in line", func(st lock.Standing) bool { return len(st.Line) == 1 })
	for range 4 {
		v.mu.Lock()
		before := v.last.Line[0].Beat
		v.mu.Unlock()
		must(r, b.Beat(r.ctx))
		if took := v.until("another beat", func(st lock.Standing) bool { return st.Line[0].Beat != before }); took > p.TTL {
			r.Errorf("seen after %v", took)
		}
	}
	late, err := l.Register(r.ctx, r.contender("c"), p, lock.Bid{Role: "r", Priority: 1})
	must(r, err)
	v.until("in line before the other", func(st lock.Standing) bool { return len(st.Line) == 2 && st.Line[0].Session == late.ID() })
}

func slowConsumer(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	ctx, cancel := context.WithCancel(r.ctx)
	stuck, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range l.Watch(ctx, "r") {
			close(stuck)
			<-ctx.Done()
		}
	}()
	<-stuck
	v := r.view(l)
	for range 10 {
		token := r.acquire(a)
		v.until("held", holds(a))
		must(r, a.Beat(r.ctx))
		must(r, a.Release(r.ctx, "r", token))
		v.until("vacant", vacant)
	}
	cancel()
	<-ended
}

func watchEnds(r *rig) {
	l := r.locker()
	r.join(l, "a")
	v := r.view(l)
	v.until("in line", func(st lock.Standing) bool { return len(st.Line) == 1 })
	v.cancel()
	select {
	case <-v.ended:
	case <-time.After(100 * time.Millisecond):
		r.Error("a watch outlives its context by more than 100 ms")
	}
	if len(v.failed) != 0 {
		r.Error(v.failed)
	}
	w := r.view(l)
	w.until("in line", func(st lock.Standing) bool { return len(st.Line) == 1 })
	must(r, l.Close())
	<-w.ended
	if len(w.failed) != 1 {
		r.Errorf("a closed locker's watch said %v", w.failed)
	}
	must(r, l.Close())
	for _, err := range l.Watch(r.ctx) {
		if err == nil {
			r.Error("a closed locker shows something")
		}
	}
}

// unreadable: a role whose record is foreign hides no other.
func unreadable(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	r.acquire(a)
	r.put("state/role/bad", "x")
	var shown []string
	for st, err := range l.Watch(r.ctx) {
		if err != nil {
			if want(r, err, lock.ErrPermanent); !strings.Contains(err.Error(), "state/role/bad") {
				r.Error(err)
			}
			break
		}
		shown = append(shown, st.Role)
	}
	if fmt.Sprint(shown) != "[r]" {
		r.Error(shown)
	}
}

// compaction: what was compacted while nobody listened is read instead.
func compaction(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	v := r.view(r.locker())
	for range 5 {
		token := r.acquire(a)
		g, err := r.hand.Get(r.ctx, "any")
		must(r, err)
		_, err = r.hand.Compact(r.ctx, g.Header.Revision, clientv3.WithCompactPhysical())
		must(r, err)
		v.until("held", holds(a))
		must(r, a.Release(r.ctx, "r", token))
		v.until("vacant", vacant)
	}
}

// rolledBack: a store that was put back is shown with the token that it has now.
func rolledBack(r *rig) {
	one := start(r, 1)
	r = newRig(r, one)
	l := r.locker()
	a := r.join(l, "a")
	must(r, a.Release(r.ctx, "r", r.acquire(a)))
	member := one.Members[0]
	member.Kill()
	saved := r.TempDir()
	must(r, os.CopyFS(saved, os.DirFS(member.Data())))
	must(r, member.Restart(r.ctx))
	hedged(r, a)
	v := r.view(r.locker())
	for range 20 {
		must(r, a.Release(r.ctx, "r", r.acquire(a)))
	}
	greater := r.now(l).Term.Token
	v.until("up to date", func(st lock.Standing) bool { return st.Term.Token == greater })
	member.Kill()
	must(r, os.RemoveAll(member.Data()))
	must(r, os.CopyFS(member.Data(), os.DirFS(saved)))
	must(r, os.Chmod(member.Data(), 0o700))
	must(r, member.Restart(r.ctx))
	took := v.until("back", func(st lock.Standing) bool { return st.Term.Token < greater && st.Floor < greater })
	r.Logf("the rollback was seen after %v", took.Round(time.Millisecond))
}
