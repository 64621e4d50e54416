//go:build haproxy && linux

package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// How often the role moves, in each way, and how many clients ask all the while.
const moves, clients = 10, 4

// An answer is what a client saw of one request.
type answer struct {
	began, ended time.Time
	who          string // "": it failed
}

// An audience asks a balancer without rest, and keeps what it saw.
type audience struct {
	address string
	mu      sync.Mutex
	seen    []answer
}

// TestHAProxy puts the page's HAProxy before two contenders whose commands say who they are, and
// counts what clients see while the role is handed over and while the active is killed. Nobody who
// asks once the new active has answered is answered by the old one. It needs HAProxy, as Debian has it.
func TestHAProxy(t *testing.T) {
	s := newShown(t, onEtcd)
	s.ids = s.ids[:2]
	a := &audience{address: balance(s)}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() { a.ask(stop) })
	}
	defer func() { close(stop); all.Wait() }()
	for _, what := range []string{"handoff", "SIGKILL"} {
		var sum counts
		for range moves {
			old := ""
			s.eventually("the balancer has found the active", func() bool { old = a.last(); return old != "" })
			began := time.Now()
			if what == "handoff" {
				s.handoff()
			} else {
				s.signal(old, syscall.SIGKILL)
			}
			s.eventually("another answers", func() bool { last := a.last(); return last != "" && last != old })
			if what == "SIGKILL" {
				_ = s.procs[old].Wait()
				s.start(old, "--admin-listen", s.admin[old], "--admin-agent-listen", s.agent[old])
			}
			s.becomesOne()
			sum.add(t, old, a.since(began))
		}
		slices.Sort(sum.waits)
		t.Logf("%s: %d requests, %d failed, the slowest answered in %v; from the old one's last answer to the new one's first median %v, worst %v",
			what, sum.requests, sum.failed, sum.slowest.Round(time.Millisecond), sum.waits[moves/2], sum.waits[moves-1])
	}
}

// balance starts two contenders and the page's HAProxy, and returns where that listens.
func balance(s *shown) string {
	t := s.t
	free, err := servers.Addresses(3)
	must(t, err)
	page, err := os.ReadFile("../../docs/loadbalancer.md")
	must(t, err)
	_, block, _ := strings.Cut(string(page), "```haproxy\n")
	block, _, _ = strings.Cut(block, "```")
	replace := []string{"127.0.0.1:8000", free[2]}
	s.commands = map[string][]string{}
	for i, id := range s.ids {
		s.commands[id] = []string{"env", "UNDERSTUDY_TEST=serve " + free[i], os.Args[0]}
		replace = append(replace, []string{"127.0.0.1:8001", "127.0.0.1:8002"}[i], free[i],
			" port "+[]string{"7070", "7072"}[i], " port "+port(s.admin[id]), "agent-port "+[]string{"7071", "7073"}[i], "agent-port "+port(s.agent[id]))
	}
	file := filepath.Join(s.dir, "haproxy.cfg")
	must(t, os.WriteFile(file, []byte(strings.NewReplacer(replace...).Replace(block)), 0o600))
	s.show()
	s.becomesOne()
	haproxy := exec.Command("haproxy", "-db", "-f", file)
	haproxy.Stderr = os.Stderr
	must(t, haproxy.Start())
	t.Cleanup(func() { _ = haproxy.Process.Kill(); _ = haproxy.Wait() })
	return free[2]
}

// ask asks until stop.
func (a *audience) ask(stop <-chan struct{}) {
	for {
		one := answer{began: time.Now()}
		if conn, err := net.DialTimeout("tcp", a.address, time.Second); err == nil {
			_ = conn.SetDeadline(one.began.Add(5 * time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n') // none: nobody serves
			one.who = strings.TrimSpace(line)
			_ = conn.Close()
		}
		one.ended = time.Now()
		a.mu.Lock()
		a.seen = append(a.seen, one)
		a.mu.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// last is who answered last; "": nobody did.
func (a *audience) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		return ""
	}
	return a.seen[len(a.seen)-1].who
}

// since is what was seen of the requests that ended after a moment, in the order of their ends.
func (a *audience) since(moment time.Time) []answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, _ := slices.BinarySearchFunc(a.seen, moment, func(one answer, at time.Time) int { return one.ended.Compare(at) })
	return slices.Clone(a.seen[i:])
}

// counts are what clients saw of moves of one kind.
type counts struct {
	requests, failed int
	slowest          time.Duration
	waits            []time.Duration // from the old one's last answer to the new one's first
}

// add counts one move away from old, and judges it.
func (c *counts) add(t testing.TB, old string, seen []answer) {
	var last, first time.Time
	for _, one := range seen {
		c.requests++
		switch one.who {
		case "":
			c.failed++
			continue
		case old:
			if last = one.ended; !first.IsZero() && one.began.After(first) {
				t.Errorf("%s answers who asked %v after another had answered", old, one.began.Sub(first))
			}
		default:
			if first.IsZero() {
				first = one.ended
			}
		}
		c.slowest = max(c.slowest, one.ended.Sub(one.began))
	}
	if last.IsZero() { // it answered nobody after the move had begun
		last = seen[0].began
	}
	c.waits = append(c.waits, first.Sub(last).Round(time.Millisecond))
}

// becomesOne waits until one is active and another stands by.
func (s *shown) becomesOne() {
	s.t.Helper()
	s.eventually("one is active, and one stands by", func() bool {
		codes := map[int]int{}
		for _, id := range s.ids {
			code, _ := s.ask(id, "/v1/health")
			codes[code]++
		}
		return codes[200] == 1 && codes[429] == len(s.ids)-1
	})
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
