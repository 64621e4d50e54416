package examples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// A stage is a store, and what runs on it.
type stage struct {
	*stores.Store
	t     *testing.T
	bin   string // where the programs are
	dir   string
	lines chan string
	procs map[string]*process.Process
}

// TestExamples kills the active of three, in every example and on every store, and sees
// another go on under a greater token, and a client follow it.
func TestExamples(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "./scheduler", "./schedulerfx", "./follower", "../cmd/understudy")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	job, err := filepath.Abs("wrapped/job.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, store := range stores.Names {
		for example, command := range map[string]func(s *stage, id string) []string{
			"scheduler": func(s *stage, id string) []string {
				return []string{bin + "/scheduler", "--id", id, "--raft-dir", "raft-" + id}
			},
			"schedulerfx": func(s *stage, id string) []string {
				return []string{bin + "/schedulerfx", "--id", id, "--raft-dir", "raft-" + id}
			},
			"readme": func(s *stage, id string) []string {
				return []string{s.dir + "/readme", "-backend=" + s.Config.Backend, "-id=" + id}
			},
			"wrapped": func(s *stage, id string) []string {
				return []string{bin + "/understudy", "run", "--id", id, "--raft-dir", "raft-" + id, "--", job}
			},
		} {
			t.Run(example+" on "+store, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				s := &stage{stores.Start(t, store, dir), t, bin, dir, make(chan string, 10000), map[string]*process.Process{}}
				t.Cleanup(s.killAll)
				if example == "readme" {
					s.build(filepath.Join(dir, "readme.go"))
				}
				s.takeover(example == "scheduler", func(id string) []string { return command(s, id) })
			})
		}
	}
}

func (s *stage) takeover(followed bool, command func(id string) []string) {
	for _, id := range []string{"a", "b", "c"} {
		s.start(id, command(id)...)
	}
	if followed {
		s.start("follower", s.bin+"/follower")
	}
	first := s.active(0)
	s.untilLine(2)
	follows := func(a active) {
		if followed {
			s.await(fmt.Sprintf("token %d: %s is active: I am %s", a.token, a.id, a.id))
		}
	}
	follows(first)
	_ = s.procs[first.id].Signal(syscall.SIGKILL)
	second := s.active(first.token)
	if second.id == first.id {
		s.t.Errorf("%s is active again, though it was killed", first.id)
	}
	follows(second)
	delete(s.procs, first.id)
	s.stop()
}

// stop stops everything in order.
func (s *stage) stop() {
	for name, p := range s.procs {
		_ = p.Signal(syscall.SIGTERM)
		if err := p.Wait(); err != nil {
			s.t.Errorf("%s: %v after SIGTERM", name, err)
		}
		delete(s.procs, name)
	}
}

// build builds the README's program, with the store's address in place of the usual one.
func (s *stage) build(path string) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```go\n")
	program, _, ok := strings.Cut(rest, "\n```")
	if !ok {
		s.t.Fatal("README.md has no program")
	}
	usual := map[string]string{"raft": "a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003", "etcd": "127.0.0.1:2379", "consul": "127.0.0.1:8500"}
	if n := strings.Count(program, usual[s.Config.Backend]); n != 1 {
		s.t.Fatalf("README.md has %q %d times, want once", usual[s.Config.Backend], n)
	}
	program = strings.Replace(program, usual[s.Config.Backend], s.Where, 1)
	program = strings.Replace(program, `"billing"`, `"scheduler"`, 1) // the role of the other examples
	if err := os.WriteFile(path, []byte(program), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", strings.TrimSuffix(path, ".go"), path).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// start starts a program whose lines are read. What it says on standard error is the test's.
func (s *stage) start(name string, command ...string) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = s.dir, slices.Concat(os.Environ(), s.Environment(), []string{"UNDERSTUDY_ROLE=scheduler"})
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	lab.Must(s.t, err)
	defer log.Close()
	cmd.Stderr = log
	s.procs[name], err = process.Start(cmd, func(line string) { s.lines <- line })
	lab.Must(s.t, err)
}

func (s *stage) killAll() {
	for _, p := range s.procs {
		p.End(syscall.SIGKILL, 0)
		p.Drain()
	}
	if logs, _ := filepath.Glob(filepath.Join(s.dir, "*.log")); s.t.Failed() {
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			s.t.Logf("%s:\n%s", filepath.Base(log), text)
		}
	}
}

// patience is how long a takeover may take here; on a busy machine more than it should.
const patience = time.Minute

// An active is who runs jobs.
type active struct {
	token uint64
	id    string
}

// active returns the first who runs a job under a token greater than after.
func (s *stage) active(after uint64) (a active) {
	s.t.Helper()
	var does string
	deadline := time.After(patience)
	var kept []string
	defer func() {
		for _, line := range kept {
			s.lines <- line
		}
	}()
	for {
		select {
		case line := <-s.lines:
			n, _ := fmt.Sscanf(line, "token %d: %s %s", &a.token, &a.id, &does)
			works := n == 3 && (does == "runs" || does == "works")
			if works && a.token > after {
				return a
			}
			if !works {
				kept = append(kept, line)
			}
		case <-deadline:
			s.t.Fatalf("nobody runs jobs under a token greater than %d; said was %q", after, kept)
		}
	}
}

// await waits until somebody says the line.
func (s *stage) await(want string) {
	s.t.Helper()
	var said []string
	for deadline := time.After(patience); ; {
		select {
		case line := <-s.lines:
			if line == want {
				return
			}
			if !strings.Contains(line, "runs job") {
				said = append(said, line)
			}
		case <-deadline:
			s.t.Fatalf("nobody said %q, but %q", want, said)
		}
	}
}

// untilLine waits until so many stand by.
func (s *stage) untilLine(n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	l, err := backends.Dial(ctx, s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	for st, err := range l.Watch(ctx, "scheduler") {
		if err == nil && len(st.Line) == n {
			return
		}
	}
	s.t.Fatalf("not %d stand by", n)
}
