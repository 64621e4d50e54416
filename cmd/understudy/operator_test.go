package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// operate runs one command line against the trio.
func (r *trio) operate(args ...string) (code int, text string) {
	var out, errs lab.Said
	code = execute(r.t.Context(), append(args, r.flags...), &out, &errs)
	return code, out.String() + errs.String()
}

// expect is operate, and judges what came of it.
func (r *trio) expect(code int, text string, args ...string) {
	r.t.Helper()
	if got, out := r.operate(args...); got != code || !strings.Contains(out, text) {
		r.t.Errorf("%v: exit code %d, want %d and %q\n%s", args, got, code, text, out)
	}
}

func (r *trio) handoff(to ...string) {
	r.t.Helper()
	args := append([]string{"handoff", "--role", "r"}, r.flags...)
	for _, id := range to {
		args = append(args, "--to", id)
	}
	if code := execute(r.t.Context(), args, io.Discard, os.Stderr); code != 0 {
		r.t.Errorf("handoff: exit code %d", code)
	}
}

// TestOperator walks an operator's commands through a group.
func TestOperator(t *testing.T) { onEveryStore(t, testOperator) }

func testOperator(t *testing.T, r *trio) {
	for _, id := range r.ids {
		r.start(id, "--ttl", "2s", "--hang-timeout", "0") // one is stopped, and must stay alive
	}
	now := r.active(0)
	r.inLine(2)
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", r.witness(now.id)))
	if want := "understudy-witness\x00id=" + now.id + " role=r\x00"; err != nil || string(title) != want {
		t.Errorf("a list of processes shows a witness as %q, want %q: %v", title, want, err)
	}
	for _, command := range []string{"handoff", "evict"} {
		r.expect(cli.Usage, "none is given; write --role ROLE, or set UNDERSTUDY_ROLE", command)
		r.expect(cli.Usage, "; the store has r\n", command)
	}
	r.expect(cli.NotDone, `role "x": nobody has taken part in it; the store has r`, "status", "--role", "x")
	r.expect(cli.NotDone, `role "x": nobody has taken part in it; the store has r`, "handoff", "--role", "x")
	r.expect(cli.NotDone, `role "x": nobody has taken part in it; the store has r`, "evict", "--role", "x")
	r.expect(0, now.id+"   active", "status", "--role", "r")
	r.expect(0, "standby 1", "status", "--role", "r")
	r.expect(0, now.id+"   active", "status") // every role that there is
	r.expect(0, "may fail\n", "status")
	r.expect(0, now.id+"   active", "status", "--role", "r", "--is-active", "--id", now.id)
	r.expect(another, now.id+"   active", "status", "--role", "r", "--is-active", "--id", "z")
	r.expect(cli.Usage, "needs the contender; write --id ID", "status", "--role", "r", "--is-active")
	r.expect(cli.NotDone, "is active already", "handoff", "--role", "r", "--to", now.id)
	r.expect(cli.NotDone, `to "z": does not stand by; these do: `, "handoff", "--role", "r", "--to", "z")
	r.expect(0, "undo it with: understudy handoff --role r --to "+now.id, "handoff", "--role", "r")
	now = r.active(now.token)

	r.expect(cli.NotDone, "lives: its beat moved", "evict", "--role", "r")
	r.expect(cli.NotDone, "lives: its beat moved", "evict", "--id", now.id)
	r.expect(cli.NotDone, `id "z": is neither active nor standing by in any role`, "evict", "--id", "z")
	r.judge() // what a forced eviction lets overlap is not judged
	r.expect(0, now.id+" is evicted", "evict", "--id", now.id, "--force")
	now = r.active(now.token)
	r.inLine(2)

	r.expect(0, "every later one is greater than 5000000000000000", "token-floor", "--role", "r", "--above", "5000000000000000")
	r.expect(0, "every later one is greater than 5000000000000000", "token-floor", "--role", "r", "--above", "5")
	r.expect(0, "r: "+now.id+" -> ", "handoff", "--role", "r")
	if now = r.active(now.token); now.token <= 5e15 {
		t.Errorf("token %d, want more than 5e15", now.token)
	}
	r.inLine(2)

	r.signal(now.id, syscall.SIGSTOP)                                                                                        // silent: its wish is not heard, and an eviction finds it dead
	if code, out := r.operate("handoff", "--role", "r", "--timeout", "1s"); code != cli.NotDone && code != cli.Unavailable { // the latter where it led Raft
		t.Errorf("exit code %d, want %d\n%s", code, cli.NotDone, out)
	}
	r.signal(now.id, syscall.SIGCONT)
}

// TestEvictTheSilent waits out the promise of a session that does not beat.
func TestEvictTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		p := lock.Promise{TTL: 10 * time.Second, Skew: time.Second}
		s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "s"}, p, lock.Bid{Role: "r"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.TryAcquire(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		var out lab.Said
		begin := time.Now()
		e := eviction{locker: l, role: "r", timeout: time.Second, out: &out}
		if err := e.run(t.Context(), t.Context()); err != nil || !strings.Contains(out.String(), "a is evicted") {
			t.Errorf("%v: %s", err, out.String())
		}
		if waited := time.Since(begin); waited < p.TTL+p.Skew {
			t.Errorf("waited for %v only", waited)
		}
		if st, err := standing(t.Context(), l, "r"); err != nil || !st.Term.Vacant() {
			t.Errorf("%v: %+v", err, st)
		}
	})
}

// A refusing locker lets nobody end a session.
type refusing struct{ lock.Locker }

func (r refusing) Evict(context.Context, lock.SessionID, lock.Beat, lock.End) error {
	return lock.Permanent(errors.New("you may not"))
}

// TestEvictRefused: nothing is said of an eviction that does not take place.
func TestEvictRefused(t *testing.T) {
	t.Parallel()
	l := memory.New().Open()
	s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: 10 * time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
	must(t, err)
	_, err = s.TryAcquire(t.Context(), "r")
	must(t, err)
	var out lab.Said
	e := eviction{locker: refusing{l}, role: "r", force: true, timeout: time.Second, out: &out}
	if err := e.run(t.Context(), t.Context()); err == nil || out.String() != "" {
		t.Errorf("%v: %s", err, out.String())
	}
	e.locker = l
	if err := e.run(t.Context(), t.Context()); err != nil || !strings.Contains(out.String(), "a is evicted by force (session s): its roles are free; if it lives") {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestEvictByOneName: a flag counts more than the other's variable, which a user sets for all commands.
func TestEvictByOneName(t *testing.T) {
	t.Setenv("UNDERSTUDY_ROLE", "r")
	store := []string{"--raft-peers", "a=127.0.0.1:1", "--timeout", "1s"}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--id", "x"}, cli.Unavailable, ""},
		{[]string{"--id", "x", "--role", "r"}, cli.Usage, "give only one of them"},
		{nil, cli.Unavailable, ""},
	} {
		if code, text := said(t, slices.Concat([]string{"evict"}, c.args, store)...); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", c.args, code, c.code, c.says, text)
		}
	}
}

// to picks the standby of that ID.
func to(id string) picker {
	return func(st lock.Standing) (lock.Member, error) { return choose(st, id) }
}

// far is a store that shows nothing before some time has passed.
type far struct {
	lock.Locker
	first time.Duration
}

func (f far) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		select {
		case <-time.After(f.first):
		case <-ctx.Done():
			return
		}
		f.Locker.Watch(ctx, roles...)(yield)
	}
}

// TestOperatorFarAway: what an operator asks of a far store takes its time, and is not
// answered in its name.
func TestOperatorFarAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := far{memory.New().Open(), 4 * time.Second}
		find := func(id string) (lock.Member, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			return eviction{locker: l, id: id, timeout: 5 * time.Second}.find(ctx)
		}
		var coded *cli.ExitError
		if _, err := find("a"); err == nil || errors.As(err, &coded) || !strings.Contains(err.Error(), "neither active nor standing by") {
			t.Errorf("an empty store that answers: %v", err)
		}
		l.first = 6 * time.Second
		if _, err := find("a"); !errors.As(err, &coded) || coded.Code != cli.Unavailable {
			t.Errorf("a store that does not answer: %v", err)
		}
		l.first = 4 * time.Second
		p := lock.Promise{TTL: 10 * time.Second, Skew: time.Second}
		for _, id := range []string{"a", "b"} {
			s, err := l.Register(t.Context(), lock.Contender{ID: id, Session: lock.SessionID(id)}, p, lock.Bid{Role: "r"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.TryAcquire(t.Context(), "r"); err != nil && id == "a" {
				t.Fatal(err)
			}
		}
		if m, err := find("b"); err != nil || m.ID != "b" {
			t.Errorf("evict --id: %v, %v", m, err)
		}
		if _, err := find("z"); err == nil || !strings.Contains(err.Error(), "neither active nor standing by") {
			t.Errorf("evict --id: %v", err)
		}
		l.first = 15 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := handOver(ctx, l, "r", to("a")); err == nil || !strings.Contains(err.Error(), "is active already") {
			t.Errorf("handoff: %v", err)
		}
	})
}

// TestHandoffToOneWhoLeaves says at once that the standby that was asked for is gone.
func TestHandoffToOneWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		p := lock.Promise{TTL: 10 * time.Second, Skew: time.Second}
		join := func(id string) lock.Session {
			s, err := l.Register(t.Context(), lock.Contender{ID: id, Session: lock.SessionID(id)}, p, lock.Bid{Role: "r"})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		a, b := join("a"), join("b")
		if _, err := a.TryAcquire(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { _ = b.Close(t.Context()) })
		_, _, err := handOver(t.Context(), l, "r", to("b"))
		var coded *cli.ExitError
		if !errors.As(err, &coded) || coded.Code != cli.NotDone || !strings.Contains(err.Error(), "the session of b that was asked for has ended, and a stays active") {
			t.Errorf("%v", err)
		}
	})
}

// TestNothingPastTheLog expects gRPC to print nothing by itself.
func TestNothingPastTheLog(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=grpc")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: printed %q", err, out)
	}
}

func (r *trio) signal(id string, s syscall.Signal) { _ = r.procs[id].Process.Signal(s) }

// TestExitCodes are those of a run that cannot begin.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll()
	r.active(0)
	r.inLine(2)
	// The third gives way to one that will not stand by: refused beside a living active.
	standby := "c"
	if r.active(0).id == "c" {
		standby = "b"
	}
	r.kill(standby, syscall.SIGTERM)
	if code, text := r.run(standby, "--active-standby=false"); code != cli.Held || !strings.Contains(text, "is held by") || !strings.Contains(text, "--active-standby=true") {
		t.Errorf("exit code %d, want %d\n%s", code, cli.Held, text)
	}
	for id := range r.procs {
		r.kill(id, syscall.SIGKILL)
	}
	if code, text := r.run(standby, "--connect-timeout", "300ms"); code != cli.Unavailable || !strings.Contains(text, "the store did not answer within --connect-timeout 300ms") {
		t.Errorf("exit code %d, want %d\n%s", code, cli.Unavailable, text)
	}
}

// TestSameID starts a second process under a living one's ID: it is refused, and
// told where that one runs.
func TestSameID(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	r.start("a", "--address", "10.0.0.1:80")
	r.active(0)
	code, text := r.run("a", "--address", "10.0.0.2:80")
	if code != cli.Held || !strings.Contains(text, `understudy: id: register: ID "a" is in use`) || !strings.Contains(text, "10.0.0.1:80") {
		t.Errorf("exit code %d, want %d and where the other runs\n%s", code, cli.Held, text)
	}
	if now := r.active(0); now.id != "a" {
		t.Errorf("%s is active", now.id)
	}
}

// run runs a wrapper until it ends by itself.
func (r *trio) run(id string, flags ...string) (code int, errs string) {
	r.t.Helper()
	var text lab.Said
	cmd := exec.CommandContext(r.t.Context(), os.Args[0], r.args(id, flags...)...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper")
	cmd.Stdout, cmd.Stderr = io.Discard, &text
	watchdog := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), text.String()
}

// TestHandoffToTheDead: a standby whose host is lost gets nothing, though its session stands,
// and the active works on.
func TestHandoffToTheDead(t *testing.T) { onEveryStore(t, testHandoffToTheDead) }

func testHandoffToTheDead(t *testing.T, r *trio) {
	r.ttl = 8 * time.Second
	for _, id := range r.ids {
		r.start(id, "--witness=false")
	}
	r.active(0)
	r.inLine(2)
	now, _ := r.whole()
	dead := r.others(now.id)[0]
	r.kill(dead, syscall.SIGKILL)
	code, text := r.operate("handoff", "--role", "r", "--to", dead)
	if code != cli.NotDone || !strings.Contains(text, dead+" did not answer within") && !strings.Contains(text, "the session of "+dead) {
		t.Errorf("exit code %d\n%s", code, text)
	}
	r.expect(0, fmt.Sprintf(`"token": %d,`, now.token), "status", "--role", "r", "-o", "json")
	living := r.others(now.id)[1]
	r.expect(0, "r: "+now.id+" -> "+living, "handoff", "--role", "r", "--to", living)
}

// TestHandoffFromTheSilent: handoff does not blame the stop timeout when the active has stopped beating.
func TestHandoffFromTheSilent(t *testing.T) {
	t.Parallel()
	r, now := unwitnessed(t)
	r.signal(now.id, syscall.SIGSTOP)
	r.expect(cli.NotDone, now.id+" has not handed over, and has not beaten since it was asked", "handoff", "--role", "r", "--timeout", "5s")
	r.active(now.token)
}

// unwitnessed are contenders that nothing kills when they hang.
func unwitnessed(t *testing.T) (r *trio, now span) {
	r = newTrio(t, onEtcd)
	r.ttl = 8 * time.Second
	r.startAll("--witness=false", "--hang-timeout", "0")
	now = r.active(0)
	r.inLine(2)
	return r, now
}

// TestHandoffAmongTheSilent: where nobody lives any more, an operator is not told that the active stays active.
func TestHandoffAmongTheSilent(t *testing.T) {
	t.Parallel()
	r, now := unwitnessed(t)
	for _, id := range r.ids {
		r.signal(id, syscall.SIGSTOP)
	}
	r.expect(cli.NotDone, "the request is taken back, and "+now.id+" has not beaten since either: look at status", "handoff", "--role", "r", "--timeout", "20s")
}
