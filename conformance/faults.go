package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

func watchSessionDeleted(t *trial) { watchAbsent(t, t.store.DeleteSession) }

func watchLeaseRevoked(t *trial) { watchAbsent(t, t.store.RevokeLease) }

func watchNodeLost(t *trial) {
	watchAbsent(t, func(ctx context.Context, _ lock.SessionID) error { return t.store.LoseNode(ctx) })
}

// outage is the length of a long one.
const outage = 10 * time.Second

// watchOutage changes the term while nothing can be seen, for so long that every try and every
// connection has been given up.
func watchOutage(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	f := t.follow(near, role)
	s := t.join(far, "a", role)
	first := t.acquire(s, role)
	f.until("the term", role, holds(first))
	t.network("cut", near.Cut)
	t.pause(outage / 2)
	t.release(s, role, first)
	second := t.acquire(s, role)
	t.pause(outage / 2)
	t.network("heal", near.Heal)
	f.until("what changed in an outage", role, holds(second))
	t.release(s, role, second)
	f.until("what changed after an outage", role, vacant)
}

// watchRefused breaks the watch's connections, again and again.
func watchRefused(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	f := t.follow(near, role)
	s := t.join(far, "a", role)
	for i := range 5 {
		token := t.acquire(s, role)
		if i%2 == 0 {
			f.until("an acquisition", role, holds(token))
		}
		t.network("refuse", near.Refuse)
		t.release(s, role, token)
		token = t.acquire(s, role)
		t.network("heal", near.Heal)
		f.until("what changed when no connection stood", role, holds(token))
		t.release(s, role, token)
	}
	f.until("the last release", role, vacant)
}

// watchRolledBack restores an earlier state of the store. The revisions that a watch has seen are
// then still to come.
func watchRolledBack(t *trial) {
	role := t.named("r")
	l := t.open()
	f := t.follow(t.open(), role)
	s := t.join(l, "a", role)
	first := t.acquire(s, role)
	f.until("the term", role, holds(first))
	restore := t.save()
	t.release(s, role, first)
	for range 20 {
		t.settle(s, role)
	}
	last := t.acquire(s, role)
	f.until("the last of some terms", role, holds(last))
	t.disturb("restore", restore)
	f.until("the term that was restored", role, holds(first))
	t.release(s, role, first)
	f.until("what changed after the store was restored", role, vacant)
}

func (t *trial) save() (restore Backup) {
	t.disturb("save", func(ctx context.Context) (err error) { restore, err = t.store.Save(ctx); return err })
	return restore
}

// watchAbsent makes the holder's session absent by remove. Every standby sees that, and nobody
// may take the role.
func watchAbsent(t *trial, remove func(ctx context.Context, id lock.SessionID) error) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role)
	token := t.acquire(a, role)
	followers := []*follower{t.follow(near, role), t.follow(far, role), t.follow(t.open(), role)}
	for _, f := range followers {
		f.until("the term", role, holds(token))
	}
	t.must("remove the session's record", func(ctx context.Context) error { return remove(ctx, a.ID()) })
	for _, f := range followers {
		f.until("the absence", role, func(st lock.Standing) bool { return holds(token)(st) && st.Term.Holder.Beat == lock.Absent })
	}
	t.want(lock.ErrLost, "beat without a record", func(ctx context.Context) error { return a.Beat(ctx) })
	b := t.join(far, "b", role)
	t.expect(t.refused(b, role), lock.ErrHeld, "acquire from the absent")
	t.end(a)
	for _, f := range followers {
		f.until("the end", role, vacant)
	}
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
}

func watchRoleDeleted(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role)
	token := t.acquire(a, role)
	followers := []*follower{t.follow(near, role), t.follow(far, role)}
	for _, f := range followers {
		f.until("the term", role, holds(token))
	}
	t.must("delete the role's record", func(ctx context.Context) error { return t.store.DeleteRole(ctx, role) })
	for _, f := range followers {
		f.until("that there is no record", role, func(st lock.Standing) bool { return st.Term.Token == 0 })
	}
	t.release(a, role, token)
	for _, f := range followers {
		f.until("the release", role, func(st lock.Standing) bool { return st.Term.Token >= token && vacant(st) })
	}
}

// tokenLeaderKilled kills the leader of the store between two terms and in a term.
func tokenLeaderKilled(t *trial) {
	role, held := t.named("r"), t.named("held")
	l := t.open()
	a := t.join(l, "a", role, held)
	last, stays := lock.Token(0), t.acquire(a, held)
	f := t.follow(t.open(), role)
	for range 3 {
		token := t.acquire(a, role)
		if token <= last {
			t.errorf("token %d after %d, which another leader of the store gave", token, last)
		}
		last = token
		t.disturb("kill the leader", t.store.KillLeader)
		if again := t.acquire(a, role); again != token {
			t.errorf("the token of a term that stands was %d and is %d under another leader", token, again)
		}
		t.beat(a)
		t.release(a, role, token)
		f.until("a release under another leader", role, func(st lock.Standing) bool { return st.Term.Token == token && vacant(st) })
		if again := t.acquire(a, held); again != stays {
			t.errorf("the token of another term that stands was %d and is %d under another leader", stays, again)
		}
	}
}

// askRestart asks, and restarts the store before anybody acts on it.
func askRestart(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	wish := lock.Request{Token: t.acquire(a, role), To: b.ID(), By: "an operator"}
	f := t.follow(t.open(), role)
	t.must("ask", func(ctx context.Context) error { return l.Ask(ctx, role, wish) })
	t.disturb("restart", t.store.Restart)
	f.until("the wish after a restart", role, func(st lock.Standing) bool { return st.Request == wish && holds(wish.Token)(st) })
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, wish.Token, b.ID()) })
	f.until("that it is done", role, func(st lock.Standing) bool {
		return st.Term.Holder.Session == b.ID() && st.Request.Token != st.Term.Token
	})
}

// janitor is how long a store may take to remove what nobody renews: its lease is max(1 min, 2 ×
// ttl), and stores take their time.
const janitor = 4 * time.Minute

// janitorSweeps leaves sessions behind, as processes do that are killed: one that holds a role,
// one in line, one that was evicted, one that is closed.
func janitorSweeps(t *trial) {
	role := t.named("r")
	far := t.open()
	var near *Client
	t.must("open", func(ctx context.Context) (err error) { near, err = t.store.Open(ctx); return err })
	var all []lock.Session
	for i := range 4 {
		all = append(all, t.join(near, fmt.Sprint(i), role))
	}
	token := t.acquire(all[0], role)
	t.evict(far, role, all[1].ID())
	t.end(all[2])
	if err := near.Close(); err != nil {
		t.errorf("close: %v", err)
	}
	left := func() (names []string) {
		t.must("look for what is left", func(ctx context.Context) (err error) { names, err = t.store.Leftovers(ctx); return err })
		return names
	}
	if n := len(left()); n < 2 {
		t.errorf("%d things of the store are left when two sessions were just left behind", n)
	}
	var names []string
	for end := time.Now().Add(janitor); time.Now().Before(end) && t.ctx.Err() == nil; t.pause(time.Second) {
		if names = left(); len(names) == 0 {
			st := t.look(far, role)
			if !holds(token)(st) || st.Term.Holder.Beat != lock.Absent || len(st.Line) != 0 {
				t.errorf("when the store has removed a session its term is %+v, want it to stand, and the session to be absent", st)
			}
			return
		}
	}
	t.errorf("%v after all processes are gone there is still %q", janitor, names)
}
