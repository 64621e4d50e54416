//go:build linux

package main

import (
	"encoding/binary"
	"errors"
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
	t.Parallel()
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
	if warned, registered, _ := strings.Cut(r.log("a"), "to=registering"); registered == "" || !strings.Contains(warned, "the command may become another user") {
		t.Errorf("it does not say so at its start")
	}
	r.start("b")
	r.inLine(1)
	r.signal("a", syscall.SIGTERM)
	r.eventually("it says that nothing can stop the command", func() bool {
		return strings.Contains(r.log("a"), "the command cannot be killed")
	})
	time.Sleep(4 * r.ttl) // a real time: nobody tells that nothing happens
	if next := r.active(0); next.token != now.token {
		t.Errorf("a promise is broken: %s works with token %d beside %s", next.id, next.token, now.id)
	}
	must(t, syscall.Kill(now.pid, syscall.SIGKILL)) // by somebody who may
	r.active(now.token)
	r.ended("a")
	r.kill("b", syscall.SIGTERM)
	r.judge()
}

// TestBecomes tells a program that may become another user from one that may not.
func TestBecomes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to give a program a user or capabilities takes root; CI runs this as root")
	}
	path := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(path, nil, 0o755))
	for _, test := range []struct {
		prepare func() error
		us      int
		want    string
	}{
		{func() error { return nil }, 1000, ""},
		{func() error { return os.Chmod(path, 0o755|os.ModeSetuid) }, 1000, "it is set-user-ID 0"},
		{func() error { return nil }, 0, ""},
		{func() error { return errors.Join(os.Chmod(path, 0o755), setCaps(path, 1<<10)) }, 1000, ""}, // to bind port 80
		{func() error { return setCaps(path, 1<<7) }, 1000, "it has the file capability cap_setuid"},
	} {
		must(t, test.prepare())
		if got := becomes(path, test.us); got != test.want {
			t.Errorf("for %d: %q, want %q", test.us, got, test.want)
		}
	}
}

// setCaps gives a program the capabilities of a mask, as setcap(8) does.
func setCaps(path string, mask uint32) error {
	caps := make([]byte, 20)
	binary.LittleEndian.PutUint32(caps, 0x02000001) // revision 2, and effective at once
	binary.LittleEndian.PutUint32(caps[4:], mask)
	return syscall.Setxattr(path, "security.capability", caps, 0)
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
