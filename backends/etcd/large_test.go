package etcd_test

import (
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// large registers a contender whose record is more than the server takes in one request:
// that is said at once, is for good, and leaves nothing.
func large(r *rig) {
	l := r.locker()
	c := r.contender("a")
	c.Labels = map[string]string{"long": strings.Repeat("x", 2<<20)}
	_, err := l.Register(r.ctx, c, long, lock.Bid{Role: "r"})
	want(r, err, lock.ErrPermanent)
	if _, revision := r.get("line/session/" + string(c.Session)); revision != 0 {
		r.Error("a part of it was written")
	}
}
