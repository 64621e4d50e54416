package conformance

import (
	"context"

	"github.com/understudy-ha/understudy/lock"
)

func evictMoved(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	s := t.join(near, "a", role)
	token := t.acquire(s, role)
	seen := beatOf(t.look(near, role), s.ID())
	t.beat(s)
	for _, beat := range []lock.Beat{seen, lock.Absent, seen + 1_000_000} {
		t.want(lock.ErrMoved, "evict on a beat that is not there", func(ctx context.Context) error {
			return far.Evict(ctx, s.ID(), beat, lock.End{By: "the suite", Why: "by mistake"})
		})
	}
	t.beat(s)
	if st := t.look(near, role); !holds(token)(st) {
		t.errorf("an eviction that failed ended the term: %+v", st.Term)
	}
}

func evictAgain(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	s := t.join(near, "a", role)
	token := t.acquire(s, role)
	why := t.evict(far, role, s.ID())
	st := t.look(far, role)
	if st.Term.End != why || st.Term.Token != token || st.Term.Holder.Session != s.ID() {
		t.errorf("the term is %+v, want the end %+v of term %d", st.Term, why, token)
	}
	for _, beat := range []lock.Beat{lock.Absent, st.Term.Holder.Beat, 12345} {
		t.must("evict once more", func(ctx context.Context) error {
			return near.Evict(ctx, s.ID(), beat, lock.End{By: "another", Why: "too late"})
		})
	}
	if end := t.look(near, role).Term.End; end != why {
		t.errorf("the end is %+v, want the first one: %+v", end, why)
	}
	closed := t.join(near, "b", role)
	t.end(closed)
	t.must("evict what was closed", func(ctx context.Context) error {
		return far.Evict(ctx, closed.ID(), 12345, why)
	})
}

// evictAny ends a session while beats of it arrive, and one before it is registered.
func evictAny(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	dead := lock.End{By: "the suite", Why: "its process is dead"}
	t.together(2, func(i int) {
		if i == 0 {
			t.must("evict on any beat", func(ctx context.Context) error { return far.Evict(ctx, a.ID(), lock.AnyBeat, dead) })
			return
		}
		for range 20 {
			if t.one(func(ctx context.Context) error { return a.Beat(ctx) }) != nil {
				return
			}
		}
	})
	t.want(lock.ErrLost, "beat after the eviction", func(ctx context.Context) error { return a.Beat(ctx) })
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
	late := t.contender("late")
	t.must("evict what is not there", func(ctx context.Context) error { return far.Evict(ctx, late.Session, lock.AnyBeat, dead) })
	t.want(lock.ErrLost, "register what was evicted", func(ctx context.Context) error {
		_, err := near.Register(ctx, late, t.promise(), lock.Bid{Role: role})
		return err
	})
}

func evictAbsent(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	seen := beatOf(t.look(near, role), a.ID())
	t.must("delete the session's record", func(ctx context.Context) error { return t.store.DeleteSession(ctx, a.ID()) })
	st := t.await(far, role, "the absence", func(st lock.Standing) bool { return st.Term.Token == token && st.Term.Holder.Beat == lock.Absent })
	if st.Term.Vacant() || st.Term.Holder.Promise != t.promise() || st.Term.Holder.Session != a.ID() {
		t.errorf("the term of a session whose record was deleted is %+v, want it to stand with the role's promise", st.Term)
	}
	t.want(lock.ErrLost, "beat without a record", func(ctx context.Context) error { return a.Beat(ctx) })
	t.expect(t.refused(b, role), lock.ErrHeld, "acquire from the absent")
	end := lock.End{By: "the suite", Why: "absent for long"}
	t.want(lock.ErrMoved, "evict on the last beat", func(ctx context.Context) error { return far.Evict(ctx, a.ID(), seen, end) })
	t.must("evict on the absence", func(ctx context.Context) error { return far.Evict(ctx, a.ID(), lock.Absent, end) })
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
}
