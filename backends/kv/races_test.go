package kv_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// A race is a case: a holds role r with token, b stands by, and so does c. Between what a's
// Locker has read and its next commit, something else happens.
type race struct {
	*rig
	between func() // the next time; nil: nothing
	ours    lock.Locker
	others  lock.Locker
	a, b, c lock.Session // c is the others'
	token   lock.Token
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
		{"acquire, and another does", func(r *race) { r.acquire(r.c) }, r1(acquire), lock.ErrMoved, holds("c")},
		{"acquire, and another took and left", func(r *race) { r.must(r.c.Release(r.ctx, "r", r.acquire(r.c))) }, r1(acquire), lock.ErrMoved, free},
		{
			"acquire, and the floor is raised", func(r *race) { r.must(r.others.Raise(r.ctx, 1<<40)) }, r1(acquire), nil,
			func(_ *race, st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Token > 1<<40 },
		},
		{"acquire, and one is evicted", func(r *race) { r.end(r.b) }, r1(acquire), lock.ErrLost, free},
		{"acquire, and an earlier try did", func(r *race) { r.acquire(r.b) }, r1(acquire), nil, holds("b")},
		{"acquire, and the end is swept, which stands in the role's record too", func(r *race) { r.remove("state/end/a-1") }, func(r *race) error {
			r.quietly(func() {
				r.acquire(r.a)
				r.end(r.a)
			})
			return acquire(r)
		}, nil, holds("b")},

		{"release, and it was handed over", func(r *race) { r.must(r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, release, nil, holds("c")},
		{"release, and the record is deleted", func(r *race) { r.remove("state/role/r") }, release, nil, free},

		{"close, and it was handed over", func(r *race) { r.must(r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, closing, nil, holds("c")},
		{"close, and one of two roles was handed over", func(r *race) { r.must(r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, func(r *race) error {
			r.quietly(func() {
				_, err := r.a.TryAcquire(r.ctx, "q")
				r.must(err)
			})
			return closing(r)
		}, nil, func(r *race, st lock.Standing) bool { return holds("c")(r, st) && r.now(r.others, "q").Term.Over != "" }},
		{"close, and one is evicted", func(r *race) { r.end(r.a) }, closing, nil, free},
		{"close, and one beats", func(r *race) { r.must(r.a.Beat(r.ctx)) }, closing, nil, free},

		{"evict, and it beats", func(r *race) { r.must(r.a.Beat(r.ctx)) }, evict, lock.ErrMoved, holds("a")},
		{"evict, and it ends", func(r *race) { r.must(r.a.Close(r.ctx)) }, evict, nil, free},
		{"evict, and its lease is revoked", func(r *race) { r.revoke("line/session/a-1") }, evict, lock.ErrMoved, holds("a")},
		{"evict, and its claim is another's", func(r *race) { r.put("line/claim/a", `{"Format":2,"Session":"x"}`) }, evict, nil, free},

		{"register, and another does", func(r *race) { r.enlist(r.others, "d") }, register, lock.ErrHeld, holds("a")},
		{"register over a claim that is void, and another does", func(r *race) { r.enlist(r.others, "d") }, func(r *race) error {
			r.put("line/claim/d", `{"Format":2,"Session":"gone"}`)
			return register(r)
		}, lock.ErrHeld, holds("a")},
		{"register, and its end is written", func(r *race) {
			r.must(r.others.Evict(r.ctx, "d-2", lock.Absent, lock.End{By: "them", Why: "test"}))
		}, register, lock.ErrLost, holds("a")},
		{"register, and an earlier try did", func(r *race) {
			_, err := r.others.Register(r.ctx, lock.Contender{ID: "d", Session: "d-2"}, lab.Long)
			r.must(err)
		}, register, nil, holds("a")},

		{"ask, and the term ends", func(r *race) { r.must(r.a.Release(r.ctx, "r", r.token)) }, ask, lock.ErrMoved, free},
		{"ask, and the holder is evicted", func(r *race) { r.end(r.a) }, ask, lock.ErrMoved, free},
	}
}

func racesOfRaises() []raceCase {
	return []raceCase{
		{
			"raise, and others raise less high", func(r *race) { r.must(r.others.Raise(r.ctx, 1<<30)) }, func(r *race) error { return r.ours.Raise(r.ctx, 1<<40) }, nil,
			func(r *race, st lock.Standing) bool { return st.Floor == 1<<40 },
		},
		{
			"raise, and others raise higher", func(r *race) { r.must(r.others.Raise(r.ctx, 1<<50)) }, func(r *race) error { return r.ours.Raise(r.ctx, 1<<40) }, nil,
			func(r *race, st lock.Standing) bool { return st.Floor == 1<<50 },
		},
	}
}

// handoffRaces are what comes between the reading and the commit of a handoff.
func handoffRaces() []raceCase {
	return []raceCase{
		{"handoff, and the successor ends", func(r *race) { r.must(r.b.Close(r.ctx)) }, handoff, lock.ErrGone, holds("a")},
		{"handoff, and the owner is evicted", func(r *race) { r.end(r.a) }, handoff, lock.ErrMoved, free},
		{"handoff, and the owner's record is deleted", func(r *race) { r.remove("line/session/a-1") }, handoff, lock.ErrLost, holds("a")},
		{"handoff, and another try of it", func(r *race) { r.must(r.a.Handoff(r.ctx, "r", r.token, r.b.ID())) }, handoff, nil, holds("b")},
		{"handoff, and it goes to another", func(r *race) { r.must(r.a.Handoff(r.ctx, "r", r.token, r.c.ID())) }, handoff, lock.ErrMoved, holds("c")},
		{"handoff, and the successor beats", func(r *race) { r.must(r.b.Beat(r.ctx)) }, handoff, nil, holds("b")},
		{
			"handoff, and the floor is raised", func(r *race) { r.must(r.others.Raise(r.ctx, 1<<40)) }, handoff, nil,
			func(r *race, st lock.Standing) bool { return st.Term.Token > 1<<40 && st.Term.Holder.ID == "b" },
		},
	}
}

// decisionRaces are what an operator does in between.
func decisionRaces() []raceCase {
	return []raceCase{
		{"ask, and the role is paused", func(r *race) { r.must(r.pause("them")) }, ask, lock.ErrMoved, holds("a")},
		{"acquire, and the role is paused", func(r *race) { r.must(r.pause("them")) }, r1(acquire), lock.ErrMoved, free},
		{"acquire, and the role is paused and resumed", func(r *race) { r.must(errors.Join(r.pause("them"), r.pause(""))) }, r1(acquire), nil, holds("b")},
		{"acquire in a pause, and the holder's end is there", func(r *race) { r.end(r.a) }, func(r *race) error {
			r.quietly(func() { r.must(r.pause("them")) })
			return acquire(r)
		}, lock.ErrMoved, free},
		{"handoff, and the role is paused", func(r *race) { r.must(r.pause("them")) }, handoff, lock.ErrGone, holds("a")},
		{"handoff, and the role is paused and resumed", func(r *race) { r.must(errors.Join(r.pause("them"), r.pause(""))) }, handoff, nil, holds("b")},
		{
			"pause, and another does", func(r *race) { r.must(r.pause("them")) }, func(r *race) error {
				return r.ours.(lock.Operator).Pause(r.ctx, "r", lock.Pause{By: "us"})
			}, nil, func(_ *race, st lock.Standing) bool { return st.Pause.By == "us" },
		},
		{
			"record, and another does", func(r *race) { r.must(r.record(r.others, 1)) }, func(r *race) error { return r.record(r.ours, 2) }, nil,
			func(r *race, _ lock.Standing) bool {
				all, err := r.ours.(lock.Operator).History(r.ctx, "r")
				return err == nil && len(all) == 2 && all[0].Token == 1 && all[1].Token == 2
			},
		},
	}
}

// TestRaces: what a call compares is what it read, whoever comes in between.
func TestRaces(t *testing.T) {
	for _, test := range slices.Concat(races(), racesOfRaises(), handoffRaces(), decisionRaces()) {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(rig *rig) {
				r := newRace(rig)
				r.between = func() { test.between(r) }
				if err := test.call(r); !errors.Is(err, test.want) || test.want == nil && err != nil {
					r.Errorf("got %v, want %v", err, test.want)
				}
				if r.between != nil {
					r.Error("nothing was committed: there was no race")
				}
				if st := r.now(r.others, "r"); !test.then(r, st) {
					r.Errorf("then %+v", st)
				}
			})
		})
	}
}

func newRace(rig *rig) *race {
	r := &race{rig: rig, others: rig.locker()}
	ours, client := rig.wired()
	r.ours = ours
	client.On(func(c kvmem.Call) kvmem.Fault {
		do := r.between
		if c.Name != "Commit" || do == nil {
			return kvmem.Fault{}
		}
		r.between = nil
		return kvmem.Fault{Before: func(context.Context) error { do(); return nil }}
	})
	r.a, r.b, r.c = r.enlist(r.ours, "a"), r.enlist(r.ours, "b"), r.enlist(r.others, "c")
	r.token = r.acquire(r.a)
	return r
}

// enlist joins under a session ID that a case can name.
func (r *race) enlist(l lock.Locker, id string) lock.Session {
	s, err := l.Register(r.ctx, lock.Contender{ID: id, Session: lock.SessionID(id + "-1")}, lab.Long, lock.Bid{Role: "r"})
	r.must(err)
	return s
}

// end ends a session by whatever beat it has, for one who has read the line: so its end is
// written into the records of its roles too.
func (r *race) end(s lock.Session) {
	r.now(r.others, "r")
	r.must(r.others.Evict(r.ctx, s.ID(), lock.AnyBeat, lock.End{By: "them", Why: "test"}))
}

// pause pauses role r, by somebody else; by nobody: it resumes it.
func (r *race) pause(by string) error {
	return r.others.(lock.Operator).Pause(r.ctx, "r", lock.Pause{By: by})
}

func (r *race) record(l lock.Locker, t lock.Token) error {
	return l.(lock.Operator).Record(r.ctx, "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Began, Token: t})
}

// quietly does what is not part of the race.
func (r *race) quietly(f func()) {
	between := r.between
	r.between = nil
	f()
	r.between = between
}

// r1 is a call that finds the role released.
func r1(call func(*race) error) func(*race) error {
	return func(r *race) error {
		r.quietly(func() {
			r.must(r.a.Release(r.ctx, "r", r.token))
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
	return r.ours.Evict(r.ctx, r.a.ID(), r.now(r.others, "r").Term.Holder.Beat, lock.End{By: "us", Why: "test"})
}

func register(r *race) error {
	_, err := r.ours.Register(r.ctx, lock.Contender{ID: "d", Session: "d-2"}, lab.Long)
	return err
}

func free(_ *race, st lock.Standing) bool { return st.Term.Vacant() && st.Term.Token != 0 }

func holds(id string) func(*race, lock.Standing) bool {
	return func(_ *race, st lock.Standing) bool { return !st.Term.Vacant() && st.Term.Holder.ID == id }
}
