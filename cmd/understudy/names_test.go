package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestNamesInEveryCommand: a role and an ID may have slashes, blanks and quotes. Every command takes them, and what it
// says to type next is what a shell needs. That every store takes them a case of the suite proves, NamesApart.
func TestNamesInEveryCommand(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	const role, a, b = "bill/ing", "a b", "it's"
	wrappers := map[string]*exec.Cmd{}
	for _, id := range []string{a, b} {
		cmd := exec.Command(os.Args[0], append(append([]string{"run", "--role", role, "--id", id, "--ttl", "2s"}, r.flags...), "--", "sleep", "1000")...)
		cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
		must(t, cmd.Start())
		wrappers[id] = cmd
		t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
		lab.Eventually(t, id+" takes part", func() bool {
			_, text := said(t, append([]string{"status", "--role", role}, r.flags...)...)
			return strings.Contains(text, "\n"+id+"  ")
		})
	}
	expect := func(says string, args ...string) {
		t.Helper()
		if code, text := said(t, append(args, r.flags...)...); code != 0 || !strings.Contains(text, says) {
			t.Errorf("%q: exit code %d, want 0 and %q\n%s", args, code, says, text)
		}
	}
	expect(`"id": "a b"`, "status", "--role", role, "-o", "json")
	expect("role bill/ing", "status")
	expect("bill/ing: a b -> it's", "handoff", "--role", role, "--to", b)
	expect("bill/ing: it's -> a b", "step-down", "--role", role, "--wait")
	expect("understudy handoff --role bill/ing --to 'a b'", "step-down", "--role", role)
	lab.Eventually(t, "it is handed over", func() bool {
		code, _ := said(t, append([]string{"status", "--role", role, "--is-active", "--id", b}, r.flags...)...)
		return code == 0
	})
	expect("bill/ing", "why", "--role", role)
	expect("it's", "history", "--role", role)
	expect("understudy resume --role bill/ing", "pause", "--role", role)
	expect("bill/ing is resumed", "resume", "--role", role)
	expect("understudy drain --id 'a b' --undo", "drain", "--id", a)
	expect("a b", "drain", "--id", a, "--undo")
	expect(`understudy priority --id 'it'\''s' --role bill/ing --undo`, "priority", "--id", b, "--role", role, "7")
	expect("1000", "token-floor", "--role", role, "--above", "1000")
	must(t, wrappers[a].Process.Kill())
	expect("is evicted", "evict", "--id", b, "--force")
	if out, err := exec.Command("sh", "-c", "printf %s "+word(b)).Output(); err != nil || string(out) != b {
		t.Error(fmt.Sprintf("a shell takes %s for %q", word(b), out), err)
	}
}
