package conformance

import (
	"context"
	"errors"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

func releaseAgain(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	for range 3 {
		t.release(a, role, token)
		if st := t.look(l, role); !st.Term.Vacant() || st.Term.Over == "" || st.Term.Token != token {
			t.errorf("after its release the term is %+v", st.Term)
		}
	}
	t.beat(a) // the session goes on
	next := t.acquire(b, role)
	for range 3 {
		t.release(a, role, token)
	}
	if st := t.look(l, role); !holds(next)(st) {
		t.errorf("a release of an earlier term ended the term %d: %+v", next, st.Term)
	}
	t.release(a, t.named("never"), token)
}

// releaseByAnother releases a role from a session that does not hold it: nil would say that the
// term is over.
func releaseByAnother(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(t.open(), "b", role)
	token := t.acquire(a, role)
	release := func(s lock.Session, token lock.Token) error {
		return t.known("release", func(ctx context.Context) error { return s.Release(ctx, role, token) })
	}
	var held *lock.HeldError
	if err := release(b, token); !errors.As(err, &held) {
		t.errorf("release another's term, which stands: %s, want a *lock.HeldError", outcome(err))
	} else if held.Name != role || held.Holder.Session != a.ID() || held.Token != token {
		t.errorf("the error says %+v, want session %q and token %d", held, a.ID(), token)
	}
	t.expect(release(a, token+1_000_000), nil, "release a term that never was")
	t.expect(release(a, 0), nil, "release no term")
	if st := t.look(l, role); !holds(token)(st) || st.Term.Holder.Session != a.ID() {
		t.errorf("another's release ended the term: %+v", st.Term)
	}
	t.evict(l, role, a.ID())
	t.expect(release(b, token), nil, "release another's term after its session's end")
	token = t.acquire(b, role)
	t.release(b, role, token)
	t.expect(release(a, token), nil, "release another's term after its release")
}

// releaseLate has a release arrive in a later term of the same session.
func releaseLate(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	first := t.acquire(a, role)
	t.release(a, role, first)
	t.settle(b, role)
	second := t.acquire(a, role)
	t.release(a, role, first)
	if st := t.look(l, role); !holds(second)(st) {
		t.errorf("a late release of term %d ended term %d of the same session: %+v", first, second, st.Term)
	}
	if again := t.acquire(a, role); again != second {
		t.errorf("a late release changed the token from %d to %d", second, again)
	}
}

func releaseAfterEnd(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	token := t.acquire(a, role)
	t.evict(l, role, a.ID())
	t.release(a, role, token)
	b := t.join(l, "b", role)
	next := t.acquire(b, role)
	t.release(a, role, token)
	t.end(a)
	if st := t.look(l, role); !holds(next)(st) {
		t.errorf("what a session that has ended released was another's term: %+v", st.Term)
	}
}

func releaseAbsent(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	t.must("delete the session's record", func(ctx context.Context) error { return t.store.DeleteSession(ctx, a.ID()) })
	t.release(a, role, token)
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
}

func handoffOneCommit(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	f := t.follow(far, role)
	f.until("the first term", role, holds(token))
	for range 10 {
		t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) })
		st := t.await(near, role, "the successor's term", func(st lock.Standing) bool { return st.Term.Token > token })
		if st.Term.Holder.Session != b.ID() || st.Term.Vacant() || st.Term.Holder.Promise != t.promise() {
			t.fatalf("after the handoff of term %d the term is %+v", token, st.Term)
		}
		if got := t.acquire(b, role); got != st.Term.Token {
			t.errorf("the successor is granted token %d, and the store names %d", got, st.Term.Token)
		}
		token = st.Term.Token
		f.until("the handoff", role, holds(token))
		a, b = b, a
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(f.seen, func(st lock.Standing) bool { return st.Term.Token != 0 && vacant(st) }); i >= 0 {
		t.errorf("between two terms of a handoff the role was seen vacant: %+v", f.seen[i].Term)
	}
}

func handoffAgain(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	hand := func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) }
	t.must("hand off", hand)
	next := t.look(l, role).Term.Token
	for range 3 {
		t.must("hand off once more", hand)
		if now := t.look(l, role).Term; now.Token != next || now.Holder.Session != b.ID() {
			t.errorf("a handoff that was repeated began another term: %d, then %+v", next, now)
		}
	}
	if token := t.acquire(b, role); token != next {
		t.errorf("the successor's token is %d, want %d", token, next)
	}
}

func handoffGone(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b, c := t.join(l, "a", role), t.join(l, "b", role), t.join(l, "c", role)
	token := t.acquire(a, role)
	t.end(b)
	t.evict(l, role, c.ID())
	for _, to := range []lock.SessionID{b.ID(), c.ID(), nonce()} {
		t.want(lock.ErrGone, "hand off to a session that is not there", func(ctx context.Context) error { return a.Handoff(ctx, role, token, to) })
		if st := t.look(l, role); !holds(token)(st) || st.Term.Holder.Session != a.ID() {
			t.fatalf("a handoff to nobody changed the term: %+v", st.Term)
		}
	}
	d := t.join(l, "d", role)
	t.must("hand off to a session that is there", func(ctx context.Context) error { return a.Handoff(ctx, role, token, d.ID()) })
}

// handoffMoved makes handoffs after their term is over: released, handed over to another, or long
// past.
func handoffMoved(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b, c := t.join(l, "a", role), t.join(l, "b", role), t.join(l, "c", role)
	refused := func(when string, s lock.Session, token lock.Token, to lock.Session) {
		before := t.look(l, role).Term
		t.want(lock.ErrMoved, "hand off "+when, func(ctx context.Context) error { return s.Handoff(ctx, role, token, to.ID()) })
		if after := t.look(l, role).Term; after.Token != before.Token || after.Vacant() != before.Vacant() {
			t.errorf("a handoff %s changed the term from %+v to %+v", when, before, after)
		}
	}
	first := t.acquire(a, role)
	refused("by another than the holder", b, first, c)
	refused("of a term that never was", a, first+1, b)
	t.release(a, role, first)
	refused("after the release", a, first, b)
	second := t.acquire(a, role)
	refused("in a later term of the same session", a, first, b)
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, second, b.ID()) })
	refused("to another than the one it went to", a, second, c)
	t.release(b, role, t.acquire(b, role))
	t.settle(b, role)
	refused("long after", a, first, b)
}

func handoffLost(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	t.evict(l, role, a.ID())
	err := t.known("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) })
	if !errors.Is(err, lock.ErrMoved) && !errors.Is(err, lock.ErrLost) {
		t.errorf("a session that has ended hands off: %s, want ErrMoved or ErrLost", outcome(err))
	}
	if st := t.look(l, role); st.Term.Token != token || !st.Term.Vacant() {
		t.errorf("a session that has ended handed off: %+v", st.Term)
	}
}

func askSeen(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(near, "b", role)
	wish := lock.Request{Token: 1, To: b.ID(), By: "an operator"}
	ask := func(ctx context.Context) error { return far.Ask(ctx, role, wish) }
	t.want(lock.ErrMoved, "ask before there was a term", ask)
	wish.Token = t.acquire(a, role)
	f := t.follow(near, role)
	t.must("ask", ask)
	f.until("the wish", role, func(st lock.Standing) bool { return st.Request == wish && holds(wish.Token)(st) })
	t.beat(a)
	f.until("the wish after a beat", role, func(st lock.Standing) bool { return st.Request == wish })
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, wish.Token, b.ID()) })
	void := func(when string) {
		if st := t.look(near, role); st.Request.Token == st.Term.Token {
			t.errorf("the wish still stands %s: %+v", when, st)
		}
	}
	void("when it was done")
	t.want(lock.ErrMoved, "ask in a later term", ask)
	wish.Token = t.acquire(b, role)
	t.must("ask", ask)
	t.release(b, role, wish.Token)
	t.want(lock.ErrMoved, "ask after the release", ask)
	t.acquire(b, role)
	void("in the next term of the same session")
}

// askAnswered lets the session that is named in a request answer it: once or twice, and never in
// place of a later request.
func askAnswered(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b, c := t.join(near, "a", role), t.join(near, "b", role), t.join(near, "c", role)
	first := lock.Request{Token: t.acquire(a, role), To: b.ID(), By: "an operator"}
	second := first
	second.To = c.ID()
	ask := func(r lock.Request, answered bool) func(context.Context) error {
		r.Answered = answered
		return func(ctx context.Context) error { return far.Ask(ctx, role, r) }
	}
	t.want(lock.ErrMoved, "answer what nobody asked", ask(first, true))
	t.must("ask", ask(first, false))
	f := t.follow(near, role)
	t.must("answer", ask(first, true))
	f.until("the answer", role, func(st lock.Standing) bool { return st.Request.Unanswered() == first && st.Request.Answered })
	t.must("answer again", ask(first, true))
	t.must("ask for another", ask(second, false))
	t.want(lock.ErrMoved, "answer the wish before", ask(first, true))
	f.until("the second wish", role, func(st lock.Standing) bool { return st.Request == second })
	t.must("answer the second", ask(second, true))
	t.release(a, role, first.Token)
	t.want(lock.ErrMoved, "answer after the term", ask(second, true))
}
