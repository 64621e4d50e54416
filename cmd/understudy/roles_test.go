package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/cli"
)

// threeRoles are what each process takes part in.
var threeRoles = []string{"root", "query", "data"}

// A several is two processes that take part in three roles each, and a voter.
type several struct{ *trio }

// config is a file of settings for several roles; more is said of the first.
func (r several) config(more string) string {
	r.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "backend: %s\nttl: %v\nlog: {level: debug}\n", r.store.Backend, r.ttl)
	switch r.store.Backend {
	case "raft":
		b.WriteString("raft:\n  peers:\n")
		for _, p := range r.store.Raft.Peers {
			fmt.Fprintf(&b, "    %s: %s\n", p.ID, p.Address)
		}
	case "etcd":
		fmt.Fprintf(&b, "etcd:\n  endpoints: %q\n", r.store.Etcd.Endpoints)
	case "consul":
		fmt.Fprintf(&b, "consul.address: %s\n", r.store.Consul.Address)
	}
	b.WriteString("roles:\n")
	for i, name := range threeRoles {
		// The shell's child stamps: it outlives the shell, and must be killed with its group.
		fmt.Fprintf(&b, "- name: %s\n  command: \"trap '' TERM; %s & wait\"\n", name, os.Args[0])
		if i == 0 {
			b.WriteString(more)
		}
	}
	path := filepath.Join(r.t.TempDir(), "understudy.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r several) start(id, config string) {
	r.t.Helper()
	r.launch(id, "run", "--config", config, "--id", id, "--raft-dir", filepath.Join(r.dir, id))
}

// who waits until every role has one who works and one who stands by, and returns them
// by role.
func (r several) who() (all map[string]span) {
	r.t.Helper()
	r.eventually("each role has one active and one standby", func() bool {
		all = map[string]span{}
		for _, role := range threeRoles {
			code, text := r.operate("status", "--role", role, "--timeout", "1s", "-o", "json")
			now, works := r.last(role)
			if code == 0 && works && strings.Count(text, `"session"`) == 2 && strings.Contains(text, fmt.Sprintf(`"token": %d`, now.token)) {
				all[role] = now
			}
		}
		return len(all) == len(threeRoles)
	})
	return all
}

// last is who began to work last in a role.
func (r several) last(role string) (now span, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.role == role && s.token >= now.token {
			now, ok = *s, true
		}
	}
	return now, ok
}

// moved waits until a role is another's, and expects the roles named to have moved and
// no other.
func (r several) moved(before map[string]span, want ...string) map[string]span {
	r.t.Helper()
	for _, role := range want {
		var now span
		r.eventually(role+" moves", func() bool { now, _ = r.last(role); return now.token > before[role].token })
		if now.id == before[role].id {
			r.t.Errorf("%s went from %s to itself", role, now.id)
		}
	}
	after := r.who()
	for _, role := range threeRoles {
		if moved := after[role].token != before[role].token; moved != strings.Contains(strings.Join(want, " "), role) {
			r.t.Errorf("%s moved: %t, and %q should", role, moved, want)
		}
	}
	return after
}

// of are the roles in which a contender works.
func of(id string, now map[string]span) (roles []string) {
	for _, role := range threeRoles {
		if now[role].id == id {
			roles = append(roles, role)
		}
	}
	return roles
}

// TestSeveralRoles has two processes take part in three roles each. A command that is
// killed and a handoff move one role, and leave the others where they are; the end of a
// process moves all of its roles, and only those. No two commands of a role work at once,
// and nothing is left.
func TestSeveralRoles(t *testing.T) { onEveryStore(t, testSeveralRoles) }

func testSeveralRoles(t *testing.T, three *trio) {
	r := several{three}
	r.ttl = 10 * time.Second // a crash must not wait for it

	if r.store.Backend == "raft" { // a pair takes a third voter
		r.vote("c")
	}
	config := r.config("")
	r.start("a", config)
	r.start("b", config)
	now := r.who()
	for _, role := range threeRoles {
		r.expect(0, "\nrole "+role+"\n", "status", "--config", config)
		r.expect(0, "\nrole "+role+"\n", "status") // every role that the store has
	}
	for len(of(now["root"].id, now)) < 3 { // all in one process, to begin with
		for _, role := range threeRoles {
			if now[role].id != now["root"].id {
				r.expect(0, role+": ", "handoff", "--role", role)
				now = r.moved(now, role)
			}
		}
	}
	_ = syscall.Kill(now["query"].pid, syscall.SIGKILL)
	now = r.moved(now, "query")
	r.expect(0, "data: "+now["data"].id+" -> ", "handoff", "--role", "data")
	now = r.moved(now, "data")

	now = r.end(now, now["data"].id, config, syscall.SIGKILL, "query", "data")
	r.expect(0, "root: ", "handoff", "--role", "root")
	now = r.moved(now, "root")
	now = r.end(now, now["data"].id, config, syscall.SIGSTOP, "query", "data") // its witness kills it, and both commands with it
	r.expect(0, "data: ", "handoff", "--role", "data")
	now = r.moved(now, "data")
	r.end(now, now["root"].id, config, syscall.SIGTERM, "root", "query")

	for id := range r.procs {
		r.kill(id, syscall.SIGTERM)
	}
	r.judge()
	r.nothingLeft()
}

// vote starts a member that takes part in nothing.
func (r several) vote(id string) {
	r.launch(id, append([]string{"raft-voter", "--id", id, "--ttl", r.ttl.String(), "--raft-dir", filepath.Join(r.dir, id)}, r.flags...)...)
}

// end ends a process by a signal, expects its roles to move before its promise is over,
// and starts it again.
func (r several) end(now map[string]span, id, config string, sig syscall.Signal, roles ...string) map[string]span {
	r.t.Helper()
	if got := of(id, now); len(got) != len(roles) {
		r.t.Errorf("%s works in %q, want %q", id, got, roles)
	}
	began := time.Now()
	r.kill(id, sig)
	for _, role := range roles {
		r.eventually(role+" leaves "+id+", which is gone", func() bool {
			s, _ := r.last(role)
			return s.token != now[role].token
		})
	}
	if took := time.Since(began); took > r.ttl {
		r.t.Errorf("%q moved %v after %v of %s, which is no better than its promise of %v", roles, took, sig, id, r.ttl)
	}
	r.start(id, config)
	return r.moved(now, roles...)
}

// TestOneRoleExclusive starts a process that does not stand by in one of its roles beside
// one that is active there: it ends, and says in which.
func TestOneRoleExclusive(t *testing.T) {
	t.Parallel()
	r := several{newTrio(t, onEtcd)}
	first := r.config("  activeStandby: {enabled: false}\n")
	r.launch("a", "run", "--config", first, "--id", "a") // nobody else is there: it may
	r.active(0)
	r.launch("b", "run", "--config", first, "--id", "b")
	_ = r.procs["b"].Wait()
	code, text := r.procs["b"].ProcessState.ExitCode(), r.log("b")
	if code != cli.Held || !strings.Contains(text, `"root" is held by`) || !strings.Contains(text, "activeStandby.enabled: true") {
		t.Errorf("exit code %d, want %d\n%s", code, cli.Held, text)
	}
	delete(r.procs, "b")
	r.launch("b", "run", "--config", r.config(""), "--id", "b")
	now := r.who()
	for role, s := range now {
		if s.id != "a" {
			t.Errorf("%s works in %s", s.id, role)
		}
	}
	r.judge()
}

// TestOneRoleExits ends one of several commands: with onExit exit that ends the process
// with its code, and the other command with it.
func TestOneRoleExits(t *testing.T) {
	t.Parallel()
	w := wrap(t, "")
	w.cmd.Args = []string{os.Args[0], "run", "--backend", "memory", "--roles", `[{name: a, command: "echo ready; exec sleep 1000"}, {name: b, command: "sleep 0.2; exit 7", onExit: exit}]`}
	w.start()
	w.expect("ready")
	if code := w.code(); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
}

// TestRolesInput are mistakes that only run can see.
func TestRolesInput(t *testing.T) {
	for want, args := range map[string][]string{
		`command "true": each role in roles has its own`:                {"--roles", "[{name: a, command: [true]}]", "--", "true"},
		`command: role "a" has none; write command: [PROGRAM, ARG]`:     {"--roles", "[{name: a}]"},
		`command "no-such-command": executable file not found in $PATH`: {"--roles", "[{name: a, command: [no-such-command]}]"},
		`stdin: cannot be passed to several commands`:                   {"--roles", "[{name: a, command: [true]}]", "--stdin"},
	} {
		var errs strings.Builder
		code := execute(t.Context(), append([]string{"run", "--backend", "memory"}, args...), &errs, &errs)
		if code != cli.Usage || !strings.Contains(errs.String(), want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("exit code %d, want %s\ngot %s", code, want, errs.String())
		}
	}
}
