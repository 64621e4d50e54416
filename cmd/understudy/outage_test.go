package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestOutageIsFewLines takes the store away for a minute, from the only node that is left of
// Raft, from etcd's clients and from Consul's: its servers are killed, or hang. At any ttl each process says at most ten
// lines from Info on, and none in the words of a library: the active, a standby, a voter, and, on etcd, a
// contender that asks for a vacant role.
func TestOutageIsFewLines(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes a minute")
	}
	var all []func()
	for _, name := range stores.Names {
		r := newTrio(t, name)
		r.ttl = 500 * time.Millisecond
		r.startAll("--log-level", "info", "--hang-timeout", "0") // a busy machine takes longer than half of that ttl
		now := r.active(0)
		r.inLine(2)
		left := r.ids
		if r.cluster == nil {
			left = []string{now.id}
		}
		all = append(all, r.lines(name, left))
		if r.cluster != nil {
			all = append(all, hanging(newTrio(t, name)))
		} else {
			all = append(all, aVoter(t))
		}
		if name == onEtcd { // what it says is the same on all of them
			all = append(all, asking(t, name))
		}
	}
	r := newTrio(t, onRaft)
	r.ttl = 2 * time.Second
	r.startAll("--log-level", "info", "--hang-timeout", "0")
	standby := r.others(r.active(0).id)[0]
	r.inLine(2)
	all = append(all, r.lines(onRaft, []string{standby}))
	time.Sleep(time.Minute) // it is the lines of a minute that are counted
	for _, judge := range all {
		judge()
	}
}

// hanging has the servers of three wrappers hang, until what it returns has judged their lines.
func hanging(r *trio) func() {
	r.startAll("--log-level", "info", "--hang-timeout", "0")
	r.active(0)
	r.inLine(2)
	resume := func() error { return nil }
	judge := r.linesOf(r.store.Backend+", hanging", r.ids, func() (err error) { resume, err = r.cluster.Pause(); return err })
	return func() { judge(); lab.Must(r.t, resume()) }
}

// aVoter loses the other nodes of its group.
func aVoter(t *testing.T) func() {
	r := newTrio(t, onRaft)
	for _, id := range []string{"a", "b"} {
		r.start(id)
	}
	r.launch("c", append([]string{"raft-voter", "--id", "c", "--ttl", r.ttl.String(), "--log-level", "info", "--raft-dir", filepath.Join(r.dir, "c")}, r.flags[2:]...)...)
	r.active(0)
	r.inLine(1)
	return r.lines("a voter", []string{"c"})
}

// asking is a contender that becomes healthy just when the store is gone, and asks it for a role that nobody has.
func asking(t *testing.T, name string) func() {
	r := newTrio(t, name)
	r.ttl = 10 * time.Second
	well := filepath.Join(r.dir, "well")
	flags := []string{"--log-level", "info", "--health-interval", "100ms", "--health", "test -e " + well}
	if r.cluster == nil {
		r.startAll(flags...)
	} else {
		r.start("a", flags...)
	}
	r.logged("a", "msg=paused role=r id=a active=nobody")
	judge := r.lines(name, []string{"a"})
	must(t, os.WriteFile(well, nil, 0o600))
	return func() {
		if text := r.log("a"); !strings.Contains(text, "to=activating") && !strings.Contains(text, `error="acquire: `) { // a beat may have failed before it
			t.Errorf("%s: a has not asked for the role:\n%s", name, r.log("a"))
		}
		judge()
	}
}

// lines ends the store, on Raft all nodes but those that are left, and returns what judges the lines that were written since.
func (r *trio) lines(name string, left []string) (judge func()) {
	return r.linesOf(name, left, func() error {
		for id := range r.procs {
			if r.cluster == nil && !slices.Contains(left, id) {
				r.kill(id, syscall.SIGKILL)
			}
		}
		if r.cluster != nil {
			for _, m := range r.cluster.Members {
				m.Kill()
			}
		}
		return nil
	})
}

// linesOf is lines of a store that is taken away like this.
func (r *trio) linesOf(name string, left []string, away func() error) (judge func()) {
	before := map[string]int{}
	for _, id := range left {
		before[id] = len(r.log(id))
	}
	lab.Must(r.t, away())
	return func() {
		for _, id := range left {
			text := r.log(id)
			if n := busiestMinute(r.t, text[before[id]:]); n > 10 {
				r.t.Errorf("%s: %s says %d lines in a minute:\n%s", name, id, n, text[before[id]:])
			}
			noLibrary(r.t, text)
		}
		r.judge()
	}
}

// busiestMinute is the most lines that a log has within a minute: who is judged last was watched for longer than one. What
// has no time of its own, as the lines of an error have, is of the time of the line before.
func busiestMinute(t testing.TB, text string) (most int) {
	t.Helper()
	var times []time.Time
	for line := range strings.Lines(text) {
		var at time.Time
		if stamp, ok := strings.CutPrefix(line, "time="); ok {
			stamp, _, _ = strings.Cut(stamp, " ")
			var err error
			if at, err = time.Parse(time.RFC3339, stamp); err != nil {
				t.Errorf("%v in %s", err, line)
			}
		} else if n := len(times); n > 0 {
			at = times[n-1]
		}
		times = append(times, at)
		for times[0].Before(at.Add(-time.Minute)) {
			times = times[1:]
		}
		most = max(most, len(times))
	}
	return most
}

// TestOutageOfManyRoles: where twenty roles are lost at once, and each command must be killed,
// that is ten lines a minute at most, too.
func TestOutageOfManyRoles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	const roles = 20
	r := newTrio(t, "etcd")
	var file strings.Builder
	fmt.Fprintf(&file, "backend: etcd\nttl: 5s\nlog: {level: info}\netcd:\n  endpoints: %q\nroles:\n", r.store.Etcd.Endpoints)
	for i := range roles {
		fmt.Fprintf(&file, "- name: r%d\n  command: \"trap '' TERM; sleep 1000 & wait; wait\"\n", i)
	}
	path := filepath.Join(r.dir, "roles.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.launch("a", "run", "--config", path, "--id", "a")
	r.eventually("all roles are active", func() bool { return strings.Count(r.log("a"), "to=active") == roles })
	before := len(r.log("a"))
	r.cluster.Members[0].Kill()
	time.Sleep(time.Minute) // it is the lines of a minute that are counted
	text := r.log("a")[before:]
	if n := busiestMinute(t, text); n > 10 || !strings.Contains(text, "killing the command") {
		t.Errorf("%d lines in a minute:\n%s", n, text)
	}
}

// noLibrary expects no line that a library wrote, and none that nobody can read.
func noLibrary(t testing.TB, text string) {
	t.Helper()
	for _, bad := range []string{"component=", "%!", "=map[]", `="{}"`, "raft: ", "entering follower"} {
		if _, line, found := strings.Cut(text, bad); found {
			t.Errorf("a line has %q%.100s", bad, line)
		}
	}
}

// TestFewFiles: a node that can open no more files says so, seldom, and that it can again.
func TestFewFiles(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.through = map[string][]string{"a": {"sh", "-c", `ulimit -n 64 && exec "$@"`, "sh"}}
	r.startAll("--log-level", "info", "--witness=false")
	r.active(0)
	r.inLine(2)
	release := holdOpen(t, r.store.Raft.Peers[0].Address, 100)
	r.awaitLog("a", "cannot accept connections")
	before := len(r.log("a"))
	time.Sleep(10 * time.Second) // it tries ten times a second
	text := r.log("a")[before:]
	release()
	r.awaitLog("a", "connections are accepted again")
	if n := strings.Count(text, "\n"); n > 10 {
		t.Errorf("%d lines in ten seconds:\n%s", n, text)
	}
	r.active(0)
}

// TestTooFewFilesForAWitness: who cannot open the files that a witness takes ends with the code for what a machine lacks, and
// does not go on without one.
func TestTooFewFilesForAWitness(t *testing.T) {
	t.Parallel()
	for files := 8; files < 16; files++ { // fewer than the runtime needs are its own error
		cmd := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, files), "sh", filepath.Join(shipped(t), "understudy"),
			"run", "--backend", "etcd", "--etcd-endpoints", "127.0.0.1:1", "--role", "r", "--ttl", "1s", "--", "true")
		said, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != cli.Lacking || !strings.Contains(string(said), "witness: ") || !strings.Contains(string(said), "too many open files") {
			t.Errorf("with %d files: exit code %d, want %d\n%s", files, code, cli.Lacking, said)
		}
	}
}

// TestTooFewFilesForALockFile: the lock file needs a number of its own, and a limit below that is named, not the file blamed.
func TestTooFewFilesForALockFile(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-c", `ulimit -n 64 && exec "$@"`, "sh", filepath.Join(shipped(t), "understudy"),
		"run", "--backend", "memory", "--role", "r", "--lock-file", filepath.Join(t.TempDir(), "lock"), "--", "true")
	said, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != cli.Lacking || !strings.Contains(string(said), "too many open files") {
		t.Errorf("exit code %d, want %d\n%s", code, cli.Lacking, said)
	}
}

// holdOpen opens n connections, and has them make calls without an end.
func holdOpen(t *testing.T, address string, n int) (release func()) {
	t.Helper()
	var conns []net.Conn
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("U")); err != nil { // a connection with calls
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	return func() {
		for _, conn := range conns {
			_ = conn.Close() // some were closed by the other side
		}
	}
}
