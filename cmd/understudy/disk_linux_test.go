package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestFullDisk fills the disk of one of three nodes, first of a standby and then of the
// active: its log takes nothing any more, so its watches show nothing new, but the others
// commit its beats. The role does not stay there, and the node says why. Operators wait for
// the others only.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"standby", "active"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onRaft)
			full := r.ownDisk("a", small)
			first, others := "b", []string{"a", "c"}
			if whose == "active" {
				first, others = "a", []string{"b", "c"}
			}
			for _, id := range append([]string{first}, others...) {
				r.start(id, "--priority", fmt.Sprint(map[bool]int{true: 1}[id == first]))
			}
			now := r.active(0)
			r.inLine(2)
			if now.id != first {
				r.expect(0, "-> "+first, "handoff", "--role", "r", "--to", first)
				now = r.active(now.token)
				r.inLine(2)
			}
			fillDisk(t, full())
			if whose == "standby" {
				if _, said := r.operate("handoff", "--role", "r", "--to", "a", "--timeout", "5s"); !strings.Contains(said, "a did not answer") {
					t.Errorf("handed to a node whose disk is full: %s", said)
				}
			} else {
				now = r.active(now.token)
			}
			if now.id == "a" {
				t.Error("a works on a full disk")
			}
			r.awaitLog("a", "does not follow its group's log")
			if line := r.lastLine("a", "does not follow its group's log"); !strings.Contains(line, theDiskOf) { // why looks for that
				t.Errorf("it does not name its disk: %s", line)
			}
			if _, since, _ := strings.Cut(r.log("a"), "does not follow its group's log"); strings.Contains(since, "the store answers again") || strings.Contains(since, "active=nobody") {
				t.Errorf("a says of a store that does not answer it:\n%s", since)
			}
			r.expect(0, "failing: a; none may fail", "raft", "status")
			r.expect(cli.Lacking, "no space left on device", "raft", "backup", filepath.Join(filepath.Dir(full()), "backup"))
			r.expect(0, "a fails: ", "raft", "status")
			r.expect(0, "failing: a; none may fail", "status", "--role", "r")
			standby := map[string]string{"b": "c", "c": "b"}[now.id]
			r.expect(cli.NotDone, "1 answer", "raft", "member", "remove", standby)
			r.expect(0, now.id+" -> "+standby, "handoff", "--role", "r", "--to", standby, "--timeout", "3s") // a is asked first
			if strings.Contains(r.log("a"), "can write raft.db again") {
				t.Errorf("a says that it can write, and its disk is full:\n%s", r.log("a"))
			}
			must(t, os.Remove(full()))
			r.awaitLog("a", "can write raft.db again")
			r.inLine(2)
			r.judge()
		})
	}
}

// TestFullDisks: where the disks of a majority are full, status says so, as raft status does.
func TestFullDisks(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	full := []func() string{r.ownDisk("a", small), r.ownDisk("b", small)}
	for _, id := range []string{"a", "b", "c"} {
		r.start(id)
	}
	r.active(0)
	r.inLine(2)
	for _, path := range full {
		fillDisk(t, path())
	}
	for _, command := range [][]string{{"raft", "status"}, {"status", "--role", "r"}} {
		lab.Eventually(t, strings.Join(command, " ")+" says whose disks are full", func() bool {
			_, said := r.operate(command...)
			return strings.Contains(said, "no majority: 2 of 3 must work; failing: a, b") && strings.Contains(said, "the disk of "+filepath.Join(r.dir, "a"))
		})
	}
	for _, path := range full {
		must(t, os.Remove(path()))
	}
	r.active(0)
	r.inLine(2)
	r.judge()
}

// TestVoterWithAFullDisk is not counted, and replaces nobody, until its disk has room.
func TestVoterWithAFullDisk(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll()
	leaves := "c"
	if r.active(0).id == leaves {
		leaves = "b"
	}
	r.inLine(2)
	d, full := stores.Peers(t, "d")[0], r.ownDisk("d", small)
	r.launch("d", "raft-voter", "--id", "d", "--ttl", r.ttl.String(), "--raft-dir", filepath.Join(r.dir, "d"), "--raft-peers", stores.List([]raft.Peer{d, r.store.Raft.Peers[0]}))
	lab.Eventually(t, "d has begun", func() bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(full()), "raft.db"))
		return err == nil && listens(d.Address)
	})
	fillDisk(t, full())
	replace := []string{"raft", "member", "replace", leaves, d.String()}
	r.expect(cli.NotDone, `member d is let in, and not there in time: it cannot be relied on: the disk of `+filepath.Join(r.dir, "d"), append(replace, "--timeout", "5s")...)
	if _, text := r.operate("raft", "member", "list"); strings.Count(text, "voter")+strings.Count(text, "leader") != 3 || strings.Count(text, "learns") != 1 {
		t.Errorf("the members are\n%s", text)
	}
	must(t, os.Remove(full()))
	r.expect(0, "member "+leaves+" is taken out", replace...)
	r.judge()
}

// listens reports whether something listens at an address.
func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// TestDiskWithoutASize: a file system that does not say how large it is counts as one with room.
func TestDiskWithoutASize(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	for _, id := range r.ids {
		r.ownDisk(id, "ramfs")
	}
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	r.expect(0, now.id+" -> ", "handoff", "--role", "r")
	r.judge()
}

// small is a disk that is soon full.
const small = "tmpfs -o size=1m"

// ownDisk has a contender's data directory be a disk of its own, in a mount namespace of its own. path is a file on it, once it runs.
func (r *trio) ownDisk(id, kind string) (path func() string) {
	disk := filepath.Join(r.dir, id)
	must(r.t, os.Mkdir(disk, 0o700))
	if r.through == nil {
		r.through = map[string][]string{}
	}
	r.through[id] = []string{"unshare", "--map-root-user", "--mount", "sh", "-c", `mount -t ` + kind + ` none "$0" && exec "$@"`, disk}
	return func() string { return fmt.Sprintf("/proc/%d/root%s/fill", r.procs[id].Process.Pid, disk) }
}

// fillDisk fills the disk on which path is.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 16; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// onFull runs a command line whose answer goes to a disk that is full.
func onFull(t *testing.T, args ...string) (code int, errs string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	defer full.Close()
	var text lab.Said
	code = execute(t.Context(), args, full, &text)
	return code, text.String()
}

// TestAnswerOnAFullDisk: an answer that cannot be written is neither a mistake in the command line nor a success.
func TestAnswerOnAFullDisk(t *testing.T) {
	t.Parallel()
	lines := []string{"plan", "plan -o json", "version", "version -o json", "--version", "config show", "config schema", "--help", "help", "raft", "completion bash", "__complete ra", "raft certs --raft-peers a=127.0.0.1:1 --dir " + t.TempDir() + "/c"}
	for name := range exits {
		lines = append(lines, name+" --help")
	}
	for _, line := range lines {
		if code, errs := onFull(t, strings.Fields(line)...); code != cli.Unwritten || !strings.Contains(errs, "understudy: done, but the answer could not be written") || !strings.Contains(errs, "no space left on device") {
			t.Errorf("%q: code %d, want %d, and %s", line, code, cli.Unwritten, errs)
		}
	}
	if code, errs := onFull(t, "--version"); code != cli.Unwritten || !strings.HasPrefix(strings.Split(errs, "\n")[1], "understudy (devel), ") {
		t.Errorf("the answer is not repeated as it would have been: %s", errs)
	}
	if code, errs := onFull(t, "config", "show", "--skew", "x"); code != cli.Usage || !strings.Contains(errs, `skew: "x" is not a duration`) {
		t.Errorf("with a mistake: code %d, %s", code, errs)
	}
}

// TestDoneButUnwritten: a command that has changed something, and cannot say so on its output, says it on
// standard error, with an exit code of its own; one that was refused has the code of that.
func TestDoneButUnwritten(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll()
	was := r.active(0)
	r.inLine(2)
	for _, test := range []struct {
		code       int
		says, line string
	}{
		{cli.Unwritten, "r: " + was.id + " -> ", "handoff --role r"},
		{cli.Unwritten, "is asked to hand over to", "step-down --role r"},
		{cli.Unwritten, "undo it with: understudy resume --role r", "pause --role r"},
		{cli.Unwritten, "r is resumed", "resume --role r"},
		{cli.Unwritten, "undo it with: understudy drain --id a --undo", "drain --id a"},
		{cli.Unwritten, "is back in line", "drain --id a --undo"},
		{cli.Unwritten, "a has priority 3", "priority --id a --role r 3"},
		{cli.Unwritten, "every later one is greater than", "token-floor --role r --above 5"},
		{cli.Unwritten, "", "status"},
		{cli.Unwritten, "", "status -o json"},
		{cli.Unwritten, "", "status --watch"},
		{cli.Unwritten, "", "why"},
		{cli.Unwritten, "", "raft status"},
		{cli.Unwritten, "", "raft member list"},
		{cli.Unwritten, "holds group", "raft backup " + filepath.Join(t.TempDir(), "f")},
		{cli.NotDone, "nobody has taken part", "status --role x"},
		{cli.NotDone, "lives: its beat moved", "evict --role r"},
		{another, "could not be written", "status --role r --is-active --id z"},
	} {
		code, errs := onFull(t, append(strings.Fields(test.line), r.flags...)...)
		if code != test.code || !strings.Contains(errs, test.says) || !strings.Contains(errs, "no space left on device") {
			t.Errorf("%s: code %d, want %d and %q\n%s", test.line, code, test.code, test.says, errs)
		}
		if test.code == cli.Unwritten != strings.Contains(errs, "done, but the answer") {
			t.Errorf("%s: is it done? %s", test.line, errs)
		}
		if strings.HasPrefix(test.line, "handoff") || strings.HasPrefix(test.line, "step-down") {
			was = r.active(was.token)
			r.inLine(2)
		}
	}
}
