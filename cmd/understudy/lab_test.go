package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
