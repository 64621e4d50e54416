package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// warmCommands are the warm commands of examples/warm, by what runs them.
var warmCommands = map[string]func(t *testing.T, dir string) []string{
	"bash":    func(_ *testing.T, dir string) []string { return []string{dir + "/warm.sh"} },
	"python3": func(_ *testing.T, dir string) []string { return []string{dir + "/warm.py"} },
	"node":    func(_ *testing.T, dir string) []string { return []string{dir + "/warm.js"} },
	"java": func(_ *testing.T, dir string) []string {
		return []string{"bash", "-c", "exec java " + dir + "/Warm.java <&$UNDERSTUDY_SOCKET"}
	},
	"cc": func(t *testing.T, dir string) []string {
		program := filepath.Join(t.TempDir(), "warm")
		if out, err := exec.Command("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, dir+"/warm.c").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return []string{program}
	},
}

// TestWarm hands the role of warm commands in each language over, and kills who is active then. Each says that it
// is ready, works in turn, and stands down by itself.
func TestWarm(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/understudy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dir, err := filepath.Abs("warm")
	lab.Must(t, err)
	for language, command := range warmCommands {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(language); err != nil && language != "bash" {
				t.Skipf("%s is not installed: the warm command for it was not run", language)
			}
			work := t.TempDir()
			s := &stage{stores.Start(t, "etcd", work), t, bin, work, make(chan string, 10000), map[string]*process.Process{}}
			t.Cleanup(s.killAll)
			s.warm(command(t, dir))
		})
	}
}

func (s *stage) warm(command []string) {
	for _, id := range []string{"a", "b", "c"} {
		s.start(id, append([]string{s.bin + "/understudy", "run", "--warm", "--id", id, "--"}, command...)...)
	}
	first := s.active(0)
	s.untilReady()
	if out, err := s.operate("handoff"); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	second := s.active(first.token)
	_ = s.procs[second.id].Signal(syscall.SIGKILL)
	third := s.active(second.token)
	if first.id == second.id || second.id == third.id {
		s.t.Errorf("%s worked, then %s, then %s", first.id, second.id, third.id)
	}
	delete(s.procs, second.id)
	s.stop()
	log, err := os.ReadFile(filepath.Join(s.dir, first.id+".log"))
	lab.Must(s.t, err)
	if text := string(log); strings.Contains(text, "killing the command") || strings.Contains(text, "started again") {
		s.t.Errorf("%s did not stand down by itself:\n%s", first.id, text)
	}
}

// operate runs a command of an operator.
func (s *stage) operate(args ...string) (string, error) {
	cmd := exec.Command(s.bin+"/understudy", args...)
	cmd.Env = append(append(os.Environ(), s.Environment()...), "UNDERSTUDY_ROLE=scheduler")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// untilReady waits until two stand by who are ready.
func (s *stage) untilReady() {
	s.t.Helper()
	lab.Eventually(s.t, "two stand by and are ready", func() bool {
		out, err := s.operate("status")
		return err == nil && strings.Count(out, "standby") == 2 && !strings.Contains(out, "not ready")
	})
}
