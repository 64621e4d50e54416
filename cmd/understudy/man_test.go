package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestMan: every command that help shows has a page, with what it does, each of its flags and an example.
func TestMan(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	if code := execute(t.Context(), []string{"man", dir}, os.Stdout, os.Stderr); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var expect func(cmd *cobra.Command)
	expect = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		page := strings.ReplaceAll(string(text), `\-`, "-")
		wants := []string{cmd.Short, ".SH EXAMPLE"}
		cmd.Flags().VisitAll(func(f *pflag.Flag) { wants = append(wants, "--"+f.Name) })
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
		for _, below := range cmd.Commands() {
			if !below.Hidden {
				expect(below)
			}
		}
	}
	expect(newRoot(nil))
}

// TestManInput: what is wrong is said, and nothing is written.
func TestManInput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"man"}, cli.Usage, "man: takes one folder; write understudy man DIR"},
		{[]string{"man", file}, cli.NotDone, file + ": not a directory"},
	} {
		var errs strings.Builder
		if code := execute(t.Context(), c.args, os.Stdout, &errs); code != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%q: exit code %d, want %d and %q\n%s", c.args, code, c.code, c.want, &errs)
		}
	}
}
