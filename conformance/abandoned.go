package conformance

import (
	"context"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// abandoned is how many sessions there are for each promise.
const abandoned = 20

// A left is a session that is abandoned.
type left struct {
	role      string
	promise   lock.Promise
	s         lock.Session
	sent, got time.Time // of the last acknowledged beat
}

// runAbandoned leaves 20 sessions of each of three promises, and measures how long it takes until
// a standby works in their roles.
func runAbandoned(t *trial) {
	j, holders := t.judge(), t.open()
	var lefts []*left
	var roles []string
	for _, ttl := range []time.Duration{300 * time.Millisecond, time.Second, 5 * time.Second} {
		for i := range abandoned {
			lefts = append(lefts, &left{role: t.named(fmt.Sprintf("%v %d", ttl, i)), promise: promiseOf(ttl)})
			roles = append(roles, lefts[len(lefts)-1].role)
		}
	}
	t.together(len(lefts), func(i int) { lefts[i].join(t, holders, fmt.Sprint("holder ", i)) })
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		t.contend(j, "standby", func(c *coordinator.Config) {
			if !t.Virtual { // a busy machine needs time for its own calls
				c.TTL = 10 * time.Second
			}
		}, roles...)
		t.await(holders, roles[0], "the standby in line", func(st lock.Standing) bool { return len(st.Line) == 1 })
	}()
	t.together(len(lefts), func(i int) {
		one, at := lefts[i], i%abandoned // they stop one after the other, a ninth of their ttl apart
		for more := at/3 + 1; more > 0; more-- {
			select {
			case <-ready:
			default:
				more++
			}
			one.beat(t)
		}
		t.pause(one.promise.TTL * time.Duration(at%3) / 9)
		one.beat(t)
	})
	for _, one := range lefts {
		whole := one.promise.TTL + one.promise.Skew
		began := j.active(one.role, "standby", 0).began
		if since := began.Sub(one.sent); since < whole {
			t.errorf("%s was taken %v after the last beat began, before its promise of %v was over", one.role, since, whole)
		}
		if since, slack := began.Sub(one.got), t.slack(); since > whole+slack {
			t.errorf("%s was taken %v after the last beat, want at most %v and %v more", one.role, since, whole, slack)
		}
	}
}

// join takes the role.
func (l *left) join(t *trial, holders lock.Locker, id string) {
	c := t.contender(id)
	t.must("register", func(ctx context.Context) (err error) {
		l.sent = time.Now()
		l.s, err = holders.Register(ctx, c, l.promise, lock.Bid{Role: l.role})
		l.got = time.Now()
		return err
	})
	if l.s != nil { // else it was told that it is not registered
		t.acquire(l.s, l.role)
	}
}

// beat beats once, and waits for a third of the ttl.
func (l *left) beat(t *trial) {
	if l.s == nil {
		return
	}
	sent := time.Now()
	if err := t.one(func(ctx context.Context) error { return l.s.Beat(ctx) }); err == nil {
		l.sent, l.got = sent, time.Now()
	}
	t.pause(l.promise.TTL / 3)
}
