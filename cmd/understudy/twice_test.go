package main

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestFlagsGivenTwice: every flag that takes one value is refused by its name where it is given two, as nobody can say
// which one is meant. Each is tried on one command, and each command with one flag at least.
func TestFlagsGivenTwice(t *testing.T) {
	t.Parallel()
	several := map[string]bool{"label": true, "raft-peers": true, "etcd-endpoints": true, "operator": true}
	tried, commands := map[string]bool{}, 0
	for _, name := range leaves(newRoot(nil)) {
		words := strings.Fields(name)
		cmd, _, err := newRoot(nil).Find(words)
		must(t, err)
		if cmd.DisableFlagParsing {
			continue // the other program's
		}
		commands++
		one := false
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if several[f.Name] || one && tried[f.Name] {
				return
			}
			one, tried[f.Name] = true, true
			value := f.DefValue
			if f.Name == "output" {
				value = "json"
			}
			args := append(words, "--"+f.Name+"="+value, "--"+f.Name+"="+value+"x")
			code, text := said(t, args...)
			if want := f.Name + ": --" + f.Name + " is given twice"; code != cli.Usage || !strings.Contains(text, want) {
				t.Errorf("%q: exit code %d, want %d and %q:\n%s", args, code, cli.Usage, want, text)
			}
		})
	}
	if len(tried) < 100 || commands < 30 {
		t.Errorf("%d flags were tried, on %d commands", len(tried), commands)
	}
}
