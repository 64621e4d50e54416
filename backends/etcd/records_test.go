package etcd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/lock"
)

// revoked: absence is only silence.
func revoked(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	beat := r.now(l).Term.Holder.Beat
	r.revoke("line/session/" + string(a.ID()))
	st := r.until(l, "without a's record", func(st lock.Standing) bool { return st.Term.Holder.Beat == lock.Absent })
	if st.Term.Vacant() || st.Term.Token != token || st.Term.Holder.Promise != long {
		r.Fatalf("%+v", st)
	}
	_, err := b.TryAcquire(r.ctx, "r")
	want(r, err, lock.ErrHeld)
	want(r, l.Evict(r.ctx, a.ID(), beat, lock.End{By: "b", Why: "silent"}), lock.ErrMoved)
	want(r, a.Beat(r.ctx), lock.ErrLost)
	must(r, l.Evict(r.ctx, a.ID(), lock.Absent, lock.End{By: "b", Why: "silent"}))
	if st := r.now(l); !st.Term.Vacant() || st.Term.End.By != "b" || st.Term.End.Why != "silent" || st.Term.Over != "" {
		r.Fatalf("%+v", st)
	}
	if next := r.acquire(b); next <= token {
		r.Errorf("token %d after %d", next, token)
	}
}

// deletedSession: a well holder sees it, releases, and ends its session.
func deletedSession(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	r.acquire(a)
	r.remove("line/session/" + string(a.ID()))
	want(r, a.Beat(r.ctx), lock.ErrLost)
	must(r, a.Close(r.ctx))
	r.acquire(b)
	if v, _ := r.get("line/claim/a"); v != "" {
		r.Errorf("the claim is there: %s", v)
	}
}

func deletedRole(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	r.remove("state/role/r")
	if st := r.until(l, "without a term", func(st lock.Standing) bool { return st.Term.Token == 0 }); st.Term.Over != "" {
		r.Errorf("%+v", st)
	}
	must(r, a.Release(r.ctx, "r", token)) // writes the record again
	st := r.now(l)
	if !st.Term.Vacant() || st.Term.Token != token || st.Term.Holder.Session != a.ID() {
		r.Fatalf("%+v", st)
	}
	if next := r.acquire(b); next <= token {
		r.Errorf("token %d after %d", next, token)
	}
}

func foreignValues(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	for _, value := range []string{"", "x", "{}", `{"Format":1}`, `{"Format":2}`, `{"Format":2,"Holder":7}`} {
		r.put("state/role/r", value)
		_, err := a.TryAcquire(r.ctx, "r")
		want(r, err, lock.ErrPermanent)
		want(r, a.Release(r.ctx, "r", 1), lock.ErrPermanent)
		want(r, a.Handoff(r.ctx, "r", 1, a.ID()), lock.ErrPermanent)
		want(r, l.Ask(r.ctx, "r", lock.Request{Token: 1}), lock.ErrPermanent)
		if v, _ := r.get("state/role/r"); v != value {
			r.Errorf("%q was overwritten", value)
		}
		for _, err := range l.Watch(r.ctx, "r") {
			want(r, err, lock.ErrPermanent)
			break
		}
	}
	r.remove("state/role/r")

	token := r.acquire(a)
	before := r.now(l).Term.Holder.Beat
	r.put("line/session/"+string(a.ID()), "x") // a beat, which the next beat repairs
	st := r.until(l, "with another beat", func(st lock.Standing) bool { return st.Term.Holder.Beat != before })
	if st.Term.Holder.Beat == lock.Absent || st.Term.Vacant() || st.Term.Holder.Promise != long {
		r.Errorf("%+v", st)
	}
	must(r, a.Beat(r.ctx))
	must(r, a.Beat(r.ctx))
	r.revoke("line/session/" + string(a.ID())) // it hangs on its lease again
	must(r, a.Release(r.ctx, "r", token))
	must(r, a.Close(r.ctx))

	// A record that was put by hand hangs on no lease, and outlives it.
	d := r.join(l, "d")
	own := "line/session/" + string(d.ID())
	g, err := r.hand.Get(r.ctx, r.prefix+own)
	must(r, err)
	r.put(own, "x")
	_, err = r.hand.Revoke(r.ctx, clientv3.LeaseID(g.Kvs[0].Lease))
	must(r, err)
	must(r, d.Beat(r.ctx))
	if g, err = r.hand.Get(r.ctx, r.prefix+own); err != nil || g.Kvs[0].Lease == 0 {
		r.Errorf("after the next beat: %+v, %v", g, err)
	}

	b := r.join(l, "b")
	r.put("line/claim/b", "x") // refuses the ID, stops no eviction
	_, err = l.Register(r.ctx, r.contender("b"), long)
	want(r, err, lock.ErrPermanent)
	r.acquire(b)
	must(r, l.Evict(r.ctx, b.ID(), r.now(l).Term.Holder.Beat, lock.End{By: "me", Why: "test"}))
	if v, _ := r.get("line/claim/b"); v != "x" {
		r.Error("the foreign claim is gone")
	}
	if st := r.now(l); !st.Term.Vacant() {
		r.Errorf("%+v", st)
	}
}

// newerFormats are named, and never overwritten.
func newerFormats(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	const newer = `{"Format":3,"Holder":"elsewhere now"}`
	for key, call := range map[string]func() error{
		"state/role/r": func() error { _, err := a.TryAcquire(r.ctx, "r"); return err },
		"state/floor":  func() error { return l.Raise(r.ctx, 5) },
		"line/claim/b": func() error { _, err := l.Register(r.ctx, r.contender("b"), long); return err },
		"state/wish/q": func() error {
			token, err := a.TryAcquire(r.ctx, "q")
			must(r, err)
			r.put("state/wish/q", newer)
			return l.Ask(r.ctx, "q", lock.Request{Token: token})
		},
	} {
		r.put(key, newer)
		err := call()
		if want(r, err, lock.ErrPermanent); !strings.Contains(err.Error(), "format 3") {
			r.Error(err)
		}
		if v, _ := r.get(key); v != newer {
			r.Errorf("%s was overwritten: %s", key, v)
		}
		r.remove(key)
	}
}

func names(r *rig) {
	l := r.locker()
	for _, name := range []string{".", "..", "a/b", "%2E", "ä €", "a b+c", "a%", "/", "x/../y"} {
		s, err := l.Register(r.ctx, r.contender(name), long, lock.Bid{Role: name})
		must(r, err)
		token, err := s.TryAcquire(r.ctx, name)
		must(r, err)
		found := false
		for st, err := range l.Watch(r.ctx) {
			must(r, err)
			if found = st.Role == name && st.Term.Token == token && st.Term.Holder.ID == name; found {
				break
			}
		}
		must(r, s.Close(r.ctx))
	}
	all, err := r.hand.Get(r.ctx, r.prefix, clientv3.WithPrefix())
	must(r, err)
	for _, kv := range all.Kvs {
		if rest := strings.TrimPrefix(string(kv.Key), r.prefix); strings.Count(rest, "/") > 2 || !json.Valid(kv.Value) {
			r.Errorf("%s: %s", kv.Key, kv.Value)
		}
	}
	for _, name := range []string{"", "\xff", strings.Repeat("x", lock.MaxName+1)} {
		_, err := l.Register(r.ctx, lock.Contender{ID: name, Session: "s"}, long)
		want(r, err, lock.ErrPermanent)
		want(r, l.Evict(r.ctx, lock.SessionID(name), 0, lock.End{By: "me"}), lock.ErrPermanent)
		want(r, l.Ask(r.ctx, name, lock.Request{}), lock.ErrPermanent)
	}
}

func floors(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	token := r.acquire(a)
	must(r, l.Raise(r.ctx, token+1000))
	if st := r.now(l); st.Floor != token+1000 || st.Term.Token != token {
		r.Fatalf("%+v", st)
	}
	must(r, l.Raise(r.ctx, 1)) // lowers nothing
	must(r, a.Release(r.ctx, "r", token))
	next := r.acquire(a)
	if next <= token+1000 {
		r.Fatalf("token %d", next)
	}
	if st := r.now(l); st.Term.Token != next || st.Floor != next {
		r.Fatalf("%+v", st)
	}
	must(r, a.Release(r.ctx, "r", next))
	r.remove("state/floor") // the role's own record still keeps tokens rising
	if last := r.acquire(a); last <= next {
		r.Fatalf("token %d after %d", last, next)
	}
	must(r, a.Close(r.ctx))

	// A record with a greater token than the store can give: it was rolled back.
	b := r.join(l, "b")
	role, _ := r.get("state/role/r")
	var record map[string]any
	must(r, json.Unmarshal([]byte(role), &record))
	record["Token"], record["Offset"] = 1_000_000_000, 0
	value, err := json.Marshal(record)
	must(r, err)
	r.put("state/role/r", string(value))
	_, err = b.TryAcquire(r.ctx, "r")
	want(r, err, lock.ErrRolledBack)
	must(r, l.Raise(r.ctx, 1_000_000_000))
	if token := r.acquire(b); token <= 1_000_000_000 {
		r.Errorf("token %d", token)
	}
	want(r, l.Raise(r.ctx, lock.MaxFloor+1), lock.ErrPermanent)
}

func wishes(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	want(r, l.Ask(r.ctx, "r", lock.Request{Token: 1, To: b.ID()}), lock.ErrMoved)
	token := r.acquire(a)
	must(r, l.Ask(r.ctx, "r", lock.Request{Token: token, To: b.ID()}))
	must(r, a.Release(r.ctx, "r", token))
	if v, _ := r.get("state/wish/r"); v != "" {
		r.Errorf("the wish is there: %s", v)
	}
	want(r, l.Ask(r.ctx, "r", lock.Request{Token: token, To: b.ID()}), lock.ErrMoved)
	token = r.acquire(a)
	must(r, l.Evict(r.ctx, a.ID(), r.now(l).Term.Holder.Beat, lock.End{By: "me", Why: "test"}))
	want(r, l.Ask(r.ctx, "r", lock.Request{Token: token, To: b.ID()}), lock.ErrMoved)
}

// doneContexts write nothing.
func doneContexts(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	token := r.acquire(a)
	state := func() string {
		all, err := r.hand.Get(r.ctx, r.prefix, clientv3.WithPrefix())
		must(r, err)
		text, err := json.Marshal(all.Kvs)
		must(r, err)
		return string(text)
	}
	before := state()
	done, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := l.Register(done, r.contender("b"), long)
	_, err2 := a.TryAcquire(done, "q")
	for _, err := range []error{
		err, err2, a.Beat(done), a.Release(done, "r", token), a.Handoff(done, "r", token, a.ID()), a.Close(done),
		l.Evict(done, a.ID(), 1, lock.End{By: "b"}), l.Ask(done, "r", lock.Request{Token: token}), l.Raise(done, 9),
	} {
		want(r, err, context.Canceled)
	}
	if after := state(); after != before {
		r.Errorf("%s\nbecame\n%s", before, after)
	}
	must(r, l.Close())
	if err := a.Beat(r.ctx); err == nil || errors.Is(err, lock.ErrLost) || errors.Is(err, lock.ErrPermanent) {
		r.Errorf("beat through a closed locker: %v", err)
	}
}

// manyRoles are released by one Close.
func manyRoles(r *rig) {
	const n = 1000
	l := r.locker()
	a := r.join(l, "a")
	role := func(i int) string { return "r" + string(rune('a'+i%26)) + strings.Repeat("x", i/26) }
	must(r, each(n, func(i int) error { _, err := a.TryAcquire(r.ctx, role(i)); return err }))
	begin := time.Now()
	must(r, a.Close(r.ctx))
	r.Logf("closed %d roles in %v", n, time.Since(begin).Round(time.Millisecond))
	vacant := 0
	for st, err := range l.Watch(r.ctx) {
		must(r, err)
		if st.Term.Over == "released" && st.Term.Token != 0 {
			vacant++
		}
		if vacant == n {
			break
		}
	}
}

// each calls f with 0 to n-1, 20 at once, and returns the first error.
func each(n int, f func(int) error) error {
	errs, slots := make(chan error, n), make(chan struct{}, 20)
	for i := range n {
		slots <- struct{}{}
		go func() {
			errs <- f(i)
			<-slots
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// janitor: what is not durable hangs on a lease, and the end of a session on the
// lease of its record.
func janitor(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	r.acquire(a)
	lease := func(key string) int64 {
		g, err := r.hand.Get(r.ctx, r.prefix+key)
		must(r, err)
		if len(g.Kvs) == 0 {
			return -1
		}
		return g.Kvs[0].Lease
	}
	session := lease("line/session/" + string(a.ID()))
	if session <= 0 || lease("line/claim/a") != session || lease("state/role/r") != 0 {
		r.Error("the session, its claim, or the role hang on the wrong lease")
	}
	must(r, a.Close(r.ctx))
	if got := lease("state/end/" + string(a.ID())); got != session {
		r.Errorf("the end hangs on %x, want %x", got, session)
	}
	r.revoke("line/session/" + string(b.ID()))
	must(r, b.Close(r.ctx))
	if got := lease("state/end/" + string(b.ID())); got <= 0 {
		r.Errorf("the end hangs on %d", got)
	}

	// Every fourth beat keeps the lease alive, and no other.
	c, before := r.join(l, "c"), r.renewals()
	for range 3 {
		must(r, c.Beat(r.ctx))
	}
	if n := r.renewals(); n != before {
		r.Errorf("%d renewals by three beats", n-before)
	}
	must(r, c.Beat(r.ctx))
	for r.renewals() == before && r.ctx.Err() == nil { // it is on its way: no beat waits for it
	}
	must(r, r.ctx.Err())
}

// renewals is how many renewals of leases the server counts.
func (r *rig) renewals() (n int) {
	res, err := http.Get("http://" + r.Members[0].Addr() + "/metrics")
	must(r, err)
	text, err := io.ReadAll(res.Body)
	must(r, errors.Join(err, res.Body.Close()))
	_, rest, _ := strings.Cut(string(text), "\netcd_debugging_lease_renewed_total ")
	_, err = fmt.Sscan(rest, &n)
	must(r, err)
	http.DefaultClient.CloseIdleConnections()
	return n
}
