package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/lock"
)

// TestRolledBack restores a backup that a real store was asked for, or that was taken
// of its files, and expects every process that saw greater tokens to refuse the
// store by name, until an operator raises the floor. It makes no sense on Raft,
// where the processes are the store: none is left that could have seen more.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	for what, held := range map[string]bool{"while held": true, "while vacant": false} {
		t.Run(what, func(t *testing.T) {
			onServers(t, func(t *testing.T, r *trio) {
				testRolledBack(t, r, held, map[string]func(r *trio) (restore func()){"etcd": etcdBackup, "consul": consulBackup}[r.store.Backend])
			})
		})
	}
}

func testRolledBack(t *testing.T, r *trio, held bool, backup func(r *trio) (restore func())) {
	r.ttl = 5 * time.Second // a server that is started again is an outage that it rides out
	r.startAll("--heartbeat", "100ms")
	now := r.settled()
	if !held {
		for _, id := range r.ids {
			r.kill(id, syscall.SIGTERM)
		}
	}
	restore := backup(r)
	if !held {
		r.startAll("--heartbeat", "100ms")
	}
	for range 2 {
		r.handOver()
	}
	now = r.settled()
	for _, id := range r.ids {
		r.awaitLog(id, fmt.Sprintf("active=%s token=%d", now.id, now.token))
	}
	restore()
	for _, id := range r.ids {
		r.eventually(id+" warns of it, and each heartbeat says so", func() bool {
			warned := r.lastLine(id, "to=paused reason=\""+lock.ErrRolledBack.Error())
			return strings.Contains(warned, "level=WARN") && strings.Contains(r.lastLine(id, "msg=paused"), "error=\""+lock.ErrRolledBack.Error())
		})
	}
	r.awaitIdle()
	r.eventually("why has that as a reason, once somebody is in line again", func() bool {
		_, text := r.operate("why", "--role", "r")
		return strings.Contains(text, "or the store was put back to an earlier state")
	})
	r.expect(0, "every later one is greater than ", "token-floor", "--role", "r", "--above", fmt.Sprint(now.token))
	r.active(now.token)
	r.handOver()
	r.judge()
}

// awaitLog waits until a wrapper's log says something.
func (r *trio) awaitLog(id, text string) {
	r.t.Helper()
	r.eventually(id+" says that "+text, func() bool {
		log, err := os.ReadFile(filepath.Join(r.dir, id+".log"))
		return err == nil && bytes.Contains(log, []byte(text))
	})
}

// lastLine is the last line of a wrapper's log that contains a text; "": none.
func (r *trio) lastLine(id, text string) (last string) {
	r.t.Helper()
	log, err := os.ReadFile(filepath.Join(r.dir, id+".log"))
	must(r.t, err)
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			last = line
		}
	}
	return last
}

// settled waits until the term that the store names is the one that was stamped last,
// and the others stand by.
func (r *trio) settled() (now span) {
	r.t.Helper()
	l, err := backends.Dial(r.t.Context(), r.store)
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	r.eventually("one works and two stand by", func() bool {
		st, err := standing(r.t.Context(), l, "r")
		now = r.active(0)
		return err == nil && !st.Term.Vacant() && st.Term.Token == lock.Token(now.token) && len(st.Line) == len(r.ids)-1
	})
	return now
}

// handOver moves the role. One who had to register twice may have left the line.
func (r *trio) handOver() {
	r.t.Helper()
	before := r.settled()
	r.eventually("the role is handed over", func() bool {
		code, text := r.operate("handoff", "--role", "r")
		if code != 0 {
			r.t.Log(text)
		}
		return code == 0
	})
	r.active(before.token)
}

// awaitIdle waits until nothing has worked for a while.
func (r *trio) awaitIdle() {
	r.t.Helper()
	r.eventually("nobody works", func() bool {
		before := r.stamped()
		time.Sleep(200 * time.Millisecond) // a hundred stamps, if anybody stamped
		return r.stamped() == before
	})
}

// stamped is when somebody worked last.
func (r *trio) stamped() (last time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		last = max(last, s.last)
	}
	return last
}

// etcdBackup copies a stopped member's files, and puts them back.
func etcdBackup(r *trio) (restore func()) {
	m, kept := r.cluster.Members[0], filepath.Join(r.t.TempDir(), "kept")
	change := func(files func() error) {
		m.Kill() // as a stop that waits for nobody: the files are whole at any moment
		if err := files(); err != nil {
			r.t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
		defer cancel()
		if err := m.Restart(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
	change(func() error { return os.CopyFS(kept, os.DirFS(m.Data())) })
	return func() {
		change(func() error {
			if err := os.RemoveAll(m.Data()); err != nil {
				return err
			}
			return os.CopyFS(m.Data(), os.DirFS(kept))
		})
	}
}

// consulBackup asks the server for a snapshot, and has it restored while all goes on.
func consulBackup(r *trio) (restore func()) {
	c, err := api.NewClient(&api.Config{Address: r.store.Consul.Address})
	if err != nil {
		r.t.Fatal(err)
	}
	from, _, err := c.Snapshot().Save(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer from.Close()
	kept, err := io.ReadAll(from)
	if err != nil {
		r.t.Fatal(err)
	}
	return func() {
		if err := c.Snapshot().Restore(nil, bytes.NewReader(kept)); err != nil {
			r.t.Fatal(err)
		}
	}
}
