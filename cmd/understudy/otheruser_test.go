package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCommandOfAnotherUser stops a wrapper that is not root, whose command has become root:
// nothing here can stop that. The role is kept until the command has ended.
func TestCommandOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a set-user-ID command takes root; CI runs this as root")
	}
	r := newTrio(t, onEtcd)
	dir, err := os.MkdirTemp("", "understudy-test-") // t.TempDir is for its owner alone
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	program, root := filepath.Join(dir, "understudy"), filepath.Join(dir, "root")
	copyProgram(t, program, 0o755)
	copyProgram(t, root, 0o755|os.ModeSetuid)
	r.through = map[string][]string{
		"a": {"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--", "env", "UNDERSTUDY_TEST=wrapper root"},
		"b": {"env", "UNDERSTUDY_TEST=wrapper"},
	}
	r.commands = map[string][]string{"a": {root}}
	r.more = []string{"--stop-timeout", "300ms"}
	r.program = program
	r.start("a")
	now := r.active(0)
	r.start("b")
	r.inLine(1)
	r.signal("a", syscall.SIGTERM)
	r.eventually("it says that nothing can stop the command", func() bool {
		return strings.Contains(r.log("a"), "the command cannot be killed")
	})
	time.Sleep(4 * r.ttl) // a real time: nobody tells that nothing happens
	if next := r.active(0); next.token != now.token {
		t.Errorf("%s works with token %d beside %s", next.id, next.token, now.id)
	}
	must(t, syscall.Kill(now.pid, syscall.SIGKILL)) // by somebody who may
	r.active(now.token)
	r.ended("a")
	r.kill("b", syscall.SIGTERM)
	r.judge()
}

// copyProgram copies this binary to where everybody finds it.
func copyProgram(t *testing.T, to string, mode os.FileMode) {
	t.Helper()
	from, err := os.Open(os.Args[0])
	must(t, err)
	defer from.Close()
	f, err := os.Create(to)
	must(t, err)
	_, err = io.Copy(f, from)
	must(t, err)
	must(t, f.Close())
	must(t, os.Chmod(to, mode))
}
