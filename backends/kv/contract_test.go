package kv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestRecords is what calls say of the records that they find, and what they leave. What
// any store must do is the suite's.
func TestRecords(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"a token is the revision that a guard compares", tokenIsRevision},
		{"who must wait leaves nothing behind", waitingLeavesNothing},
		{"late writes change nothing", lateWrites},
		{"a session whose record was deleted", deletedSession},
		{"a role whose record was deleted", deletedRole},
		{"foreign values are never overwritten", foreignValues},
		{"a foreign value in a session's place is a beat", foreignSession},
		{"a foreign claim stops no eviction", foreignClaim},
		{"newer formats are never overwritten", newerFormats},
		{"names that are none", namesRefused},
		{"a store that fails", failingStore},
		{"floors", floors},
		{"a store that was put back", rolledBack},
		{"wishes end with their term", wishes},
		{"many roles are released by one Close", manyRoles},
	} {
		t.Run(test.name, func(t *testing.T) { inBubble(t, test.run) })
	}
}

func tokenIsRevision(r *rig) {
	l := r.locker()
	var last lock.Token
	for range 3 {
		s := r.join(l, "a")
		for _, end := range []func(lock.Token){
			func(t lock.Token) { r.must(s.Release(r.ctx, "r", t)) },
			func(lock.Token) { r.remove("state/role/r") },
			func(lock.Token) { r.must(s.Close(r.ctx)) },
		} {
			token := r.acquire(s)
			if at := r.get("state/role/r").Revision; token <= last || uint64(token) != at {
				r.Fatalf("token %d at revision %d after %d", token, at, last)
			}
			last = token
			end(token)
		}
	}
}

func waitingLeavesNothing(r *rig) {
	l, wire := r.wired()
	r.join(l, "a")
	before, asked := r.all(), listen(wire, nil)
	for range 3 {
		_, err := l.Register(r.ctx, lab.Contender("a"), lab.Long)
		r.want(err, lock.ErrHeld)
	}
	if n := asked.of("Grant"); n != 0 || r.all() != before {
		r.Errorf("%d leases, and\n%s\nbecame\n%s", n, before, r.all())
	}
}

// lateWrites come when their session has been ended.
func lateWrites(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	old := r.acquire(a)
	r.must(l.Evict(r.ctx, a.ID(), lock.AnyBeat, lock.End{By: "b", Why: "silent"}))
	r.acquire(b)
	before := r.all()
	r.want(a.Beat(r.ctx), lock.ErrLost)
	r.must(a.Release(r.ctx, "r", old))
	r.want(a.Handoff(r.ctx, "r", old, b.ID()), lock.ErrMoved)
	_, err := a.TryAcquire(r.ctx, "r")
	r.want(err, lock.ErrLost)
	r.must(a.Close(r.ctx))
	_, err = l.Register(r.ctx, lock.Contender{ID: "a", Session: a.ID()}, lab.Long)
	r.want(err, lock.ErrLost)
	if after := r.all(); after != before {
		r.Errorf("%s\nbecame\n%s", before, after)
	}
}

func deletedSession(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	r.remove("line/session/" + string(a.ID()))
	r.want(a.Handoff(r.ctx, "r", token, b.ID()), lock.ErrLost)
	r.want(a.Beat(r.ctx), lock.ErrLost)
	r.must(a.Release(r.ctx, "r", token))
	if st := r.now(l, "r"); !st.Term.Vacant() || st.Term.Token != token {
		r.Errorf("%+v", st)
	}
	r.must(a.Close(r.ctx)) // takes the claim along
	if c := r.get("line/claim/a"); c.Revision != 0 {
		r.Errorf("the claim is there: %s", c.Value)
	}
	r.acquire(b)
}

func deletedRole(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	token := r.acquire(a)
	r.remove("state/role/r")
	if st := r.now(l, "r"); st.Term.Token != 0 || st.Term.Over != "" {
		r.Errorf("%+v", st)
	}
	r.must(a.Release(r.ctx, "r", token)) // writes the record again
	if st := r.now(l, "r"); !st.Term.Vacant() || st.Term.Token != token || st.Term.Holder.Session != a.ID() || st.Term.Holder.Promise != lab.Long {
		r.Errorf("%+v", st)
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
		r.want(err, lock.ErrPermanent)
		r.want(a.Release(r.ctx, "r", 1), lock.ErrPermanent)
		r.want(a.Handoff(r.ctx, "r", 1, a.ID()), lock.ErrPermanent)
		r.want(l.Ask(r.ctx, "r", lock.Request{Token: 1}), lock.ErrPermanent)
		if now := string(r.get("state/role/r").Value); now != value {
			r.Errorf("%q was overwritten with %q", value, now)
		}
		told := false
		for _, err := range l.Watch(r.ctx, "r") {
			r.want(err, lock.ErrPermanent)
			told = true
			break
		}
		if !told {
			r.Errorf("of %q a watch says nothing", value)
		}
	}
	var shown []string // a role whose record is foreign hides no other
	_, err := a.TryAcquire(r.ctx, "s")
	r.must(err)
	for st, err := range l.Watch(r.ctx) {
		if err != nil {
			if r.want(err, lock.ErrPermanent); !strings.Contains(err.Error(), "state/role/r") {
				r.Error(err)
			}
			break
		}
		shown = append(shown, st.Role)
	}
	if fmt.Sprint(shown) != "[s]" {
		r.Errorf("shown beside a foreign value: %v", shown)
	}
}

// foreignSession: the next beat repairs the record, and puts it on a lease again, also
// where the one that it hung on is gone.
func foreignSession(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	token, own := r.acquire(a), "line/session/"+string(a.ID())
	before, lease := r.now(l, "r").Term.Holder.Beat, r.get(own).Lease
	r.put(own, "x")
	if st := r.now(l, "r"); st.Term.Holder.Beat == before || st.Term.Holder.Beat == lock.Absent || st.Term.Vacant() || st.Term.Holder.Promise != lab.Long {
		r.Errorf("%+v", st)
	}
	r.must(a.Beat(r.ctx))
	if got := r.get(own).Lease; got != lease {
		r.Errorf("after the next beat it hangs on %q, want %q", got, lease)
	}
	r.put(own, "x")
	r.must(r.hand.Revoke(r.ctx, lease))
	r.must(a.Beat(r.ctx))
	if got := r.get(own); got.Lease == "" || got.Lease == lease {
		r.Errorf("after a beat without the lease: %+v", got)
	}
	r.revoke(own)
	r.must(a.Release(r.ctx, "r", token))
	r.must(a.Close(r.ctx))
}

func foreignClaim(r *rig) {
	l := r.locker()
	b := r.join(l, "b")
	r.put("line/claim/b", "x") // it refuses the ID
	_, err := l.Register(r.ctx, lab.Contender("b"), lab.Long)
	r.want(err, lock.ErrPermanent)
	r.acquire(b)
	r.must(l.Evict(r.ctx, b.ID(), r.now(l, "r").Term.Holder.Beat, lock.End{By: "me", Why: "test"}))
	if now := string(r.get("line/claim/b").Value); now != "x" {
		r.Errorf("the foreign claim became %q", now)
	}
	if st := r.now(l, "r"); !st.Term.Vacant() {
		r.Errorf("%+v", st)
	}
}

func newerFormats(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	const newer = `{"Format":3,"Holder":"elsewhere now"}`
	for key, call := range map[string]func() error{
		"state/role/r": func() error { _, err := a.TryAcquire(r.ctx, "r"); return err },
		"state/floor": func() error {
			_, err := a.TryAcquire(r.ctx, "free")
			r.want(err, lock.ErrPermanent)
			return l.Raise(r.ctx, 5)
		},
		"line/claim/b": func() error { _, err := l.Register(r.ctx, lab.Contender("b"), lab.Long); return err },
		"state/wish/q": func() error {
			token, err := a.TryAcquire(r.ctx, "q")
			r.must(err)
			r.put("state/wish/q", newer)
			return l.Ask(r.ctx, "q", lock.Request{Token: token})
		},
		"state/pause/r":     func() error { return l.(lock.Operator).Pause(r.ctx, "r", lock.Pause{By: "x"}) },
		"state/contender/a": func() error { return l.(lock.Operator).Configure(r.ctx, "a", lock.Settings{}) },
		"history/r": func() error {
			_, err := l.(lock.Operator).History(r.ctx, "r")
			return errors.Join(err, l.(lock.Operator).Record(r.ctx, "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Ended}))
		},
	} {
		r.put(key, newer)
		err := call()
		if r.want(err, lock.ErrPermanent); !strings.Contains(err.Error(), "format 3") {
			r.Error(err)
		}
		if now := string(r.get(key).Value); now != newer {
			r.Errorf("%s was overwritten: %s", key, now)
		}
		r.remove(key)
	}
}

func namesRefused(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	before := r.all()
	for _, name := range []string{"", "\xff", strings.Repeat("x", lock.MaxName+1)} {
		_, asSession := l.Register(r.ctx, lock.Contender{ID: "b", Session: lock.SessionID(name)}, lab.Long)
		for call, err := range map[string]error{
			"Register": asSession, "Evict": l.Evict(r.ctx, lock.SessionID(name), lock.AnyBeat, lock.End{By: "me"}), "Ask": l.Ask(r.ctx, name, lock.Request{}),
			"Release": a.Release(r.ctx, name, 1), "Handoff": a.Handoff(r.ctx, name, 1, a.ID()), "Handoff to": a.Handoff(r.ctx, "r", 1, lock.SessionID(name)),
			"Beat": a.Beat(r.ctx, lock.Bid{Role: name}), "Adopt": l.Adopt(r.ctx, name),
		} {
			if err == nil {
				r.Errorf("%s of %q", call, name)
			} else {
				r.want(err, lock.ErrPermanent)
			}
		}
	}
	if after := r.all(); after != before {
		r.Errorf("%s\nbecame\n%s", before, after)
	}
}

func floors(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	token := r.acquire(a)
	if st := r.now(l, "r"); st.Floor != token {
		r.Errorf("%+v", st)
	}
	r.must(l.Raise(r.ctx, token+1000))
	if st := r.now(l, "r"); st.Floor != token+1000 || st.Term.Token != token {
		r.Errorf("%+v", st)
	}
	r.must(l.Raise(r.ctx, 1)) // lowers nothing
	r.must(a.Release(r.ctx, "r", token))
	next := r.acquire(a)
	if st := r.now(l, "r"); next <= token+1000 || st.Term.Token != next || st.Floor != next {
		r.Errorf("token %d, and %+v", next, st)
	}
	r.must(a.Release(r.ctx, "r", next))
	r.remove("state/floor") // the role's own record still keeps tokens rising
	last := r.acquire(a)
	if last <= next {
		r.Errorf("token %d after %d", last, next)
	}
	r.must(a.Release(r.ctx, "r", last))

	// A record with a greater token than the store can give: the store was rolled back.
	var record map[string]any
	r.must(json.Unmarshal(r.get("state/role/r").Value, &record))
	record["Token"], record["Offset"] = 1_000_000_000, 0
	value, err := json.Marshal(record)
	r.must(err)
	r.put("state/role/r", string(value))
	_, err = a.TryAcquire(r.ctx, "r")
	r.want(err, lock.ErrRolledBack)
	r.must(l.Raise(r.ctx, 1_000_000_000))
	if token := r.acquire(a); token <= 1_000_000_000 {
		r.Errorf("token %d", token)
	}
	r.want(l.Raise(r.ctx, lock.MaxFloor+1), lock.ErrPermanent)
}

// rolledBack: a store that was put back is shown with the token and the floor of now.
func rolledBack(r *rig) {
	l := r.locker()
	a := r.join(l, "a")
	first := r.acquire(a)
	v := r.view(r.locker())
	restore := r.server.Save()
	for token := first; token < first+50; token = r.acquire(a) {
		r.must(a.Release(r.ctx, "r", token))
	}
	v.until("up to date", func(st lock.Standing) bool { return st.Term.Token >= first+50 })
	restore()
	v.until("back", func(st lock.Standing) bool { return st.Term.Token == first && st.Floor == first })
}

func wishes(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b")
	for _, end := range []func(lock.Token){
		func(t lock.Token) { r.must(a.Release(r.ctx, "r", t)) },
		func(t lock.Token) {
			r.must(a.Handoff(r.ctx, "r", t, b.ID()))
			r.must(b.Release(r.ctx, "r", r.acquire(b)))
		},
		func(lock.Token) { r.must(a.Close(r.ctx)) },
	} {
		token := r.acquire(a)
		wish := lock.Request{Token: token, To: b.ID(), By: "me"}
		r.must(l.Ask(r.ctx, "r", wish))
		if st := r.now(l, "r"); st.Request != wish {
			r.Errorf("%+v", st)
		}
		end(token)
		if w := r.get("state/wish/r"); w.Revision != 0 {
			r.Errorf("the wish is there: %s", w.Value)
		}
		if st := r.now(l, "r"); st.Request != (lock.Request{}) {
			r.Errorf("%+v", st)
		}
		r.want(l.Ask(r.ctx, "r", wish), lock.ErrMoved)
	}
	token := r.acquire(b)
	r.must(l.Evict(r.ctx, b.ID(), lock.AnyBeat, lock.End{By: "me", Why: "test"}))
	r.want(l.Ask(r.ctx, "r", lock.Request{Token: token, To: a.ID()}), lock.ErrMoved)
}
