package conformance

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// tokenIncreases goes through 1,000 terms: acquired and released, handed over,
// ended with their session.
func tokenIncreases(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(t.open(), "b", role)
	var last lock.Token
	term := func(s lock.Session) lock.Token {
		token := t.acquire(s, role)
		if token <= last {
			t.fatalf("token %d after %d", token, last)
		}
		last = token
		return token
	}
	for i := 0; i < 1000; i += 4 {
		t.release(a, role, term(a))
		token := term(b)
		t.must("hand off", func(ctx context.Context) error { return b.Handoff(ctx, role, token, a.ID()) })
		t.release(a, role, term(a))
		if i%20 == 0 { // on a busy machine 1,000 terms may outlast a store's lease
			t.beat(a)
			t.beat(b)
		}
		if i%100 == 0 {
			term(b)
			t.end(b)
			b = t.join(l, "b", role)
		}
	}
}

func tokenUnmoved(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	b := t.join(l, "b", role)
	token := t.acquire(a, role)
	before := t.look(l, role).Term
	t.together(5, func(i int) {
		for range 5 {
			t.beat(a)
			t.beat(b)
		}
	})
	t.must("change the bids", func(ctx context.Context) error {
		return a.Beat(ctx, lock.Bid{Role: role, Priority: 3}, lock.Bid{Role: t.named("s")})
	})
	after := t.look(l, role).Term
	if after.Token != token || !after.Since.Equal(before.Since) || after.Vacant() || after.Holder.Session != a.ID() {
		t.errorf("after some beats the term is %+v, before them it was %+v", after, before)
	}
	if again := t.acquire(a, role); again != token {
		t.errorf("after some beats the token is %d, before them it was %d", again, token)
	}
}

func tokenRaised(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(t.open(), "b", role)
	token := t.acquire(a, role)
	floor := token + 1_000_000
	raise := func(above lock.Token) {
		t.must("raise", func(ctx context.Context) error { return l.Raise(ctx, above) })
	}
	raise(floor)
	if st := t.look(l, role); st.Floor < floor || st.Term.Token != token || st.Term.Vacant() {
		t.errorf("after the floor was raised to %d: floor %d, term %+v, want the floor raised and the term to stand", floor, st.Floor, st.Term)
	}
	t.want(lock.ErrPermanent, "raise above the limit", func(ctx context.Context) error { return l.Raise(ctx, lock.MaxFloor+1) })
	t.beat(a)
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) })
	handed := t.acquire(b, role)
	if handed <= floor {
		t.errorf("the token of a handoff is %d, want more than %d", handed, floor)
	}
	t.release(b, role, handed)
	for i, above := range []lock.Token{token, 0, floor - 1, floor} { // none of these lowers anything
		raise(above)
		next := t.acquire(a, role)
		if next <= floor || next <= handed {
			t.errorf("the token after Raise(%d) is %d, want more than %d and %d", above, next, floor, handed)
		}
		handed = next
		t.release(a, role, next)
		other := t.named(fmt.Sprint(i))
		first := t.acquire(a, other)
		if first <= floor {
			t.errorf("the first token of another role is %d, want more than %d", first, floor)
		}
		t.release(a, other, first)
	}
}

func tokenRestart(t *trial) {
	role, held := t.named("r"), t.named("held")
	l := t.open()
	a := t.join(l, "a", role, held)
	last, stays := lock.Token(0), t.acquire(a, held)
	for range 3 {
		token := t.acquire(a, role)
		if token <= last {
			t.errorf("token %d after %d, which was given before a restart", token, last)
		}
		last = token
		t.release(a, role, token)
		t.disturb("restart", t.store.Restart)
		if again := t.acquire(a, held); again != stays {
			t.errorf("the token of a term that stands was %d and is %d after a restart", stays, again)
		}
		t.beat(a)
	}
	t.await(t.open(), held, "the term that was held all along", holds(stays))
	t.must("raise", func(ctx context.Context) error { return l.Raise(ctx, last+1_000_000) })
	t.disturb("restart", t.store.Restart)
	if token := t.acquire(a, role); token <= last+1_000_000 {
		t.errorf("token %d after the floor was raised to %d and a restart", token, last+1_000_000)
	}
}

func tokenRoleDeleted(t *trial) {
	role := t.named("r")
	l := t.open()
	a := t.join(l, "a", role)
	var last lock.Token
	for i := range 3 {
		token := t.acquire(a, role)
		if token <= last {
			t.errorf("token %d after %d, which the deleted record named", token, last)
		}
		last = token
		held := i%2 == 1
		if !held {
			t.release(a, role, token)
		}
		t.must("delete the role's record", func(ctx context.Context) error { return t.store.DeleteRole(ctx, role) })
		t.await(l, role, "no term", func(st lock.Standing) bool { return st.Term.Token == 0 })
		if held { // a holder that is well learns of it, and stops
			t.release(a, role, token)
		}
	}
}
