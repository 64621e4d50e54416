package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// story is what why tells of the role.
func (r *trio) story() (s story, text string) {
	_, text = r.operate("why", "--role", "r", "-o", "json")
	var found struct{ Roles []story }
	if err := json.Unmarshal([]byte(text), &found); err != nil || len(found.Roles) != 1 {
		return s, text
	}
	return found.Roles[0], text
}

// because waits until somebody works after a term, and why names the cause, from whom the role
// moved, to whom and the token; and says some words.
func (r *trio) because(was span, cause string, words ...string) (now span) {
	r.t.Helper()
	now = r.active(was.token)
	var text string
	r.t.Cleanup(func() {
		if r.t.Failed() {
			r.t.Logf("why said last:\n%s", text)
		}
	})
	r.eventually(fmt.Sprintf("why says that the role moved from %s (%d) to %s (%d): %s, %q", was.id, was.token, now.id, now.token, cause, words), func() bool {
		var s story
		s, text = r.story()
		return s.Active == now.id && uint64(s.Token) == now.token && s.From == was.id && uint64(s.Previous) == was.token && s.Cause == cause &&
			!slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	return now
}

// TestWhy takes a role from one to another in every way that leaves the store alone, and asks
// each time why it moved.
func TestWhy(t *testing.T) { onEveryStore(t, testWhy) }

func testWhy(t *testing.T, r *trio) {
	r.startAll("--hang-timeout", "1s")
	now := r.because(span{}, lock.CauseFirst)
	r.inLine(2)

	r.expect(0, "r: "+now.id+" -> ", "handoff", "--role", "r")
	now = r.because(now, lock.CauseAsked, "by "+by())

	r.kill(now.id, syscall.SIGTERM)
	old := now.id
	now = r.because(now, lock.CauseStopped, "its work had run for")
	r.start(old, "--hang-timeout", "1s")
	now = r.settle()

	r.kill(now.id, syscall.SIGKILL)
	old = now.id
	now = r.because(now, lock.CauseCrashed, "its witness ended its session")
	r.start(old, "--hang-timeout", "1s")
	now = r.settle()

	r.signal(now.id, syscall.SIGSTOP)
	old = now.id
	now = r.because(now, lock.CauseHung, "it hung, and its witness killed it")
	_ = r.procs[old].Wait()
	r.start(old, "--hang-timeout", "1s")
	now = r.settle()

	r.judge() // what a forced eviction lets overlap is not judged
	r.expect(0, now.id+" is evicted", "evict", "--id", now.id, "--force")
	now = r.because(now, lock.CauseEvicted, "by "+by())
	r.expect(0, "evicted", "history", "--role", "r")
	r.expect(0, `"kind": "ended"`, "history", "--role", "r", "-o", "json")

	for id := range r.procs {
		r.kill(id, syscall.SIGTERM)
	}
	if r.cluster != nil { // embedded Raft is gone with them
		r.expect(0, "Nobody is active", "why")
		r.expect(0, "Nobody stands by: start a contender", "why", "--role", "r")
	}
}

// TestWhyWithoutWitness: whoever is not heard of any more was lost or cut off, and only its own
// word tells which.
func TestWhyWithoutWitness(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.ttl = 5 * time.Second // nobody is to be killed for being late on a busy machine
	proxy, err := servers.StartProxy(r.cluster.Members[0].Addr())
	must(t, err)
	t.Cleanup(proxy.Close)
	direct := r.flags
	r.flags = []string{"--backend", onEtcd, "--etcd-endpoints", proxy.Addr()}
	r.start("a", "--witness=false", "--hang-timeout", "0")
	now := r.because(span{}, lock.CauseFirst)
	r.flags = direct
	r.start("b", "--witness=false", "--hang-timeout", "0")
	r.inLine(1)

	proxy.Hold(true, true)
	was := now
	r.because(was, lock.CauseSilent, "lost or cut off, which cannot be told apart", "a had no witness")
	proxy.Hold(false, false)
	now = r.because(was, lock.CauseDeadline, "it was cut off from the store, or the store was away")
	r.inLine(1)

	r.kill("b", syscall.SIGKILL)
	if s, text := r.story(); s.Active != "" && s.Active != "b" {
		t.Errorf("nobody can have taken over yet:\n%s", text)
	}
	r.because(now, lock.CauseSilent, "lost or cut off, which cannot be told apart")
	r.judge()
}

// TestWhyOfTheWork: work that fails, and a process that is not healthy.
func TestWhyOfTheWork(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	fail := filepath.Join(r.dir, "fail")
	r.commands = map[string][]string{"a": {"sh", "-c", os.Args[0] + " & while ! test -e " + fail + "; do sleep 0.05; done; kill $!; wait $!; exit 3"}}
	r.start("a")
	now := r.because(span{}, lock.CauseFirst)
	r.start("b")
	r.inLine(1)
	must(t, os.WriteFile(fail, nil, 0o600))
	now = r.because(now, lock.CauseFailed, "the command ended with code 3")
	must(t, os.Remove(fail))
	r.inLine(1)
	sick := filepath.Join(r.dir, "sick")
	r.kill("b", syscall.SIGTERM)
	now = r.because(now, lock.CauseStopped)
	r.kill("a", syscall.SIGTERM)
	r.start("b", "--health-interval", "100ms", "--health", "test ! -e "+sick)
	now = r.active(now.token)
	r.start("a")
	r.inLine(1)
	must(t, os.WriteFile(sick, nil, 0o600))
	r.because(now, lock.CauseUnhealthy, "code 1")
	r.judge()
}

// TestWhyOfTheStore: an outage that nobody loses anything by, one that outlasts the promise, and a
// session whose record somebody deletes by hand.
func TestWhyOfTheStore(t *testing.T) {
	onEach(t, []string{onEtcd, onConsul}, func(t *testing.T, r *trio) {
		r.ttl = 4 * time.Second
		r.start("a")
		now := r.because(span{}, lock.CauseFirst)
		r.start("b")
		r.inLine(1)
		outage := func(d time.Duration) {
			must(t, r.cluster.Members[0].Pause())
			time.Sleep(d) // the outage
			must(t, r.cluster.Members[0].Resume())
		}
		outage(r.ttl / 2)
		r.eventually("why says that nothing moved", func() bool {
			s, text := r.story()
			return s.Outage > 1 && s.Active == now.id && strings.Contains(text, "Nothing moved: the store did not answer a for")
		})
		outage(2 * r.ttl)
		now = r.because(now, lock.CauseDeadline, "its beats had no answer")
		if r.store.Backend != onEtcd {
			return
		}
		etcd, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
		must(t, err)
		defer etcd.Close()
		r.inLine(1)
		gone, err := etcd.Delete(t.Context(), "understudy/line/session/"+r.session(now.id))
		if err != nil || gone.Deleted != 1 {
			t.Fatalf("%v, %v", gone, err)
		}
		r.because(now, lock.CauseLost, "its session was ended by another, or its record was deleted")
		r.judge()
	})
}

// session is a contender's, as status has it.
func (r *trio) session(id string) string {
	var found report
	_, text := r.operate("status", "--role", "r", "-o", "json")
	must(r.t, json.Unmarshal([]byte(text), &found))
	for _, role := range found.Roles {
		if role.Active != nil && role.Active.ID == id {
			return role.Active.Session
		}
	}
	r.t.Fatalf("%s is not active:\n%s", id, text)
	return ""
}
