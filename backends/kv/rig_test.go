package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// A rig is a store in memory, and a client by which the test does what an operator could do.
type rig struct {
	*testing.T
	ctx    context.Context // of the whole test
	server *kvmem.Server
	hand   *kvmem.Client
}

// inBubble runs f in virtual time.
func inBubble(t *testing.T, f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newRig(t)) })
}

func newRig(t *testing.T) *rig {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // a follower never blocks for good: without this, a hang would go on
	t.Cleanup(cancel)
	server := kvmem.New()
	return &rig{T: t, ctx: ctx, server: server, hand: server.Open()}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// want fails unless err is the named error.
func (r *rig) want(err, named error) {
	r.Helper()
	if !errors.Is(err, named) {
		r.Fatalf("got %v, want %v", err, named)
	}
}

// locker opens another process's Locker.
func (r *rig) locker() lock.Locker {
	l, _ := r.wired()
	return l
}

// wired opens another process's Locker, and returns its way to the store too.
func (r *rig) wired() (lock.Locker, *kvmem.Client) {
	c := r.server.Open()
	l := kv.NewLocker(c, "")
	r.Cleanup(func() { r.must(l.Close()) })
	return l, c
}

// join registers a contender under a session ID of its own. It bids for role r.
func (r *rig) join(l lock.Locker, id string) lock.Session {
	r.Helper()
	return lab.Join(r.ctx, r, l, id)
}

// acquire takes role r.
func (r *rig) acquire(s lock.Session) lock.Token {
	r.Helper()
	return lab.Acquire(r.ctx, r, s)
}

// now is the first standing of a role that a new watch shows.
func (r *rig) now(l lock.Locker, role string) lock.Standing {
	r.Helper()
	for st, err := range l.Watch(r.ctx, role) {
		r.must(err)
		return st
	}
	r.Fatal("no standing")
	return lock.Standing{}
}

// get returns a record under the prefix.
func (r *rig) get(key string) kv.Record {
	r.Helper()
	v, err := r.hand.Read(r.ctx, kv.DefaultPrefix+key)
	r.must(err)
	return v.Get(kv.DefaultPrefix + key)
}

func (r *rig) write(w kv.Write) {
	r.Helper()
	w.Key = kv.DefaultPrefix + w.Key
	_, err := r.hand.Commit(r.ctx, kv.Txn{Writes: []kv.Write{w}})
	r.must(err)
}

func (r *rig) put(key, value string) { r.Helper(); r.write(kv.Write{Key: key, Value: []byte(value)}) }
func (r *rig) remove(key string)     { r.Helper(); r.write(kv.Write{Key: key}) }

// revoke ends the lease that a key hangs on.
func (r *rig) revoke(key string) {
	r.Helper()
	r.must(r.hand.Revoke(r.ctx, r.get(key).Lease))
}

// all is everything in the store.
func (r *rig) all() string {
	r.Helper()
	v, err := r.hand.Read(r.ctx, kv.DefaultPrefix)
	r.must(err)
	var lines []string
	for _, one := range v.Records {
		lines = append(lines, fmt.Sprintf("%s at %d on %q: %s", one.Key, one.Revision, one.Lease, one.Value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// A view is a watch of role r that runs, and what it showed.
type view struct {
	*rig
	cancel func()
	ended  <-chan struct{}

	mu     sync.Mutex
	shown  []lock.Standing
	failed []error
}

func (r *rig) view(l lock.Locker) *view {
	v := &view{rig: r}
	v.cancel, v.ended = lab.Watch(r.ctx, r, l, func(st lock.Standing, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if err != nil {
			v.failed = append(v.failed, err)
		} else {
			v.shown = append(v.shown, st)
		}
	})
	return v
}

// last is what the view shows when nothing is left to be done before time passes.
func (v *view) last() lock.Standing {
	v.Helper()
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.shown) == 0 {
		v.Fatalf("nothing is shown; %v", v.failed)
	}
	return v.shown[len(v.shown)-1]
}

// until lets time pass until the view shows what is good, and returns how long that took.
func (v *view) until(what string, good func(lock.Standing) bool) time.Duration {
	v.Helper()
	begin := time.Now()
	for !good(v.last()) {
		if v.ctx.Err() != nil {
			v.Fatalf("not %s; the last standing: %+v; %v", what, v.last(), v.failed)
		}
		time.Sleep(time.Millisecond) // virtual time
	}
	return time.Since(begin)
}

// A record of calls counts them, by name; "all" counts the readings of everything.
type calls struct {
	mu    sync.Mutex
	named map[string]int
}

// listen counts a client's calls from now on, each of which has the fault that f says; nil:
// none has.
func listen(c *kvmem.Client, f func(kvmem.Call) kvmem.Fault) *calls {
	all := &calls{named: map[string]int{}}
	c.On(func(one kvmem.Call) kvmem.Fault {
		all.mu.Lock()
		all.named[one.Name]++
		if whole(one) {
			all.named["all"]++
		}
		all.mu.Unlock()
		if f == nil {
			return kvmem.Fault{}
		}
		return f(one)
	})
	return all
}

func whole(c kvmem.Call) bool { return c.Name == "Read" && c.Keys[0] == kv.DefaultPrefix+"line/" }

// of is how many calls of a name there were when nothing is left to be done.
func (c *calls) of(name string) int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.named[name]
}
