package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/internal/cli"
)

// exits are the exit codes of each command; every one has 0, 64, 71 and 74, too. asks is what makes it ask
// a store.
var exits = map[string]struct {
	codes []int
	asks  string
}{
	"run":                 {[]int{cli.Unavailable, cli.Held, cli.Lost, 127, 137}, "--role r --backend etcd --etcd-endpoints 127.0.0.1:1 --connect-timeout 300ms -- true"},
	"status":              {[]int{cli.NotDone, another, cli.Unavailable}, "--role r"},
	"history":             {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"why":                 {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"handoff":             {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"step-down":           {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"pause":               {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"resume":              {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"drain":               {[]int{cli.NotDone, cli.Unavailable}, "--id a"},
	"priority":            {[]int{cli.NotDone, cli.Unavailable}, "--role r --id a 1"},
	"evict":               {[]int{cli.NotDone, cli.Unavailable}, "--role r"},
	"token-floor":         {[]int{cli.NotDone, cli.Unavailable}, "--role r --above 1"},
	"adopt":               {[]int{cli.NotDone, cli.Unavailable}, "--identity 5ALCDDCG6LVT5YUIMMXLXHZWAJ"},
	"raft-voter":          {codes: []int{cli.Held}},
	"raft status":         {[]int{cli.NotDone, cli.Unavailable}, " "},
	"raft member list":    {[]int{cli.Unavailable}, " "},
	"raft member add":     {[]int{cli.NotDone, cli.Unavailable}, "d=127.0.0.1:2"},
	"raft member remove":  {[]int{cli.NotDone, cli.Unavailable}, "a"},
	"raft member replace": {[]int{cli.NotDone, cli.Unavailable}, "a d=127.0.0.1:2"},
	"raft member promote": {[]int{cli.NotDone, cli.Unavailable}, "a"},
	"raft member move":    {[]int{cli.NotDone, cli.Unavailable}, "a=127.0.0.1:2"},
	"healthcheck":         {codes: []int{cli.NotDone}},
	"copy":                {},
	"raft certs":          {codes: []int{cli.NotDone}},
	"raft check":          {codes: []int{cli.NotDone, unread}},
	"raft backup":         {[]int{cli.NotDone, cli.Unavailable}, "none.backup"},
	"raft restore":        {[]int{cli.NotDone, cli.Unavailable}, ""},
	"raft recover":        {codes: []int{cli.NotDone}},
	"man":                 {codes: []int{cli.NotDone}},
	"plan":                {}, "config show": {}, "config schema": {}, "version": {}, "help": {},
	"completion bash": {}, "completion fish": {}, "completion powershell": {}, "completion zsh": {},
}

// TestFilesOfTLSAreChecked: a file for TLS that cannot be used is a mistake in every command that would reach
// a store, which is told by the setting's name before anything is tried.
func TestFilesOfTLSAreChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, group := range []string{"ours", "theirs"} {
		if code, text := said(t, "raft", "certs", "--dir", filepath.Join(dir, group), "--raft-peers", "a=127.0.0.1:1,b=127.0.0.1:2"); code != 0 {
			t.Fatal(text)
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "none.pem"), []byte("no certificate"), 0o600))
	bad := []struct{ says, ca, cert, key string }{
		{"-ca-file: CA file: ", "no-such", "ours/a.pem", "ours/a.key"},
		{"-ca-file: CA file ", "none.pem", "ours/a.pem", "ours/a.key"},
		{"-cert-file: certificate ", "ours/ca.pem", "no-such", "ours/a.key"},
		{"-cert-file: certificate ", "ours/ca.pem", "ours/a.pem", "no-such"},
		{"-cert-file: certificate ", "ours/ca.pem", "ours/a.pem", "ours/b.key"},
		{"-key-file: give ", "ours/ca.pem", "ours/a.pem", ""},
		{"-cert-file: certificate ", "theirs/ca.pem", "ours/a.pem", "ours/a.key"}, // with raft alone one authority signs both
	}
	stores := map[string]string{"raft": "--raft-peers=a=127.0.0.1:1", "etcd": "--etcd-endpoints=127.0.0.1:1", "consul": "--consul-address=127.0.0.1:1"}
	for name, command := range exits {
		if command.asks == "" && name != "raft-voter" && name != "raft restore" && name != "plan" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rest := map[string]string{
				"run":          "--role r --id a --raft-dir " + dir + "/d --connect-timeout 300ms -- true",
				"raft-voter":   "--id a --raft-dir " + dir + "/d",
				"raft restore": dir + "/none.pem",
			}[name]
			for store, at := range stores {
				for i, files := range bad {
					if store != "raft" && (strings.HasPrefix(name, "raft") || i == len(bad)-1) {
						continue
					}
					args := append(strings.Fields(name), "--backend", store, at)
					for kind, file := range map[string]string{"ca": files.ca, "cert": files.cert, "key": files.key} {
						if file != "" {
							args = append(args, "--"+store+"-"+kind+"-file", filepath.Join(dir, file))
						}
					}
					args = append(args, strings.Fields(cmp.Or(rest, command.asks))...)
					if code, text := said(t, args...); code != cli.Usage || !strings.Contains(text, store+files.says) {
						t.Errorf("%q: exit code %d, want %d and %q\n%s", args, code, cli.Usage, store+files.says, text)
					}
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "d")); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// leaves are the commands below one that have none below themselves, as they are written.
func leaves(cmd *cobra.Command) (all []string) {
	if !cmd.HasSubCommands() {
		return []string{strings.TrimPrefix(cmd.CommandPath(), "understudy ")}
	}
	for _, one := range cmd.Commands() {
		all = append(all, leaves(one)...)
	}
	return all
}

var codeLine = regexp.MustCompile(`(?m)^  (\d+) +\S`)

// TestCodesOfEveryCommand: each command lists its own exit codes, has 64 for a mistake in its command
// line and 69 for a store that does not answer, and notices that its help cannot be written.
func TestCodesOfEveryCommand(t *testing.T) {
	t.Parallel()
	root := newRoot(nil)
	cli.Execute(t.Context(), root, []string{"version"}, new(bytes.Buffer), new(bytes.Buffer)) // completes it
	all := slices.DeleteFunc(leaves(root), func(name string) bool {
		return slices.Contains([]string{"demo", "bench", "conformance", "probe"}, name) || strings.HasPrefix(name, "__")
	})
	if known := slices.Sorted(maps.Keys(exits)); !slices.Equal(slices.Sorted(slices.Values(all)), known) {
		t.Errorf("the commands are %q, and the table has %q", all, known)
	}
	for name, want := range exits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(name)
			_, help := said(t, append(words, "--help")...)
			if strings.Contains(help, "\n\n\n") {
				t.Errorf("two empty lines in the help:\n%s", help)
			}
			_, list, _ := strings.Cut(help, "Exit codes:\n")
			list, _, _ = strings.Cut(list, "\n\n")
			var codes []int
			for _, line := range codeLine.FindAllStringSubmatch(list, -1) {
				var code int
				_, _ = fmt.Sscan(line[1], &code)
				codes = append(codes, code)
			}
			if wanted := slices.Sorted(slices.Values(append(want.codes, 0, cli.Usage, cli.Lacking, cli.Unwritten))); !slices.Equal(codes, wanted) {
				t.Errorf("help lists %v, want %v", codes, wanted)
			}
			if code, text := said(t, append(words, "--no-such-flag")...); code != cli.Usage || !strings.Contains(text, "no-such-flag") {
				t.Errorf("a flag that there is not: exit code %d, %s", code, text)
			}
			if want.asks != "" {
				args := append(words, strings.Fields(want.asks)...)
				if name != "run" {
					args = append(args, "--raft-peers", "a=127.0.0.1:1", "--timeout", "300ms")
				}
				if code, text := said(t, args...); code != cli.Unavailable {
					t.Errorf("%q without a store: exit code %d, %s", args, code, text)
				}
			}
		})
	}
}

// TestNoSuchCommand: an unknown command is a mistake, and the error lists the commands that exist.
func TestNoSuchCommand(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"completion basch":  `unknown command "basch" for "understudy completion", did you mean "bash"?; it has bash, fish, powershell, zsh`,
		"raft foo":          "it has backup, certs, check, member, recover, restore, status",
		"raft member foo":   "it has add, list, move, promote, remove, replace",
		"config foo":        "it has schema, show",
		"help foo":          `unknown command "foo" for "understudy"; it has `,
		"help raft foo":     `unknown command "foo" for "understudy raft"`,
		"help run foo":      `"foo" is not a command: understudy run has none below it`,
		"help raft member":  "\nShow", // is one
		"completion bash x": `"x"`,
	} {
		code, text := said(t, strings.Fields(line)...)
		if isOne := strings.HasPrefix(want, "\n"); (code == 0) != isOne || !isOne && (code != cli.Usage || !strings.Contains(text, want)) {
			t.Errorf("%s: exit code %d, want %q\n%s", line, code, want, text)
		}
	}
}

// TestRefusalsAreOne: what is refused as things stand is 1 in every command, and what was given wrong is 64.
func TestRefusalsAreOne(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	dir := t.TempDir()
	there, file := filepath.Join(dir, "there"), filepath.Join(dir, "group.backup")
	must(t, os.WriteFile(there, []byte("x"), 0o600))
	r.expect(0, "holds", "raft", "backup", file)
	for _, test := range []struct {
		code       int
		says, line string
	}{
		{cli.NotDone, `to "z": does not stand by`, "handoff --role r --to z"},
		{cli.NotDone, "is active already", "handoff --role r --to " + now.id},
		{cli.NotDone, "no standby has these labels", "handoff --role r --selector no=such"},
		{cli.NotDone, "no standby has these labels", "handoff --role r --selector no!="},
		{0, "r: z is not active, and has nothing to hand over", "handoff --role r --from z"},
		{cli.NotDone, "no standby has these labels", "handoff --role r --selector no=such --from " + now.id},
		{cli.NotDone, `role "x": nobody has taken part in it`, "handoff --role x"},
		{cli.NotDone, `role "x": nobody has taken part in it`, "step-down --role x"},
		{cli.NotDone, `role "x": nobody has taken part in it`, "pause --role x"},
		{cli.NotDone, "is not paused", "resume --role r"},
		{cli.NotDone, `role "x": nobody has taken part in it`, "why --role x"},
		{cli.NotDone, `role "x": nobody has taken part in it`, "history --role x"},
		{cli.NotDone, "nobody has taken part in it", "status --role x"},
		{cli.NotDone, `id "z": is neither active nor standing by`, "evict --id z"},
		{cli.NotDone, `id "z": is neither active nor standing by`, "drain --id z"},
		{cli.NotDone, `id "z": is neither active nor standing by`, "priority --id z --role r 1"},
		{cli.NotDone, "lives: its beat moved", "evict --role r"},
		{cli.NotDone, "contenders are registered", "raft restore " + file},
		{cli.NotDone, "it is cut short, or no backup", "raft restore " + there},
		{cli.NotDone, "in use by process", "raft recover --out " + dir + "/new " + filepath.Join(r.dir, now.id)},
		{unread, "in use by process", "raft check " + filepath.Join(r.dir, now.id)},
		{cli.Usage, "there is no such file", "raft restore " + dir + "/none"},
		{cli.Usage, "there is such a file already", "raft backup " + there},
		{cli.Usage, "not to standard output", "raft backup -"},
		{cli.Usage, "there is no such file", "raft check " + dir + "/none"},
		{cli.Usage, "there is no such file", "raft recover --out " + dir + "/new " + dir + "/none"},
		{cli.Usage, "must be a number", "priority --id a --role r x"},
		{cli.Usage, "an identity is 26 letters and digits", "adopt --identity x"},
		{cli.Usage, "is not a label", "handoff --role r --selector x"},
		{cli.Usage, `member "d": write ID=HOST:PORT`, "raft member add d"},
	} {
		args := strings.Fields(test.line)
		if args[1] != "check" && args[1] != "recover" { // these ask nobody
			args = append(args, r.flags...)
		}
		if code, text := said(t, args...); code != test.code || !strings.Contains(text, test.says) {
			t.Errorf("%s: exit code %d, want %d and %q\n%s", test.line, code, test.code, test.says, text)
		}
	}
	if again := r.active(0); again.token != now.token {
		t.Errorf("a refused command has changed something: token %d after %d", again.token, now.token)
	}
}
