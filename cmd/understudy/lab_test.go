package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestLab runs a command of understudy-lab through understudy, and says how to get it where
// it is not there.
func TestLab(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, program := range []string{"understudy", labProgram} {
		must(t, os.Link(filepath.Join(shipped(t), program), filepath.Join(dir, program)))
	}
	env := os.Environ()
	run := func() (string, int) {
		cmd := exec.Command(filepath.Join(dir, "understudy"), "conformance", "--backend", "memory", "--case", "^AcquireFree$")
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	if text, code := run(); code != 0 || !strings.Contains(text, "1 passed, 0 failed") {
		t.Errorf("beside it: exit code %d\n%s", code, text)
	}
	elsewhere := t.TempDir()
	must(t, os.Rename(filepath.Join(dir, labProgram), filepath.Join(elsewhere, labProgram)))
	if text, code := run(); code != 1 || !strings.Contains(text, "go install github.com/understudy-ha/understudy/cmd/understudy-lab@latest") {
		t.Errorf("nowhere: exit code %d\n%s", code, text)
	}
	env = append(env, "PATH="+elsewhere)
	if text, code := run(); code != 0 || !strings.Contains(text, "1 passed, 0 failed") {
		t.Errorf("on the PATH: exit code %d\n%s", code, text)
	}
}

// TestLabSpeaksOfWhatWasTyped: help and errors of a command of understudy-lab name the program that was typed.
func TestLabSpeaksOfWhatWasTyped(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"understudy", labProgram} {
		for _, args := range [][]string{{"bench", "--help"}, {"conformance", "-h"}, {"bench", "x"}, {"demo", "--no-such-flag"}} {
			out, _ := exec.Command(filepath.Join(shipped(t), program), args...).CombinedOutput()
			text, typed := string(out), program+" "+args[0]+" "
			if args[1] == "--no-such-flag" {
				typed = program + ": "
			}
			if !strings.Contains(text, typed) || program != labProgram && strings.Contains(text, labProgram) {
				t.Errorf("%s %q:\n%s", program, args, text)
			}
		}
	}
}

// TestDemoWarm runs demo --warm as it is shipped: cold the program takes as long as it takes to start, and warm it does
// not. Each line fits 80 columns. Nothing is left behind, at its end or where its reader goes away.
func TestDemoWarm(t *testing.T) {
	t.Parallel()
	for _, lines := range []int{1000, 3} {
		if lines > 3 && testing.Short() {
			continue
		}
		cmd := exec.Command(filepath.Join(shipped(t), "understudy"), "demo", "--warm")
		cmd.Env = append(os.Environ(), "UNDERSTUDY_BACKEND=etcd", "UNDERSTUDY_CONFIG=/none") // settings are not its affair
		shown, code := lab.Shows(t, cmd, lines)
		if (code == 0) != (lines == 1000) || code > cli.NotDone {
			t.Errorf("after %d lines: exit code %d", lines, code)
		}
		took := map[string]time.Duration{}
		for _, line := range shown {
			if words := strings.Fields(line); len(words) > 2 && (words[0] == "cold" || words[0] == "warm") {
				took[words[0]], _ = time.ParseDuration(words[1]) // zero is not what is wanted
			}
		}
		if lines == 1000 && (took["cold"] < 3*time.Second || took["warm"] <= 0 || took["warm"] > 2*time.Second) {
			t.Errorf("took %v", took)
		}
	}
}

// TestDemoWarmRefuses: a mistake in the command line is 64. Without understudy there is nothing to show, and it says how
// to get it.
func TestDemoWarmRefuses(t *testing.T) {
	t.Parallel()
	alone := filepath.Join(t.TempDir(), labProgram)
	must(t, os.Link(filepath.Join(shipped(t), labProgram), alone))
	for _, c := range []struct {
		flags string
		code  int
		wants string
	}{
		{"--warm=maybe", 64, "--warm"},
		{"--warm --warm=false", 64, "--warm"},
		{"--warm x", 64, "x"},
		{"--warm", 1, "go install github.com/understudy-ha/understudy/cmd/understudy@latest"},
	} {
		cmd := exec.Command(alone, append([]string{"demo"}, strings.Fields(c.flags)...)...)
		cmd.Env = append(os.Environ(), "PATH="+t.TempDir())
		out, _ := cmd.CombinedOutput() // the exit code says it
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.wants) {
			t.Errorf("%s: exit code %d\n%s", c.flags, code, out)
		}
	}
}

// TestNothingOfTheLab: what runs beside a command in production has nothing linked in that
// measures, proves or draws.
func TestNothingOfTheLab(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{$p := .ImportPath}}{{$p}}{{range .Imports}}{{if eq . \"testing\"}}\n{{$p}}->testing{{end}}{{end}}", ".").Output()
	must(t, err)
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/understudy-ha/understudy/coordinator") {
		t.Fatalf("go list says %s", out)
	}
	for _, dep := range deps {
		if strings.Contains(dep, "porcupine") || strings.Contains(dep, "gonum.org") || strings.Contains(dep, "/internal/lab") ||
			strings.HasSuffix(dep, "/internal/failover") || strings.HasSuffix(dep, "/understudy/conformance") {
			t.Errorf("%s is linked into understudy", dep)
		}
		if from, ok := strings.CutSuffix(dep, "->testing"); ok && from != "github.com/hashicorp/raft" { // whose helpers for tests are not apart
			t.Errorf("%s brings testing into understudy", from)
		}
	}
}
