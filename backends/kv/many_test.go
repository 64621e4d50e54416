package kv_test

import (
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
)

// manyRoles are more than one transaction can release; with a watch, which knows of them,
// and without.
func manyRoles(r *rig) {
	const n = 1000
	for _, watched := range []bool{false, true} {
		l, wire := r.wired()
		a := r.join(l, "a")
		if watched {
			r.view(l).last()
		}
		for i := range n {
			_, err := a.TryAcquire(r.ctx, fmt.Sprint(i))
			r.must(err)
		}
		time.Sleep(time.Minute) // until the watch has heard of all of it
		asked := listen(wire, nil)
		r.must(a.Close(r.ctx))
		if c := asked.of("Commit"); c > 2*n/(kv.MaxOps/3) {
			r.Errorf("%d roles were released by %d transactions", n, c)
		}
		over := 0
		for st, err := range l.Watch(r.ctx) {
			if r.must(err); !st.Term.Vacant() {
				r.Fatalf("%+v", st)
			}
			if st.Term.Over == "released" {
				over++
			}
			if over == n {
				break
			}
		}
	}
}
