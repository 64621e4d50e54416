package kv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestEnds is what an eviction leaves in the records of roles, which outlive the end itself.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*rig)
	}{
		{"stand in the records of roles that nobody is in line for", endInRecords},
		{"of one who is known to hold more roles than one transaction takes", endOfManyRoles},
	} {
		t.Run(test.name, func(t *testing.T) { inBubble(t, test.run) })
	}
}

// record is that of a role, and whether it says that its holder was evicted.
func (r *rig) record(role string) (revision uint64, evicted bool) {
	record := r.get("state/role/" + role)
	return record.Revision, strings.Contains(string(record.Value), `"By":"the witness"`)
}

func endInRecords(r *rig) {
	l := r.locker()
	a, b := r.join(l, "a"), r.join(l, "b") // b is in line for r
	r.acquire(a)
	token, err := a.TryAcquire(r.ctx, "released")
	r.must(err)
	r.must(a.Release(r.ctx, "released", token))
	_, err = a.TryAcquire(r.ctx, "unwanted")
	r.must(err)
	before, _ := r.record("released")
	r.must(r.evict(l, a))
	if _, evicted := r.record("unwanted"); !evicted {
		r.Error("the record of a role that nobody is in line for says nothing of it")
	}
	if _, evicted := r.record("r"); evicted {
		r.Error("the record of a role was written that another is about to take")
	}
	if now, _ := r.record("released"); now != before {
		r.Error("the record of a role that was released before is written again")
	}
	r.must(b.Close(r.ctx))
	r.must(r.evict(l, a)) // as if the first answer had been lost
	if _, evicted := r.record("r"); !evicted {
		r.Error("evicted again when nobody is in line any more, the role's record says nothing of it")
	}
}

func endOfManyRoles(r *rig) {
	for _, n := range []int{3, 70} {
		l := r.locker()
		a := r.join(l, "a")
		tokens := make([]lock.Token, n)
		for i := range n {
			var err error
			tokens[i], err = a.TryAcquire(r.ctx, fmt.Sprint(i))
			r.must(err)
		}
		r.must(a.Release(r.ctx, "0", tokens[0]))
		r.view(l).last()
		time.Sleep(time.Minute) // virtual time, in which it hears of all of it
		before, _ := r.record("0")
		r.must(r.evict(l, a))
		if now, _ := r.record("0"); now != before {
			r.Error("the record of a role that was released before is written again")
		}
		for i := 1; i < n; i++ {
			if _, evicted := r.record(fmt.Sprint(i)); !evicted {
				r.Errorf("the record of role %d of %d says nothing of it", i, n)
			}
		}
	}
}
