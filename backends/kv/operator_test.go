package kv_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// TestAPauseIsComparedUnseen: a Locker whose watch has not heard of a pause takes the role no
// more than one that has, and reads nothing for that; nor where the pause is over again.
func TestAPauseIsComparedUnseen(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		op := r.locker().(lock.Operator)
		a := r.join(l, "a")
		v := r.view(l)
		r.must(a.Release(r.ctx, "r", r.acquire(a)))
		v.until("vacant", func(st lock.Standing) bool { return st.Term.Over != "" })
		synctest.Wait()
		hear := make(chan struct{})
		asked := listen(wire, func(c kvmem.Call) kvmem.Fault {
			if c.Name == "Step" || c.Name == "Read" {
				return kvmem.Hold(hear)
			}
			return kvmem.Fault{}
		})
		acquire := func(what string, want error) {
			t.Helper()
			commits := asked.of("Commit")
			token, err := a.TryAcquire(r.ctx, "r")
			if !errors.Is(err, want) || (err == nil) != (token != 0) {
				t.Fatalf("%s: token %d, %v", what, token, err)
			}
			if n := asked.of("Commit") - commits; n > 2 {
				t.Errorf("%s: %d commits", what, n)
			}
		}
		r.must(op.Pause(r.ctx, "r", lock.Pause{By: "op"}))
		acquire("paused", lock.ErrMoved)
		r.must(op.Pause(r.ctx, "r", lock.Pause{}))
		acquire("resumed", nil)
		close(hear)
		v.cancel()
	})
}

// TestNobodyPassesByAPause: the first one raises the format of the store's identity, which a
// program that knows no pauses refuses by name. Adopting another store, and resuming, leave it so.
func TestNobodyPassesByAPause(t *testing.T) {
	inBubble(t, func(r *rig) {
		format := func() (format int) {
			t.Helper()
			var identity struct{ Format int }
			r.must(json.Unmarshal(r.get("state/identity").Value, &identity))
			return identity.Format
		}
		l := r.locker()
		op := l.(lock.Operator)
		r.must(op.Pause(r.ctx, "r", lock.Pause{})) // nothing is paused, and nothing is written
		if all := r.all(); all != "" {
			t.Fatal(all)
		}
		r.must(op.Configure(r.ctx, "a", lock.Settings{By: "op", Drained: true}))
		r.must(op.Record(r.ctx, "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Began}))
		if format() != 2 {
			t.Errorf("the format is %d before a pause", format())
		}
		r.must(op.Pause(r.ctx, "r", lock.Pause{By: "op"}))
		r.must(op.Pause(r.ctx, "r", lock.Pause{}))
		r.must(l.Adopt(r.ctx, "another"))
		if format() != 3 {
			t.Errorf("the format is %d after a pause", format())
		}
		before := r.get("state/identity").Revision
		r.must(op.Pause(r.ctx, "r", lock.Pause{By: "op"}))
		r.must(op.Pause(r.ctx, "r", lock.Pause{}))
		if after := r.get("state/identity").Revision; after != before {
			t.Errorf("the identity was written again, at %d", after)
		}
		r.join(l, "a")
		identity := string(r.get("state/identity").Value)
		r.put("state/identity", strings.Replace(identity, `"Format":3`, `"Format":4`, 1))
		_, err := l.Register(r.ctx, lab.Contender("b"), lab.Long)
		if r.want(err, lock.ErrPermanent); !strings.Contains(err.Error(), "format 4, this program knows 3") {
			t.Error(err)
		}
	})
}

// TestPauseOfAnEmptyStore draws its identity, also where others do at the same time, and raises its
// format.
func TestPauseOfAnEmptyStore(t *testing.T) {
	for _, alone := range []bool{true, false} {
		inBubble(t, func(r *rig) {
			ours, wire := r.wired()
			others := r.locker()
			between := func() { r.join(others, "a") }
			if alone {
				between = nil
			}
			wire.On(func(c kvmem.Call) kvmem.Fault {
				if do := between; c.Name == "Commit" && do != nil {
					between = nil
					do()
				}
				return kvmem.Fault{}
			})
			r.must(ours.(lock.Operator).Pause(r.ctx, "r", lock.Pause{By: "op"}))
			if a, b := r.now(ours, "r"), r.now(others, "r"); a.Store == "" || a.Store != b.Store || a.Pause.By != "op" || b.Pause.By != "op" {
				t.Errorf("%+v, %+v", a, b)
			}
			if value := string(r.get("state/identity").Value); !strings.Contains(value, `"Format":3`) {
				t.Errorf("the identity is %s", value)
			}
			asked := listen(wire, nil)
			r.must(ours.(lock.Operator).Pause(r.ctx, "q", lock.Pause{By: "op"}))
			if n := asked.of("Commit"); n != 1 {
				t.Errorf("another pause takes %d commits", n)
			}
		})
	}
}

// TestFailedReadingPausesNothing: nobody knows what is there.
func TestFailedReadingPausesNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		failed := false
		wire.On(func(c kvmem.Call) kvmem.Fault {
			if c.Name == "Read" && !failed {
				failed = true
				return kvmem.Fail(errLost)
			}
			return kvmem.Fault{}
		})
		r.want(l.(lock.Operator).Pause(r.ctx, "r", lock.Pause{By: "op"}), errLost)
		if all := r.all(); all != "" {
			t.Error(all)
		}
	})
}

// TestRecordedTwice is written once.
func TestRecordedTwice(t *testing.T) {
	inBubble(t, func(r *rig) {
		op := r.locker().(lock.Operator)
		e := lock.Event{At: time.Now(), By: "a", Kind: lock.Began}
		r.must(op.Record(r.ctx, "r", e))
		before := r.get("history/r").Revision
		r.must(op.Record(r.ctx, "r", e))
		if after := r.get("history/r").Revision; before == 0 || after != before {
			t.Errorf("written at %d, and at %d", before, after)
		}
	})
}

// TestFenceAmongOthers: whatever comes between the reading and the commit of an intent to fence,
// there is one for each beat, of a term that goes on.
func TestFenceAmongOthers(t *testing.T) {
	for what, c := range map[string]struct {
		between func(r *rig, a lock.Session, same func() error)
		want    error
	}{
		"nothing":             {nil, nil},
		"the same intent":     {func(r *rig, _ lock.Session, same func() error) { r.must(same()) }, nil},
		"the end of the term": {func(r *rig, a lock.Session, _ func() error) { r.must(a.Close(r.ctx)) }, lock.ErrMoved},
		"a beat":              {func(r *rig, a lock.Session, _ func() error) { r.must(a.Beat(r.ctx)) }, lock.ErrMoved},
		"a release": {func(r *rig, a lock.Session, _ func() error) {
			r.must(a.Release(r.ctx, "r", r.now(r.locker(), "r").Term.Token))
		}, lock.ErrMoved},
	} {
		inBubble(t, func(r *rig) {
			a := r.join(r.locker(), "a")
			token := r.acquire(a)
			l, wire := r.wired()
			st := r.now(l, "r")
			f := lock.Fence{Token: token, Beat: st.Term.Holder.Beat, By: "b", Session: "b-1", At: time.Now()}
			fence := func(l lock.Locker) error { return l.(lock.Operator).Fence(r.ctx, "r", f) }
			others := r.locker()
			wire.On(func(call kvmem.Call) kvmem.Fault {
				if do := c.between; call.Name == "Commit" && do != nil {
					c.between = nil
					do(r, a, func() error { return fence(others) })
				}
				return kvmem.Fault{}
			})
			if err := fence(l); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", what, err, c.want)
			}
			if now := r.now(others, "r"); (now.Fence.By == "b") != (c.want == nil) {
				t.Errorf("%s: %+v", what, now.Fence)
			}
		})
	}
}

// TestFenceThatFails says why, and is not shown of a term that is over.
func TestFenceThatFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		a := r.join(r.locker(), "a")
		token := r.acquire(a)
		f := lock.Fence{Token: token, Beat: r.now(l, "r").Term.Holder.Beat, By: "b", Session: "b-1", At: time.Now()}
		op := l.(lock.Operator)
		wire.On(failing("Commit", kvmem.Fail(errLost)))
		r.want(op.Fence(r.ctx, "r", f), errLost)
		wire.On(nil)
		r.must(op.Fence(r.ctx, "r", f))
		r.must(a.Release(r.ctx, "r", token))
		if st := r.now(r.locker(), "r"); st.Fence != (lock.Fence{}) {
			t.Errorf("of a term that is over: %+v", st.Fence)
		}
		r.put("state/role/q", "x")
		r.want(op.Fence(r.ctx, "q", f), lock.ErrPermanent)
	})
}

// TestFloorThatBecomesUnreadable: an unreadable floor while a role is being taken is an error, not a holder.
func TestFloorThatBecomesUnreadable(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		a := r.join(l, "a")
		wire.On(func(c kvmem.Call) kvmem.Fault {
			if c.Name == "Commit" && r.get("state/floor").Revision == 0 {
				r.put("state/floor", "x")
			}
			return kvmem.Fault{}
		})
		_, err := a.TryAcquire(r.ctx, "r")
		r.want(err, lock.ErrPermanent)
	})
}

// TestUnreadablePause is one: nobody takes the role, and it is not overwritten.
func TestUnreadablePause(t *testing.T) {
	inBubble(t, func(r *rig) {
		l := r.locker()
		a := r.join(l, "a")
		r.put("state/pause/r", "x")
		_, err := a.TryAcquire(r.ctx, "r")
		r.want(err, lock.ErrMoved)
		if st := r.now(l, "r"); st.Pause.IsZero() {
			t.Errorf("%+v", st)
		}
		r.want(l.(lock.Operator).Pause(r.ctx, "r", lock.Pause{}), lock.ErrPermanent)
		r.remove("state/pause/r") // by hand
		r.acquire(a)
	})
}

// TestNobodyReadsAHistoryUnasked: a follower reads and follows no events, of however many roles.
func TestNobodyReadsAHistoryUnasked(t *testing.T) {
	inBubble(t, func(r *rig) {
		l, wire := r.wired()
		s := r.join(l, "a")
		r.acquire(s)
		v := r.view(l)
		v.last()
		var keys []string
		steps := listen(wire, func(c kvmem.Call) kvmem.Fault {
			keys = append(keys, c.Keys...)
			return kvmem.Fault{}
		})
		op := r.locker().(lock.Operator)
		for i := range 10 {
			r.must(op.Record(r.ctx, fmt.Sprint("r", i), lock.Event{At: time.Now(), By: "a", Kind: lock.Began}))
		}
		time.Sleep(time.Minute) // virtual time
		if n := steps.of("Step"); n != 0 {
			t.Errorf("%d steps are followed", n)
		}
		for _, key := range keys {
			if strings.HasPrefix(kv.DefaultPrefix+"history/", key) || strings.Contains(key, "history/") {
				t.Errorf("%q is read or followed", key)
			}
		}
		if len(keys) == 0 {
			t.Error("nothing was read in a minute")
		}
		v.cancel()
	})
}
