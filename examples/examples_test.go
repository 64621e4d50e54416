package examples

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A stage is a store, and what runs on it.
type stage struct {
	t     *testing.T
	bin   string // where the programs are
	dir   string
	env   []string
	store backends.Config
	where string // it is, as the variable for that has it

	lines chan string
	procs map[string]*exec.Cmd
	pipes sync.WaitGroup
}

// stores say how each store is reached, by us, by the examples and by understudy run.
var stores = map[string]func(s *stage){
	"raft": func(s *stage) {
		var peers []string
		for _, id := range []string{"a", "b", "c"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				s.t.Fatal(err)
			}
			defer l.Close()
			s.store.Raft.Peers = append(s.store.Raft.Peers, raft.Peer{ID: id, Address: l.Addr().String()})
			peers = append(peers, id+"="+l.Addr().String())
		}
		s.use("raft", "UNDERSTUDY_RAFT_PEERS", strings.Join(peers, ","))
	},
	"etcd": func(s *stage) {
		c, err := servers.StartEtcd(s.t.Context(), filepath.Join(s.dir, "etcd"), 1, servers.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(c.Stop)
		s.store.Etcd = etcd.Config{Endpoints: []string{c.Members[0].Addr()}}
		s.use("etcd", "UNDERSTUDY_ETCD_ENDPOINTS", c.Members[0].Addr())
	},
	"consul": func(s *stage) {
		c, err := servers.StartConsul(s.t.Context(), filepath.Join(s.dir, "consul"), 1, servers.Options{})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(c.Stop)
		s.store.Consul = consul.Config{Address: c.Members[0].Addr()}
		s.use("consul", "UNDERSTUDY_CONSUL_ADDRESS", c.Members[0].Addr())
	},
}

func (s *stage) use(name, variable, where string) {
	s.store.Backend, s.where = name, where
	s.env = append(os.Environ(), "UNDERSTUDY_BACKEND="+name, variable+"="+where, "UNDERSTUDY_ROLE=scheduler")
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
	readme := filepath.Join(bin, "readme.go")
	for store, begin := range stores {
		for example, command := range map[string]func(s *stage, id string) []string{
			"scheduler": func(s *stage, id string) []string {
				return []string{bin + "/scheduler", "--id", id, "--raft-dir", "raft-" + id}
			},
			"schedulerfx": func(s *stage, id string) []string {
				return []string{bin + "/schedulerfx", "--id", id, "--raft-dir", "raft-" + id}
			},
			"readme": func(s *stage, id string) []string {
				return []string{bin + "/readme", "-backend=" + s.store.Backend, "-id=" + id}
			},
			"wrapped": func(s *stage, id string) []string {
				return []string{bin + "/understudy", "run", "--id", id, "--raft-dir", "raft-" + id, "--", job}
			},
		} {
			t.Run(example+" on "+store, func(t *testing.T) {
				s := &stage{t: t, bin: bin, dir: t.TempDir(), lines: make(chan string, 10000), procs: map[string]*exec.Cmd{}}
				t.Cleanup(s.killAll)
				begin(s)
				if example == "readme" {
					s.build(readme)
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
	_ = s.procs[first.id].Process.Signal(syscall.SIGKILL)
	second := s.active(first.token)
	if second.id == first.id {
		s.t.Errorf("%s is active again, though it was killed", first.id)
	}
	follows(second)
	delete(s.procs, first.id)
	for name, cmd := range s.procs {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
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
	if n := strings.Count(program, usual[s.store.Backend]); n != 1 {
		s.t.Fatalf("README.md has %q %d times, want once", usual[s.store.Backend], n)
	}
	program = strings.Replace(program, usual[s.store.Backend], s.where, 1)
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
	cmd.Dir, cmd.Env = s.dir, s.env
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	s.procs[name] = cmd
	s.pipes.Go(func() {
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			s.lines <- in.Text()
		}
	})
}

func (s *stage) killAll() {
	for _, cmd := range s.procs {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	s.pipes.Wait()
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
	l, err := backends.Dial(ctx, s.store)
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
