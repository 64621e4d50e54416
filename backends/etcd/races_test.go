package etcd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// A meddler is a real store in which something else happens between what a call
// reads and what it commits.
type meddler struct {
	kv.Store
	between func() // the next time; nil: nothing
}

func (m *meddler) Commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	if do := m.between; do != nil {
		m.between = nil
		do()
	}
	return m.Store.Commit(ctx, t)
}

// A race is a case: a holds role r with token, b stands by, and so does c. What a
// does goes through the meddler.
type race struct {
	*testing.T
	ctx     context.Context
	meddler *meddler
	ours    lock.Locker // through the meddler
	others  lock.Locker
	prefix  string
	hand    *clientv3.Client
	a, b, c lock.Session
	token   lock.Token
}

func (r *race) join(l lock.Locker, id string) lock.Session {
	s, err := l.Register(r.ctx, lock.Contender{ID: id, Session: lock.SessionID(id + "-1")}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
	must(r, err)
	return s
}

func (r *race) now(role string) lock.Standing {
	for st, err := range r.others.Watch(r.ctx, role) {
		must(r, err)
		return st
	}
	r.Fatal("no standing")
	return lock.Standing{}
}

// end ends a session by whatever beat it has.
func (r *race) end(s lock.Session) {
	st := r.now("r")
	beat := st.Term.Holder.Beat
	for _, m := range st.Line {
		if m.Session == s.ID() {
			beat = m.Beat
		}
	}
	must(r, r.others.Evict(r.ctx, s.ID(), beat, lock.End{By: "them", Why: "test"}))
}

func (r *race) remove(key string) {
	_, err := r.hand.Delete(r.ctx, r.prefix+key)
	must(r, err)
}

// A raceCase is what happens between, what the call then says, and how the role
// then stands.
type raceCase struct {
	name    string
	between func(*race)
	call    func(*race) error
	want    error
	then    func(*race, lock.Standing) bool
}

func races() []raceCase {
	return []raceCase{
		{"acquire, and another does", func(r *race) { r.take(r.c) }, r1(acquire), lock.ErrMoved, holds("c")},
		{"acquire, and another took and left", func(r *race) { must(r, r.c.Release(r.ctx, "r", r.take(r.c))) }, r1(acquire), lock.ErrMoved, free},
		{
			"acquire, and the floor is raised", func(r *race) { must(r, r.others.Raise(r.ctx, 1<<40)) }, r1(acquire), nil,
			func(_ *race, st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Token > 1<<40 },
		},
		{"acquire, and one is evicted", func(r *race) { r.end(r.b) }, r1(acquire), lock.ErrLost, free},
		{"acquire, and an earlier try did", func(r *race) { r.take(r.b) }, r1(acquire), nil, holds("b")},
		{"acquire, and the end is swept, which stands in the role's record too", func(r *race) { r.remove("state/end/a-1") }, func(r *race) error {
			r.quietly(func() {
				r.take(r.a)
				r.end(r.a)
			})
			return acquire(r)
		}, nil, holds("b")},

		{"handoff, and the successor ends", func(r *race) { must(r, r.b.Close(r.ctx)) }, handoff, lock.ErrGone, holds("a")},
		{"handoff, and the owner is evicted", func(r *race) { r.end(r.a) }, handoff, lock.ErrMoved, free},
		{"handoff, and the owner's record is deleted", func(r *race) { r.remove("line/session/a-1") }, handoff, lock.ErrLost, holds("a")},
		{"handoff, and another try of it", func(r *race) { must(r, r.a.Handoff(r.ctx, "r", r.token, r.b.ID())) }, handoff, nil, holds("b")},
		{"handoff, and it goes to another", func(r *race) { must(r, r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, handoff, lock.ErrMoved, holds("c")},
		{"handoff, and the successor beats", func(r *race) { must(r, r.b.Beat(r.ctx)) }, handoff, nil, holds("b")},
		{
			"handoff, and the floor is raised", func(r *race) { must(r, r.others.Raise(r.ctx, 1<<40)) }, handoff, nil,
			func(r *race, st lock.Standing) bool { return st.Term.Token > 1<<40 && st.Term.Holder.ID == "b" },
		},

		{"release, and it was handed over", func(r *race) { must(r, r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, release, nil, holds("c")},
		{"release, and the record is deleted", func(r *race) { r.remove("state/role/r") }, release, nil, free},

		{"close, and it was handed over", func(r *race) { must(r, r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, closing, nil, holds("c")},
		{"close, and one of two roles was handed over", func(r *race) { must(r, r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, func(r *race) error {
			r.quietly(func() {
				_, err := r.a.TryAcquire(r.ctx, "q")
				must(r, err)
			})
			return closing(r)
		}, nil, func(r *race, st lock.Standing) bool { return holds("c")(r, st) && r.now("q").Term.Over != "" }},
		{"close, and one is evicted", func(r *race) { r.end(r.a) }, closing, nil, free},
		{"close, and one beats", func(r *race) { must(r, r.a.Beat(r.ctx)) }, closing, nil, free},

		{"evict, and it beats", func(r *race) { must(r, r.a.Beat(r.ctx)) }, evict, lock.ErrMoved, holds("a")},
		{"evict, and it ends", func(r *race) { must(r, r.a.Close(r.ctx)) }, evict, nil, free},
		{"evict, and its lease is revoked", func(r *race) { r.revoke("line/session/a-1") }, evict, lock.ErrMoved, holds("a")},
		{"evict, and its claim is another's", func(r *race) { r.put("line/claim/a", `{"Format":2,"Session":"x"}`) }, evict, nil, free},

		{"register, and another does", func(r *race) { r.join(r.others, "d") }, register, lock.ErrHeld, holds("a")},
		{"register over a claim that is void, and another does", func(r *race) { r.join(r.others, "d") }, func(r *race) error {
			r.put("line/claim/d", `{"Format":2,"Session":"gone"}`)
			return register(r)
		}, lock.ErrHeld, holds("a")},
		{"register, and its end is written", func(r *race) {
			must(r, r.others.Evict(r.ctx, "d-2", lock.Absent, lock.End{By: "them", Why: "test"}))
		}, register, lock.ErrLost, holds("a")},
		{"register, and an earlier try did", func(r *race) {
			_, err := r.others.Register(r.ctx, lock.Contender{ID: "d", Session: "d-2"}, lock.Promise{TTL: time.Minute})
			must(r, err)
		}, register, nil, holds("a")},

		{
			"raise, and others raise higher", func(r *race) { must(r, r.others.Raise(r.ctx, 1<<50)) }, func(r *race) error { return r.ours.Raise(r.ctx, 1<<40) }, nil,
			func(r *race, st lock.Standing) bool { return st.Floor == 1<<50 },
		},
		{"ask, and the term ends", func(r *race) { must(r, r.a.Release(r.ctx, "r", r.token)) }, ask, lock.ErrMoved, free},
		{"ask, and the holder is evicted", func(r *race) { r.end(r.a) }, ask, lock.ErrMoved, free},
	}
}

// TestRaces: what a call compares is what it read, whoever comes in between.
func TestRaces(t *testing.T) {
	c := cluster(t, 1, servers.Options{})
	config := Config{Endpoints: endpoints(c)}
	hand := raw(t, clientv3.Config{Endpoints: endpoints(c)})
	for _, test := range races() {
		t.Run(test.name, func(t *testing.T) {
			prefix := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(test.name)
			r := &race{T: t, ctx: timeout(t, 20*time.Second), meddler: &meddler{Store: newStore(config)}, prefix: prefix + "/", hand: hand}
			r.ours = kv.NewLocker(r.meddler, prefix)
			t.Cleanup(func() { must(t, r.ours.Close()) })
			config := config
			config.Prefix = prefix
			r.others = open(t, config)
			r.a, r.b, r.c = r.join(r.ours, "a"), r.join(r.ours, "b"), r.join(r.others, "c")
			r.token = r.take(r.a)
			r.meddler.between = func() { test.between(r) }
			if err := test.call(r); !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if st := r.now("r"); !test.then(r, st) {
				t.Errorf("then %+v", st)
			}
		})
	}
}

func (r *race) take(s lock.Session) lock.Token {
	r.Helper()
	token, err := s.TryAcquire(r.ctx, "r")
	must(r, err)
	return token
}

// quietly does what is no part of the race.
func (r *race) quietly(f func()) {
	between := r.meddler.between
	r.meddler.between = nil
	f()
	r.meddler.between = between
}

func (r *race) put(key, value string) {
	_, err := r.hand.Put(r.ctx, r.prefix+key, value)
	must(r, err)
}

func (r *race) revoke(key string) {
	g, err := r.hand.Get(r.ctx, r.prefix+key)
	must(r, err)
	_, err = r.hand.Revoke(r.ctx, clientv3.LeaseID(g.Kvs[0].Lease))
	must(r, err)
}

// r1 is a call that finds the role released.
func r1(call func(*race) error) func(*race) error {
	return func(r *race) error {
		r.quietly(func() {
			must(r, r.a.Release(r.ctx, "r", r.token))
		})
		return call(r)
	}
}

func acquire(r *race) error { _, err := r.b.TryAcquire(r.ctx, "r"); return err }
func handoff(r *race) error { return r.a.Handoff(r.ctx, "r", r.token, r.b.ID()) }
func release(r *race) error { return r.a.Release(r.ctx, "r", r.token) }
func closing(r *race) error { return r.a.Close(r.ctx) }
func ask(r *race) error     { return r.ours.Ask(r.ctx, "r", lock.Request{Token: r.token}) }

func evict(r *race) error {
	return r.ours.Evict(r.ctx, r.a.ID(), r.now("r").Term.Holder.Beat, lock.End{By: "us", Why: "test"})
}

func register(r *race) error {
	_, err := r.ours.Register(r.ctx, lock.Contender{ID: "d", Session: "d-2"}, lock.Promise{TTL: time.Minute})
	return err
}

func free(_ *race, st lock.Standing) bool { return st.Term.Vacant() && st.Term.Token != 0 }

func holds(id string) func(*race, lock.Standing) bool {
	return func(_ *race, st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Holder.ID == id }
}
