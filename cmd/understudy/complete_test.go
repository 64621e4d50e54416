package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCompletion asks what a shell asks: which stores there are, and which roles and contenders the store
// has.
func TestCompletion(t *testing.T) { onEveryStore(t, testCompletion) }

func testCompletion(t *testing.T, r *trio) {
	r.ttl = 30 * time.Second // the role stays where it is
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	line := r.others(now.id)
	offered := func(args ...string) []string {
		t.Helper()
		var out, errs strings.Builder
		line := slices.Concat([]string{"__complete", args[0]}, r.flags, args[1:]) // the word that is being typed comes last
		code := execute(t.Context(), line, &out, &errs)
		text, ok := strings.CutSuffix(out.String(), ":4\n") // no file is meant
		if code != 0 || !ok {
			t.Errorf("%q: exit code %d\n%s%s", args, code, &out, &errs)
		}
		return strings.Fields(text)
	}
	for _, c := range []struct{ args, want []string }{
		{[]string{"status", "--role", ""}, []string{"r"}},
		{[]string{"status", "--role", "x"}, []string{}},
		{[]string{"status", "--id", ""}, r.ids},
		{[]string{"drain", "--id", ""}, r.ids},
		{[]string{"handoff", "--role", "r", "--to", ""}, line},
		{[]string{"handoff", "--role", "r", "--to", line[0]}, line[:1]},
		{[]string{"handoff", "--to", now.id}, []string{}},
		{[]string{"status", "-o", ""}, []string{"table", "json"}},
		{[]string{"status", "--backend", ""}, []string{"raft", "etcd", "consul", "postgres", "kubernetes", "nats", "s3", "memory"}},
		{[]string{"run", "--on-loss", ""}, []string{"standby", "exit"}},
		{[]string{"run", "--ttl", ""}, []string{}},
		{[]string{"status", ""}, []string{}},
	} {
		r.eventually(fmt.Sprintf("%q offers %q", c.args, c.want), func() bool { // a busy store may not answer in time
			return slices.Equal(offered(c.args...), c.want)
		})
	}
	if r.store.Backend == onRaft {
		if got := offered("run", "--id", ""); !slices.Equal(got, r.ids) {
			t.Errorf("run --id: offered are %q, want the peers", got)
		}
	}
}

// TestCompletionWithoutAStore: a store that does not answer offers nothing, soon, and says nothing.
func TestCompletionWithoutAStore(t *testing.T) {
	t.Parallel()
	free := "127.0.0.1:1" // where nobody listens
	for _, args := range [][]string{
		{"status", "--backend", "etcd", "--etcd-endpoints", free, "--role", ""},
		{"status", "--backend", "raft", "--raft-peers", "a=" + free, "--id", ""},
		{"status", "--backend", "raft", "--id", ""},
		{"status", "--backend", "nonsense", "--ttl", "--role", ""},
	} {
		cmd := exec.Command(filepath.Join(shipped(t), "understudy"), append([]string{"__complete"}, args...)...)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "UNDERSTUDY_") })
		began := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "understudy:") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
		if took := time.Since(began); took > 10*offering {
			t.Errorf("%q took %v", args, took)
		}
	}
}

// TestCompletionInEachShell: what the shells read is a program of theirs; and the commands of
// understudy-lab are completed by it.
func TestCompletionInEachShell(t *testing.T) {
	t.Parallel()
	program := filepath.Join(shipped(t), "understudy")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := exec.Command(program, "completion", shell).Output()
		must(t, err)
		path, err := exec.LookPath(shell)
		if err != nil && shell != "bash" {
			t.Logf("%s is not here: its script is not read", shell)
			continue
		}
		must(t, err)
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(string(script))
		if out, err := check.CombinedOutput(); err != nil || len(script) == 0 {
			t.Errorf("%s does not read its script: %v\n%s", shell, err, out)
		}
	}
	out, err := exec.Command(program, "__complete", "bench", "--ba").Output()
	if err != nil || !strings.Contains(string(out), "--backends") {
		t.Errorf("the flags of bench: %v\n%s", err, out)
	}
}
