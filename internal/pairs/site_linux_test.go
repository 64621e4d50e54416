package pairs

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// most is how long anything may take: the base may be slow.
const most = 2 * time.Minute

// says is the user's program: it says that it works, and works until it is told to stop.
const says = `echo "works $UNDERSTUDY_ROLE $UNDERSTUDY_ID"; exec sleep 1000000`

// A site is one store and the contenders of one build. On etcd and Consul every role has three
// processes of its own. With embedded Raft the three peers contend for all roles.
type site struct {
	t          *testing.T
	program    string
	store      string
	flags      []string // that name the store
	cluster    *servers.Cluster
	dir        string
	mark       string // in the environment of all its processes
	contenders map[string]*process.Process
	arguments  map[string][]string // of each contender

	mu     sync.Mutex
	change chan struct{} // closed, and made anew, when somebody begins to work
	works  map[string]work
}

// A work is the latest of a role.
type work struct {
	id    string // whose
	began time.Time
	n     int // how many there were
}

func open(t *testing.T, program, store string) *site {
	s := &site{
		t: t, program: program, store: store, dir: t.TempDir(), mark: fmt.Sprint(time.Now().UnixNano()),
		contenders: map[string]*process.Process{}, arguments: map[string][]string{}, change: make(chan struct{}), works: map[string]work{},
	}
	if store == "raft" {
		s.flags = []string{"--backend", "raft", "--raft-peers", stores.List(stores.Peers(t, "a", "b", "c"))}
		return s
	}
	var err error
	s.cluster, err = servers.Start(lab.Within(t, most), store, s.dir, 3, servers.Options{})
	lab.Must(t, err)
	t.Cleanup(s.cluster.Stop)
	var all []string
	for _, m := range s.cluster.Members {
		all = append(all, m.Addr())
	}
	s.flags = []string{"--backend", "consul", "--consul-address", all[0]}
	if store == "etcd" {
		s.flags = []string{"--backend", "etcd", "--etcd-endpoints", strings.Join(all, ",")}
	}
	return s
}

// close ends every process of the site.
func (s *site) close() {
	for _, p := range s.contenders {
		_ = p.Signal(syscall.SIGTERM)
	}
	for _, p := range s.contenders {
		p.End(syscall.SIGTERM, 10*time.Second)
	}
	if s.cluster != nil {
		s.cluster.Stop()
	}
}

func role(i int) string { return fmt.Sprintf("role-%03d", i) }

// startAll starts every contender at once, and returns how long it took until each role had an
// active.
func (s *site) startAll() time.Duration {
	began := time.Now()
	if s.store == "raft" {
		file := filepath.Join(s.dir, "roles.yaml")
		var text strings.Builder
		fmt.Fprintln(&text, "roles:")
		for i := range *roles {
			fmt.Fprintf(&text, "  - name: %s\n    command: [/bin/sh, -c, '%s']\n", role(i), says)
		}
		lab.Must(s.t, os.WriteFile(file, []byte(text.String()), 0o600))
		for _, id := range []string{"a", "b", "c"} {
			s.start(id, "--config", file, "--raft-dir", filepath.Join(s.dir, id))
		}
	} else {
		for i := range *roles {
			for _, n := range []string{"a", "b", "c"} {
				s.start(role(i)+n, "--role", role(i), "--", "/bin/sh", "-c", says)
			}
		}
	}
	for i := range *roles {
		s.await(role(i), 1)
	}
	return time.Since(began)
}

// start starts a contender.
func (s *site) start(id string, args ...string) {
	cmd := exec.Command(s.program, append(append([]string{"run", "--id", id, "--ttl", ttl.String()}, s.flags...), args...)...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "UNDERSTUDY_PAIRS_SITE="+s.mark), io.Discard
	p, err := process.Start(cmd, s.hear)
	lab.Must(s.t, err)
	s.contenders[id], s.arguments[id] = p, args
}

// hear takes what a user's program says.
func (s *site) hear(line string) {
	var name, id string
	if n, _ := fmt.Sscanf(line, "works %s %s", &name, &id); n < 2 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.works[name] = work{id, time.Now(), s.works[name].n + 1}
	close(s.change)
	s.change = make(chan struct{})
}

func (s *site) latest(name string) (work, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.works[name], s.change
}

// await waits for the n-th work of a role.
func (s *site) await(name string, n int) work {
	ctx, cancel := context.WithTimeout(s.t.Context(), most)
	defer cancel()
	for {
		w, change := s.latest(name)
		if w.n >= n {
			return w
		}
		select {
		case <-change:
		case <-ctx.Done():
			s.t.Fatalf("%s: nobody took %s within %v", s.store, name, most)
		}
	}
}

// killAll kills the contender that is active in each role, as fast as it can, and returns how
// long each role had nobody.
func (s *site) killAll() (gaps []time.Duration) {
	killed := map[string]time.Time{} // by contender
	before := map[string]work{}
	for i := range *roles {
		w, _ := s.latest(role(i))
		before[role(i)] = w
		if killed[w.id].IsZero() {
			killed[w.id] = time.Now()
			lab.Must(s.t, s.contenders[w.id].Signal(syscall.SIGKILL))
			if s.store == "raft" {
				break // the others lead nothing, or are the quorum
			}
		}
	}
	for name, old := range before {
		if at := killed[old.id]; !at.IsZero() {
			gaps = append(gaps, s.await(name, old.n+1).began.Sub(at))
		}
	}
	for id := range killed {
		<-s.contenders[id].Gone()
		delete(s.contenders, id)
		if s.store == "raft" {
			s.start(id, s.arguments[id]...) // the next one that goes would take the majority with it
		}
	}
	return gaps
}

// other is a living contender for the first role that is not active in it.
func (s *site) other(active string) string {
	for id := range s.contenders {
		if id != active && (s.store == "raft" || strings.HasPrefix(id, role(0))) {
			return id
		}
	}
	s.t.Fatal("nobody stands by")
	return ""
}

// handoff has the first role handed over, once that is possible, and returns how long it took from the command's start.
func (s *site) handoff() time.Duration {
	w, _ := s.latest(role(0))
	args := append([]string{"handoff", "--role", role(0), "--to", s.other(w.id)}, s.flags...)
	for end := time.Now().Add(most); ; {
		began := time.Now()
		out, err := exec.Command(s.program, args...).CombinedOutput()
		if err == nil {
			return s.await(role(0), w.n+1).began.Sub(began)
		}
		if time.Now().After(end) {
			s.t.Fatalf("%v: %v\n%s", args, err, out)
		}
		time.Sleep(100 * time.Millisecond) // whoever was started last does not stand by yet
	}
}

// stop stops the active of the first role, and returns how long the role had nobody.
func (s *site) stop() time.Duration {
	w, _ := s.latest(role(0))
	began := time.Now()
	lab.Must(s.t, s.contenders[w.id].Signal(syscall.SIGTERM))
	return s.await(role(0), w.n+1).began.Sub(began)
}
