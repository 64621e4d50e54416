//go:build haproxy && linux

package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestHAProxy puts the page's HAProxy before two contenders whose commands say who they are, and
// counts what a client sees while the role is handed over and while the active is killed. Once
// another was active, no answer is the old one's. It needs HAProxy, as Debian has it.
func TestHAProxy(t *testing.T) {
	s := newShown(t, onEtcd)
	s.ids = s.ids[:2]
	free, err := servers.Addresses(3)
	must(t, err)
	page, err := os.ReadFile("../../docs/monitoring.md")
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

	ask := func() string {
		conn, err := net.DialTimeout("tcp", free[2], time.Second)
		if err != nil {
			return ""
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		line, _ := bufio.NewReader(conn).ReadString('\n') // none: nobody serves
		return strings.TrimSpace(line)
	}
	for what, move := range map[string]func(active string){
		"handoff": func(string) { s.handoff() },
		"SIGKILL": func(active string) { s.signal(active, syscall.SIGKILL) },
	} {
		before := ""
		s.eventually("HAProxy has found the active", func() bool { before = ask(); return before != "" })
		move(before)
		failed, began, after := 0, time.Now(), ""
		s.eventually("another answers", func() bool {
			if after = ask(); after == "" {
				failed++
			}
			return after != "" && after != before
		})
		t.Logf("%s: %d requests failed within %v", what, failed, time.Since(began).Round(time.Millisecond))
		for range 50 {
			if ask() == before {
				t.Errorf("%s: %s answers after %s has", what, before, after)
			}
		}
		if what == "SIGKILL" {
			_ = s.procs[before].Wait()
			s.start(before, "--admin-listen", s.admin[before], "--admin-agent-listen", s.agent[before])
			s.becomes(before, asStandby)
		}
	}
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
