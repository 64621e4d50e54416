//go:build systemd

package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// ids are the instances, and the nodes of their group.
var ids = []string{"a", "b", "c"}

// TestSystemd has three contenders on embedded Raft and a lone one under a real systemd: they are
// started, killed, stopped, hung and booted anew.
func TestSystemd(t *testing.T) {
	b := newBox(t)
	b.install()
	b.boot()
	b.run("systemd-sysusers")
	b.named("offline", b.offline)
	b.run("systemctl", "enable", "--now", "understudy@a", "understudy@b", "understudy@c", "understudy")
	b.named("alone", b.alone)
	b.named("crash", b.crash)
	b.named("stop", b.stop)
	b.named("hang", b.hang)
	b.named("watchdog", b.watchdog)
	b.named("boot after a power cut", func() { b.again(b.off) })
	b.named("boot after a shutdown", func() { b.again(b.shutdown) })
}

// named is a part of the test that the next ones need.
func (b *box) named(name string, part func()) {
	whole := b.t
	defer func() { b.t = whole }()
	if !whole.Run(name, func(t *testing.T) { b.t = t; part() }) {
		whole.Fatal(b.run("journalctl", "-b", "--no-pager"))
	}
}

// install puts there what a package does, and settings.
func (b *box) install() {
	b.t.Helper()
	lab.Must(b.t, os.MkdirAll(filepath.Join(b.dir, "usr/bin"), 0o755))
	build := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", filepath.Join(b.dir, "usr/bin"), "../cmd/understudy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	for file, to := range map[string]string{
		"understudy@.service": "usr/lib/systemd/system/understudy@.service", "understudy.service": "usr/lib/systemd/system/understudy.service",
		"sysusers.conf": "usr/lib/sysusers.d/understudy.conf", "example.env": "etc/understudy/a.env",
	} {
		text, err := os.ReadFile("systemd/" + file)
		lab.Must(b.t, err)
		b.write(to, string(text))
	}
	example, err := os.ReadFile("systemd/example.yaml")
	lab.Must(b.t, err)
	for _, id := range ids {
		text := strings.ReplaceAll(string(example), "id: a", "id: "+id)
		b.write("etc/understudy/"+id+".yaml", strings.ReplaceAll(text, "/var/lib/understudy/", "/var/lib/understudy/"+id+"/"))
	}
	b.write("etc/understudy/understudy.yaml", "id: alone\nbackend: memory\nroles:\n  - name: alone\n    command: [sleep, infinity]\n")
}

// offline has systemd's own tools judge the units.
func (b *box) offline() {
	b.t.Helper()
	for _, unit := range []string{"understudy@a.service", "understudy.service"} {
		if said := b.run("systemd-analyze", "verify", "--man=no", unit); said != "" {
			b.t.Errorf("%s: %s", unit, said)
		}
		said := b.run("systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", "/usr/lib/systemd/system/"+strings.Replace(unit, "@a", "@", 1))
		b.t.Log(said[strings.LastIndex(said, "→"):])
	}
}

// active waits for one whose token is greater, with the two others in line.
func (b *box) active(above int) active {
	b.t.Helper()
	return awaitActive(b.t, above, 2, func() *exec.Cmd {
		return b.command("understudy", "status", "-o", "json", "--config", "/etc/understudy/a.yaml")
	})
}

// alone is a contender by the other unit.
func (b *box) alone() {
	b.t.Helper()
	if state := b.run("systemctl", "show", "-p", "SubState,StatusText", "understudy"); !strings.Contains(state, "running") || !strings.Contains(state, "active in alone") {
		b.t.Error(state)
	}
}

// crash kills the wrapper: its witness tells the store, and systemd starts it again.
func (b *box) crash() {
	b.t.Helper()
	was, since := b.active(0), time.Now()
	b.signal(was.ID, "KILL")
	b.said(since, "the process is dead, its session is ended")
	b.next(was, since)
}

// stop stops the service: it ends well, nothing of it is left, and it is not started again.
func (b *box) stop() {
	b.t.Helper()
	was, since := b.active(0), time.Now()
	b.run("systemctl", "stop", "understudy@"+was.ID)
	state := b.run("systemctl", "show", "-p", "ActiveState,Result,ExecMainStatus", "understudy@"+was.ID)
	if want := "Result=success\nExecMainStatus=0\nActiveState=inactive"; state != want {
		b.t.Errorf("%s, want %s", state, want)
	}
	b.run("systemctl", "start", "understudy@"+was.ID)
	b.next(was, since)
}

// hang stops the wrapper: its witness kills it after half of the ttl.
func (b *box) hang() {
	b.t.Helper()
	was, since := b.active(0), time.Now()
	b.signal(was.ID, "STOP")
	b.said(since, "the process is dead, its session is ended")
	b.next(was, since)
}

// watchdog has systemd's own watchdog end one that hangs, before its witness would: the witness
// outlives that, and tells the store.
func (b *box) watchdog() {
	b.t.Helper()
	was := b.active(0)
	b.write("etc/systemd/system/understudy@"+was.ID+".service.d/watchdog.conf", "[Service]\nWatchdogSec=1s\n")
	b.run("systemctl", "daemon-reload")
	b.run("systemctl", "restart", "understudy@"+was.ID)
	b.active(was.Token)
	b.run("understudy", "handoff", "--config", "/etc/understudy/a.yaml", "--role", "billing", "--to", was.ID)
	was, since := b.active(was.Token), time.Now()
	b.signal(was.ID, "STOP")
	b.said(since, "the process is dead, its session is ended")
	b.next(was, since)
	if out := b.run("journalctl", "-b", "--no-pager", "-u", "understudy@"+was.ID); !strings.Contains(out, "Watchdog timeout") {
		b.t.Errorf("its watchdog did not end it:\n%s", out)
	}
}

// again boots the machine anew: the group goes on where it was.
func (b *box) again(end func()) {
	b.t.Helper()
	was := b.active(0)
	end()
	began := time.Now()
	b.boot()
	up := time.Since(began)
	now := b.active(was.Token)
	b.t.Logf("up after %v, active and in line after %v", up.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if now.Token <= was.Token {
		b.t.Errorf("token %d after %d", now.Token, was.Token)
	}
}

// shutdown shuts the machine down, as an operator does.
func (b *box) shutdown() {
	b.t.Helper()
	b.run("systemctl", "poweroff", "--no-block")
	<-b.process.Gone()
	b.off()
}

// signal sends one to the wrapper alone.
func (b *box) signal(id, signal string) {
	b.t.Helper()
	b.run("systemctl", "kill", "--kill-whom=main", "--signal="+signal, "understudy@"+id)
}

// said waits until somebody has said so since then, and returns when, by the line's own time.
func (b *box) said(since time.Time, what string) time.Time {
	b.t.Helper()
	return awaitLine(b.t, since, what, func() string {
		return b.run("journalctl", "-b", "--no-pager", "-o", "cat", fmt.Sprintf("--since=@%d", since.Unix()))
	})
}

// next expects another active, and that the one before is in line again.
func (b *box) next(was active, since time.Time) {
	b.t.Helper()
	at := b.said(since, "to=active")
	now := b.active(was.Token)
	b.t.Logf("%s works %v after the fault of %s", now.ID, at.Sub(since).Round(time.Millisecond), was.ID)
}
