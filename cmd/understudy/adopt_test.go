package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestAnotherStore sets a store up anew under three wrappers. Each says that it is another
// store, nobody works in it, and none of them ends. They go on by themselves when the old
// one is back, and when the new one was adopted, as soon as its next token is greater than
// those that were seen: on Consul an operator raises the floor, on etcd the revision gets there.
func TestAnotherStore(t *testing.T) { onServers(t, testAnotherStore) }

func testAnotherStore(t *testing.T, r *trio) {
	r.ttl = 2 * time.Second
	r.startAll("--heartbeat", "200ms")
	now := r.settled()
	old, kept := r.identity(), filepath.Join(t.TempDir(), "kept")
	member := r.cluster.Members[0]
	restart(t, member, func() error { return os.Rename(member.Data(), kept) })
	for _, id := range r.ids {
		r.awaitLog(id, "another store: it has no identity")
		r.awaitLog(id, "understudy adopt --identity "+old)
		r.eventually(id+"'s heartbeat says that it is another store", func() bool {
			last := r.lastLine(id, " active=")
			return strings.Contains(last, "active=unknown") && strings.Contains(last, "error=\"watch: another store")
		})
	}
	r.awaitIdle()
	r.expect(cli.NotDone, "nobody is active", "status", "--role", "r")

	anew := kept + "-anew"
	restart(t, member, func() error {
		if err := os.Rename(member.Data(), anew); err != nil {
			return err
		}
		return os.Rename(kept, member.Data())
	})
	r.active(now.token)
	now = r.settled()
	for _, id := range r.ids { // who has not seen a token cannot know that it was forgotten
		r.awaitLog(id, fmt.Sprintf("token=%d\n", now.token))
	}

	restart(t, member, func() error { return os.RemoveAll(member.Data()) })
	r.awaitIdle()
	r.expect(cli.Usage, `identity "nosuch": an identity is 26 letters and digits`, "adopt", "--identity", "nosuch")
	r.expect(0, "answers to "+old, "adopt", "--identity", old)
	r.expect(0, "answers to "+old, "adopt", "--identity", old)
	own := r.identity()
	r.expect(cli.Usage, "the store that answers here has "+own, "adopt", "--identity", "nosuch")
	r.expect(cli.NotDone, "is that of the store that answers here", "adopt", "--identity", own)
	if r.store.Backend == "consul" {
		r.expect(0, "every later one is greater than ", "token-floor", "--role", "r", "--above", fmt.Sprint(now.token+100))
	}
	r.active(now.token)
	r.expect(0, "store "+r.store.Backend+" ", "status", "--role", "r")
	r.judge()
}

// restart does something to the files of a server while it does not run.
func restart(t testing.TB, m *servers.Member, change func() error) {
	t.Helper()
	m.Kill()
	if err := change(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(m.Data(), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := m.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestIdentities: what a store shows as its identity can be adopted by another, on every store.
func TestIdentities(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *trio) {
		for _, id := range r.ids {
			r.start(id)
		}
		r.active(0)
		own := r.identity()
		if err := checkIdentity(own, "another"); err != nil {
			t.Error(err)
		}
		for _, bad := range []string{own[1:], own + "!", strings.ToLower(own) + "x", ""} {
			if checkIdentity(bad, "another") == nil {
				t.Errorf("%q counts as an identity", bad)
			}
		}
	})
}

// TestDeletedIdentity: somebody deletes the record of the store's identity by hand. The active works
// on, and nobody takes over from it; everybody says so, status too, and adopt leads out of it.
func TestDeletedIdentity(t *testing.T) {
	r := newTrio(t, onEtcd)
	r.ids = []string{"a", "b"}
	for _, id := range r.ids {
		r.start(id)
	}
	now := r.active(0)
	r.inLine(1)
	own := r.identity()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: r.store.Etcd.Endpoints, Logger: zap.NewNop()})
	must(t, err)
	defer etcd.Close()
	gone, err := etcd.Delete(t.Context(), "understudy/state/identity")
	if err != nil || gone.Deleted != 1 {
		t.Fatalf("%v, %v", gone, err)
	}
	for _, id := range r.ids {
		r.awaitLog(id, "understudy adopt --identity "+own)
	}
	r.expect(0, "the store has lost its identity", "status", "--role", "r")
	r.kill(now.id, syscall.SIGTERM)
	r.expect(0, "answers to "+own, "adopt", "--identity", own)
	if next := r.active(now.token); next.id == now.id {
		t.Errorf("%s works, and was stopped", next.id)
	}
	if _, text := r.operate("status", "--role", "r"); strings.Contains(text, "has lost its identity") {
		t.Errorf("after adopt:\n%s", text)
	}
	r.judge()
}
