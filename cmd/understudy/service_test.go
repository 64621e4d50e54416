//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestSignalToEverything: systemd's KillMode=control-group and a Ctrl-C of some shells signal all processes of a service:
// wrapper, witness, inits and the commands of each role, in any order. That is a requested stop.
func TestSignalToEverything(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	var file strings.Builder
	fmt.Fprintf(&file, "backend: etcd\nttl: 8s\netcd:\n  endpoints: %q\nroles:\n", r.store.Etcd.Endpoints)
	for _, command := range []string{"exec sleep 1000", "trap 'exit 143' TERM; trap 'exit 130' INT; sleep 1000 & wait", "sleep 1000 & sleep 1000; true"} {
		fmt.Fprintf(&file, "- name: r%d\n  command: %q\n", strings.Count(file.String(), "- name"), command)
	}
	path := filepath.Join(r.dir, "roles.yaml")
	lab.Must(t, os.WriteFile(path, []byte(file.String()), 0o600))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for _, first := range []string{"the wrapper first", "the commands first"} {
			lab.Must(t, os.RemoveAll(filepath.Join(r.dir, "a.log")))
			r.launch("a", "run", "--config", path, "--id", "a")
			r.eventually("all roles are active", func() bool { return strings.Count(r.log("a"), "to=active ") == 3 })
			var all []int
			r.eventually("wrapper, witness, inits and all of the commands run", func() bool {
				all = append([]int{r.procs["a"].Process.Pid}, descendants(r.procs["a"].Process.Pid)...)
				return len(all) == 1+1+3+1+2+3
			})
			for i := range all {
				if first == "the commands first" {
					i = len(all) - 1 - i
				}
				_ = syscall.Kill(all[i], sig) // one may have ended
			}
			if state := r.ended("a"); state.ExitCode() != 0 {
				t.Errorf("%v to everything, %s: %v\n%s", sig, first, state, r.log("a"))
			}
		}
	}
	r.nothingLeft()
}

// TestLogInJSON: from the first line to the last, of a wrapper, its witness and a handoff, and through an outage, each line is
// one JSON object whose keys have no blanks and whose durations are numbers.
func TestLogInJSON(t *testing.T) {
	t.Parallel()
	for _, name := range []string{onEtcd, onRaft} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, name)
			r.program = filepath.Join(shipped(t), "understudy")
			r.more = []string{"--log-format", "json", "--log-level", "debug", "--heartbeat", "300ms"}
			r.startAll()
			now := r.settle()
			r.handoff()
			next := r.active(now.token)
			if name == onEtcd {
				r.lost(next.id, func() { r.commandEnds(next) })
			}
			r.kill(next.id, syscall.SIGTERM)
			for _, id := range r.ids {
				for line := range strings.Lines(r.log(id)) {
					if !strings.HasPrefix(line, "understudy: warning: UNDERSTUDY_TEST") {
						judgeJSON(t, line)
					}
				}
			}
		})
	}
}

// isDuration is how Go writes a duration as text.
var isDuration = regexp.MustCompile(`^-?([0-9.]+(h|m|s|ms|µs|ns))+$`)

func judgeJSON(t *testing.T, line string) {
	t.Helper()
	fields := map[string]any{}
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		t.Errorf("%v: %s", err, line)
	}
	for key, value := range fields {
		text, isText := value.(string)
		if strings.Contains(key, " ") || isText && isDuration.MatchString(text) {
			t.Errorf("%s=%v: %s", key, value, line)
		}
	}
}
