package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/examples/filestore"
	"github.com/understudy-ha/understudy/internal/cli"
)

// addFifth puts a store into the table that is not part of this program. It is called first
// in main, also in that of the wrappers, witnesses and commands that a test starts.
func addFifth() {
	if os.Getenv("UNDERSTUDY_TEST_FIFTH") != "" {
		backends.Add(filestore.Row)
	}
}

// TestFifthStore takes a store of somebody else's through the settings and every kind of
// command. Nothing but its row knows its name.
func TestFifthStore(t *testing.T) {
	t.Setenv("UNDERSTUDY_TEST_FIFTH", "yes")
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	var r *trio
	t.Cleanup(func() { // a witness may still write, after its wrapper was killed
		r.eventually("nobody uses the store", func() bool { return os.RemoveAll(dir) == nil })
	})
	path := filepath.Join(dir, "store")
	ask := func(args ...string) (code int, text string) {
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), squeeze(string(out))
	}
	understudy := func(wantCode int, want string, args ...string) {
		t.Helper()
		if code, text := ask(args...); code != wantCode || !strings.Contains(text, want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s", args, code, wantCode, want, text)
		}
	}
	from := settings(t, "backend: file\nfile:\n  path: "+path+"\n")
	understudy(0, "file.path: "+path+" # "+from+":3", "config", "show", "--origin", "--config", from)
	understudy(0, `"description": "the file, on a disk of this machine"`, "config", "schema")
	understudy(0, "raft, etcd, consul, postgres, kubernetes, nats, s3, memory, file", "version")
	understudy(0, "changes a day", "plan", "--backend", "file")
	understudy(cli.Usage, `backend: "fil" must be one of raft, etcd, consul, postgres, kubernetes, nats, s3, memory, file, did you mean "file"?`, "plan", "--backend", "fil")
	understudy(cli.Usage, "file-path: must not be empty", "run", "--backend", "file", "--role", "r", "--", "true")
	understudy(cli.Usage, "file-path: must not be empty", "status", "--backend", "file", "--role", "r")

	r = newTrioOn(t, func(*trio) (c backends.Config, flags []string) {
		return c, []string{"--backend", "file", "--file-path", path}
	})
	r.startAll()
	asked := func(command string) []string { return append([]string{command, "--role", "r"}, r.flags...) }
	standbys := func(n int) {
		t.Helper()
		r.eventually("so many stand by", func() bool { _, text := ask(asked("status")...); return strings.Count(text, " standby ") == n })
	}
	first := r.active(0)
	standbys(2)
	understudy(0, "\n"+first.id+" active ", asked("status")...)
	understudy(0, "r: "+first.id+" -> ", asked("handoff")...)
	second := r.active(first.token)
	standbys(2)
	r.kill(second.id, syscall.SIGKILL)
	r.active(second.token)
	r.eventually("the witness ended the session, in the store that it was told of as JSON", func() bool {
		text, err := os.ReadFile(filepath.Join(r.dir, second.id+".log"))
		return err == nil && strings.Contains(string(text), "the process is dead, its session is ended")
	})
	for _, id := range r.ids {
		if r.procs[id] != nil { // a witness of one that is killed would write to the store still
			r.kill(id, syscall.SIGTERM)
		}
	}
	r.judge()
}
