package conformance

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/understudy-ha/understudy/lock"
)

// intent is that of a contender to fence whoever has the role, as it stands.
func (t *trial) intent(st lock.Standing, by string) lock.Fence {
	return lock.Fence{Token: st.Term.Token, Beat: st.Term.Holder.Beat, By: t.named(by), Session: lock.SessionID(t.named(by)), At: when}
}

// fenceCall is the call that writes an intent.
func (t *trial) fenceCall(l *Client, role string, f lock.Fence) func(ctx context.Context) error {
	op := t.operator(l)
	return func(ctx context.Context) error { return op.Fence(ctx, role, f) }
}

// isFenced reports whether a standing shows an intent; the zero one: none.
func isFenced(f lock.Fence) func(lock.Standing) bool {
	return func(st lock.Standing) bool {
		got := st.Fence
		return got.Same(f) && got.By == f.By && got.Token == f.Token && got.At.Equal(f.At)
	}
}

// intend writes an intent about the last beat, which may show late.
func (t *trial) intend(l *Client, role, by string) lock.Fence {
	for range 100 {
		st := t.await(l, role, "who has it", func(st lock.Standing) bool { return !vacant(st) && st.Term.Holder.Beat != lock.Absent })
		f := t.intent(st, by)
		err := t.known("fence", t.fenceCall(l, role, f))
		if err == nil {
			return f
		}
		t.expect(err, lock.ErrMoved, "an intent about a beat that may have been followed by another")
		t.pause(t.passing())
	}
	t.fatalf("no intent of %s can be written", by)
	return lock.Fence{}
}

// nextBeat has a session beat, and waits until that is shown.
func (t *trial) nextBeat(l *Client, s lock.Session, role string) lock.Standing {
	seen := t.await(l, role, "who has it", func(st lock.Standing) bool { return st.Term.Holder.Session == s.ID() }).Term.Holder.Beat
	t.beat(s)
	return t.await(l, role, "another beat", func(st lock.Standing) bool {
		return st.Term.Holder.Session == s.ID() && st.Term.Holder.Beat != seen && st.Term.Holder.Beat != lock.Absent
	})
}

func fenceOnce(t *trial) {
	roles := []string{t.named("r"), t.named("another")}
	near := t.open()
	a := t.join(near, "a", roles...)
	for _, role := range roles {
		t.acquire(a, role)
	}
	clients := []*Client{near, t.open(), t.open()}
	for round := 0; round < 3; round++ {
		st := t.nextBeat(near, a, roles[0])
		var won [3]atomic.Bool
		intents := make([]lock.Fence, len(clients))
		t.together(len(clients), func(i int) {
			role := roles[i%2]
			intents[i] = t.intent(st, fmt.Sprint(i))
			intents[i].Token = t.look(clients[i], role).Term.Token
			err := t.known("fence", t.fenceCall(clients[i], role, intents[i]))
			if won[i].Store(err == nil); err != nil {
				t.expect(err, lock.ErrMoved, "an intent beside another one")
			}
		})
		winners := 0
		for i, l := range clients {
			if !won[i].Load() {
				t.want(lock.ErrMoved, "an intent beside another one, again", t.fenceCall(l, roles[i%2], intents[i]))
				continue
			}
			winners++
			t.must("the same intent again", t.fenceCall(l, roles[i%2], intents[i]))
			for _, role := range roles {
				t.await(clients[0], role, "the intent", isFenced(intents[i]))
			}
		}
		if winners == 0 && t.look(near, roles[0]).Term.Holder.Beat != st.Term.Holder.Beat {
			round-- // that beat was not the last one
			continue
		}
		if winners != 1 {
			t.errorf("round %d: %d intents are written for one beat, want 1", round, winners)
		}
	}
}

func fenceVoid(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role)
	t.acquire(a, role)
	f := t.follow(t.open(), role)
	old := t.intend(far, role, "b")
	f.until("the intent", role, isFenced(old))
	second := t.nextBeat(far, a, role)
	if !second.Fence.IsZero() {
		t.errorf("with another beat a standing shows the intent %+v", second.Fence)
	}
	f.until("no intent", role, isFenced(lock.Fence{}))
	t.want(lock.ErrMoved, "an intent about a beat that is over", t.fenceCall(far, role, old))
	next := t.intend(near, role, "c")
	f.until("the other intent", role, isFenced(next))
	t.evict(far, role, a.ID())
	f.until("no intent", role, func(st lock.Standing) bool { return vacant(st) && st.Fence.IsZero() })
	t.want(lock.ErrMoved, "an intent about a session that has ended", t.fenceCall(far, role, next))
}

func fenceTerm(t *trial) {
	role, held := t.named("r"), t.named("held")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role, held)
	token := t.acquire(a, role)
	t.acquire(a, held)
	st := t.nextBeat(far, a, role)
	f := t.intent(st, "b")
	t.release(a, role, token)
	t.want(lock.ErrMoved, "an intent about a term that is over", t.fenceCall(far, role, f))
	wrong := f
	wrong.Token += 1 << 40
	t.want(lock.ErrMoved, "an intent about another term", t.fenceCall(far, held, wrong))
	t.want(lock.ErrMoved, "an intent about a role that nobody ever had", t.fenceCall(far, t.named("never"), f))
	if st := t.look(far, held); !st.Fence.IsZero() {
		t.errorf("after intents that were refused a standing shows %+v", st.Fence)
	}
}

// fenceLate has an intent arrive after a beat that it knows nothing of.
func fenceLate(t *trial) {
	for _, split := range []bool{false, true} {
		role := t.named(fmt.Sprint("r ", split))
		near, far := t.open(), t.open()
		a := t.join(far, fmt.Sprint("a ", split), role)
		t.acquire(a, role)
		f := t.intent(t.nextBeat(far, a, role), "b")
		err := t.delayed(near, split, t.fenceCall(near, role, f), func() { t.nextBeat(far, a, role) })
		if isKnown(err) && !split {
			t.expect(err, lock.ErrMoved, "an intent that arrives after another beat")
		}
		t.beat(a) // what is on its way has arrived then
		if st := t.look(far, role); !st.Fence.IsZero() || vacant(st) {
			t.errorf("an intent that arrived after another beat stands: %+v", st)
		}
	}
}

func fenceHarmless(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	t.intend(far, role, "b")
	t.expect(t.refused(b, role), lock.ErrHeld, "acquire what is held by one who is about to be fenced")
	if again := t.acquire(a, role); again != token {
		t.errorf("the holder's token was %d and is %d beside an intent", token, again)
	}
	t.beat(a)
	t.release(a, role, token)
	t.acquire(b, role)
}
