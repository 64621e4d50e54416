package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state/statetest"
)

// TestMain is also the program, and its witness.
func TestMain(m *testing.M) {
	witness.Main(backends.Beside)
	if os.Getenv("ROOTCOORD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a command that starts this test binary as rootcoord.
func program(flags ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"--role", "rootcoord", "--ttl", "2s"}, flags...)...)
	cmd.Env = append(os.Environ(), "ROOTCOORD=1")
	return cmd
}

// A group is a store, and the processes of the role on it.
type group struct {
	testing.TB
	store  *stores.Store
	client lock.Locker // which only looks and asks
	dir    string
	ids    []string
	at     map[string]string         // where each process is reached, also when it is started again
	far    map[string]*servers.Proxy // its way to the store, where that has servers
	procs  map[string]*process.Process
}

func newGroup(t testing.TB, store string, ids ...string) *group {
	dir := t.TempDir()
	g := &group{TB: t, store: stores.Start(t, store, dir), dir: dir, ids: ids, at: map[string]string{}, far: map[string]*servers.Proxy{}, procs: map[string]*process.Process{}}
	addresses, err := servers.Addresses(len(ids))
	lab.Must(t, err)
	for i, id := range ids {
		g.at[id] = addresses[i]
		if g.store.Cluster != nil {
			g.far[id], err = servers.StartProxy(g.store.Where)
			lab.Must(t, err)
			t.Cleanup(g.far[id].Close)
		}
	}
	g.startAll()
	g.client, err = backends.Dial(lab.Within(t, time.Minute), g.store.Config)
	lab.Must(t, err)
	t.Cleanup(func() { lab.Must(t, g.client.Close()) })
	return g
}

// startAll starts whoever does not run.
func (g *group) startAll() {
	for _, id := range g.ids {
		if p := g.procs[id]; p != nil && !p.Ended() {
			continue
		}
		flags := []string{"--id", id, "--listen", g.at[id], "--raft-dir", filepath.Join(g.dir, id), "--log-level", "warn"}
		flags = append(flags, g.store.Flags()...)
		if far := g.far[id]; far != nil {
			flags[len(flags)-1] = far.Addr()
		}
		cmd := program(flags...)
		log, err := os.OpenFile(filepath.Join(g.dir, id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		lab.Must(g, err)
		cmd.Stdout, cmd.Stderr = log, log
		p, err := process.Start(cmd, nil)
		lab.Must(g, err)
		lab.Must(g, log.Close())
		g.procs[id] = p
		g.Cleanup(func() { p.End(syscall.SIGKILL, 0) })
	}
}

// settled waits until somebody is active, under that token or a later one, and all others stand by. It
// starts again whoever has ended: one that wakes too late ends itself.
func (g *group) settled(token lock.Token) (st lock.Standing) {
	g.Helper()
	lab.Eventually(g, "everybody in line", func() bool {
		g.startAll()
		ctx, cancel := context.WithTimeout(g.Context(), 5*time.Second)
		defer cancel()
		for s, err := range g.client.Watch(ctx, "rootcoord") {
			st = s
			return err == nil && st.Term.Token >= token && !st.Term.Vacant() && len(st.Line) == len(g.ids)-1
		}
		return false
	})
	return st
}

var clients = http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// An answer is what a process says.
type answer struct {
	status int
	text   string
	age    string
	active string
	entry  entry
}

// ask asks a process, which may be dead, or hang.
func ask(ctx context.Context, most time.Duration, method, url, key, about string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+url, strings.NewReader(about))
	if err != nil {
		return a, err
	}
	r.Header.Set("Idempotency-Key", key)
	got, err := clients.Do(r)
	if err != nil {
		return a, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	a = answer{status: got.StatusCode, text: string(text), age: got.Header.Get("Age"), active: got.Header.Get("Active")}
	_ = json.Unmarshal(text, &a.entry) // most are none
	return a, err
}

func TestMachine(t *testing.T) {
	var all [][]byte
	for _, c := range []command{
		{Key: "1", Path: []string{"b"}, About: "books", Token: 1},
		{Key: "2", Path: []string{"b", "new"}, About: "x"},
		{Key: "3", Path: []string{"b", "old"}},
		{Key: "2", Path: []string{"b", "new"}, Token: 2}, // a retry
		{Key: "4", Path: []string{"b", "new"}},           // there already
		{Key: "5", Path: []string{"none", "p"}},
		{Key: "6", Path: []string{"b", "old"}, Drop: true},
		{Key: "7", Path: []string{"b", "old"}, Drop: true},
		{Key: "8", Path: []string{"a"}},
		{Key: "9", Path: []string{"b"}, Drop: true},
		{Key: "10", Path: []string{"b", "new"}, Drop: true},
		{Key: "11", Path: []string{"b"}, Token: 2},
	} {
		all = append(all, encode(c))
	}
	statetest.Run(t, newMeta, append(all, nil, []byte("not ours"), []byte("{}"))...)
}

// TestOutcomes: the outcomes that are kept are the latest.
func TestOutcomes(t *testing.T) {
	m := newMeta()
	for i := range remembered + 1 {
		m.Apply(encode(command{Key: string(rune('a' + i)), Path: []string{"b"}}))
	}
	if len(m.Outcomes) != remembered || len(m.Keys) != remembered || m.Outcomes["a"].Of != "" || m.Outcomes["b"].Status != http.StatusConflict {
		t.Errorf("%d outcomes, %d keys, %+v, %+v", len(m.Outcomes), len(m.Keys), m.Outcomes["a"], m.Outcomes["b"])
	}
}

// TestAnswers asks a process well and badly.
func TestAnswers(t *testing.T) {
	t.Parallel()
	at := servers1(t)
	p, err := process.Start(program("--id", "a", "--backend", "memory", "--listen", at), nil)
	lab.Must(t, err)
	t.Cleanup(func() { p.End(syscall.SIGKILL, 0) })
	lab.Eventually(t, "the process to be active", func() bool {
		a, err := ask(t.Context(), lab.Patience, "GET", at+"/collections", "", "")
		return err == nil && a.age == "0"
	})
	long := strings.Repeat("x", 256)
	for _, c := range []struct {
		method, path, key, about string
		status                   int
		says                     string
	}{
		{"PUT", "/collections/b", "1", "books", 201, `"ID":1,`},
		{"PUT", "/collections/b", "1", "books", 201, `"ID":1,`},
		{"PUT", "/collections/b", "1", "other books", 422, `Idempotency-Key "1" was used for something else`},
		{"PUT", "/collections/b", "2", "", 409, "it is there already"},
		{"PUT", "/collections/b/partitions/p", "3", "x", 201, `"ID":2,`},
		{"PUT", "/collections/c/partitions/p", "4", "", 404, "there is no such collection or partition"},
		{"GET", "/collections", "", "", 200, `["b"]`},
		{"GET", "/collections/b", "", "", 200, `"About":"books","Partitions":{"p":{"ID":2,`},
		{"GET", "/collections/b/partitions/p", "", "", 200, `"About":"x"`},
		{"GET", "/collections/c", "", "", 404, "there is no such collection or partition"},
		{"GET", "/collections/b/partitions/q", "", "", 404, "there is no such collection or partition"},
		{"PUT", "/collections/" + long, "5", "", 400, `"xxxxxxxxxxxxxxxxxxxx" has 256 bytes: write 1 to 255`},
		{"PUT", "/collections/b/partitions/" + long, "5", "", 400, `"xxxxxxxxxxxxxxxxxxxx" has 256 bytes: write 1 to 255`},
		{"PUT", "/collections/a%2Fb", "5", "", 400, `"a/b" has 3 bytes: write 1 to 255 letters`},
		{"PUT", "/collections/d", "5", strings.Repeat("x", maxAbout+1), 413, "body has more than 4096 bytes"},
		{"PUT", "/collections/d", "", "", 400, "Idempotency-Key has 0 bytes: draw one"},
		{"PUT", "/collections/d", long, "", 400, "Idempotency-Key has 256 bytes: draw one"},
		{"PUT", "/tables/d", "5", "", 404, `PUT "/tables/d": ask by GET, PUT or DELETE for /collections/NAME`},
		{"POST", "/collections/d", "5", "", 404, `POST "/collections/d": ask by GET, PUT or DELETE`},
		{"GET", "/collections", "", "", 200, `["b"]`}, // nothing was written
		{"PUT", "/collections/" + long[1:], "5", strings.Repeat("x", maxAbout), 201, `"ID":3,`},
		{"DELETE", "/collections/b/partitions/p", "6", "", 204, ""},
		{"DELETE", "/collections/b/partitions/p", "6", "", 204, ""},
		{"DELETE", "/collections/b/partitions/p", "7", "", 404, "there is no such collection or partition"},
		{"DELETE", "/collections/b", "8", "", 204, ""},
		{"GET", "/collections/b", "", "", 404, "there is no such collection or partition"},
	} {
		a, err := ask(t.Context(), lab.Patience, c.method, at+c.path, c.key, c.about)
		if err != nil || a.status != c.status || !strings.Contains(a.text, c.says) {
			t.Errorf("%s %.40s, key %.10q: %d %s %v, want %d %s", c.method, c.path, c.key, a.status, a.text, err, c.status, c.says)
		}
		if c.method == "GET" && a.age != "0" {
			t.Errorf("GET %.40s: age %q on the active", c.path, a.age)
		}
	}
}

func servers1(t *testing.T) string {
	all, err := servers.Addresses(1)
	lab.Must(t, err)
	return all[0]
}

// TestRefused: a store that keeps no values is refused by its name, before anybody asks it.
func TestRefused(t *testing.T) {
	t.Parallel()
	out, err := program("--id", "a", "--backend", "postgres", "--postgres-url", "postgres://nobody@127.0.0.1:1/none").CombinedOutput()
	if want := "backend: postgres keeps no values, and the log is made of them: use one of " + lock.ValueStores; err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, %s; want %s", err, out, want)
	}
}
