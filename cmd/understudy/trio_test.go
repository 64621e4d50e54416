package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// stampForever says every two milliseconds that this process works, until SIGTERM.
func stampForever() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for {
		fmt.Printf("%s %d %s %d %s\n", os.Getenv("UNDERSTUDY_TOKEN"), os.Getpid(), os.Getenv("UNDERSTUDY_ID"), coordinator.Clocks().Mono, os.Getenv("UNDERSTUDY_ROLE"))
		select {
		case <-stop:
			os.Exit(0)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// serveID is a command that says on each connection whose it is, until it is told to stop.
func serveID(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(conn, os.Getenv("UNDERSTUDY_ID"))
		_ = conn.Close()
	}
}

// notifyForever says that this process makes progress, as any client of sd_notify(3) does, until
// there is the file that says that it stalls.
func notifyForever() {
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		os.Exit(11)
	}
	_, _ = systemd.SdNotify(false, "READY=1\nSTATUS=at work")
	for {
		if _, err := os.Stat(os.Getenv("UNDERSTUDY_TEST_MARK") + "/stall." + os.Getenv("UNDERSTUDY_ID")); err != nil {
			if _, err := systemd.SdNotify(false, systemd.SdNotifyWatchdog); err != nil {
				os.Exit(12)
			}
		}
		time.Sleep(every / 4) // between two signs of progress
	}
}

// writeForever writes to a disk and syncs, as a database does, beside what else this process does.
func writeForever() {
	f, err := os.Create(filepath.Join(os.Getenv("UNDERSTUDY_TEST_DISK"), "data."+os.Getenv("UNDERSTUDY_ID")))
	for ; err == nil; time.Sleep(20 * time.Millisecond) { // between two entries
		if _, err = f.WriteAt(make([]byte, 4096), 0); err == nil {
			err = f.Sync()
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// A span is what one command stamped.
type span struct {
	token       uint64
	pid         int
	id, role    string
	first, last time.Duration
}

// A trio is three wrappers of one role on a real store.
type trio struct {
	t       testing.TB
	dir     string
	ids     []string
	store   backends.Config
	flags   []string         // that name the store
	cluster *servers.Cluster // its servers; nil: embedded
	more    []string         // of every wrapper
	procs   map[string]*exec.Cmd
	pipes   sync.WaitGroup
	ttl     time.Duration
	command []string
	stderr  *os.File // of every process; nil: a file of each one's own
	program string   // the command as it is shipped; "": this binary

	commands map[string][]string // of one wrapper alone
	own      map[string][]string // flags of one wrapper alone
	through  map[string][]string // what starts one wrapper, whose command line comes after it

	mu      sync.Mutex
	spans   []*span
	guard   fencing.Memory
	refused []time.Duration // stamps of a smaller token than the guard had seen
}

// onEveryStore runs a test on each store that processes can share.
func onEveryStore(t *testing.T, test func(t *testing.T, r *trio)) {
	onEach(t, stores.Names, test)
}

// onServers runs a test on etcd and on Consul.
func onServers(t *testing.T, test func(t *testing.T, r *trio)) {
	onEach(t, []string{onEtcd, onConsul}, test)
}

// onEach runs a test on each of some stores, beside other tests: it mostly waits.
func onEach(t *testing.T, names []string, test func(t *testing.T, r *trio)) {
	t.Parallel()
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newTrio(t, name))
		})
	}
}

// The stores that a trio may be on.
const onRaft, onEtcd, onConsul = "raft", "etcd", "consul"

// newTrio returns three wrappers on a store of their own. None runs yet.
func newTrio(t testing.TB, name string) *trio {
	t.Helper()
	return newTrioOn(t, func(r *trio) (backends.Config, []string) {
		s := stores.Start(t, name, r.dir)
		r.cluster = s.Cluster
		return s.Config, s.Flags()
	})
}

// newTrioOn is newTrio on a store that prepare starts. It returns how that is reached.
func newTrioOn(t testing.TB, prepare func(r *trio) (backends.Config, []string)) *trio {
	r := &trio{t: t, dir: t.TempDir(), ids: []string{"a", "b", "c"}, ttl: 2 * time.Second, command: os.Args[:1], procs: map[string]*exec.Cmd{}}
	r.store, r.flags = prepare(r)
	r.store.Backend = r.flags[1]
	t.Cleanup(func() {
		for id := range r.procs {
			r.kill(id, syscall.SIGKILL)
		}
		if t.Failed() { // nothing may outlive a test, whatever it found
			r.killLeft()
		}
		r.pipes.Wait()
		if t.Failed() {
			r.logs()
		}
	})
	return r
}

// logs shows the end of what the wrappers logged: what a test's output keeps.
func (r *trio) logs() {
	for _, id := range r.ids {
		if text, err := os.ReadFile(filepath.Join(r.dir, id+".log")); err == nil {
			lines := strings.SplitAfter(string(text), "\n")
			r.t.Logf("%s:\n%s", id, strings.Join(lines[max(0, len(lines)-60):], ""))
		}
	}
}

// situation is what the wrappers are doing, and who worked last.
func (r *trio) situation() string {
	var b strings.Builder
	for id, cmd := range r.procs {
		state := "ended"
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); err == nil {
			_, after, _ := strings.Cut(string(text), ") ")
			if state = after[:1]; state == "Z" { // the last field is how it ended, as wait(2) has it
				state += ", status " + after[strings.LastIndexByte(after, ' ')+1:len(after)-1]
			}
		}
		fmt.Fprintf(&b, "%s: process %d, state %s\n", id, cmd.Process.Pid, state)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans[max(0, len(r.spans)-3):] {
		fmt.Fprintf(&b, "%s worked with token %d as process %d from %v until %v\n", s.id, s.token, s.pid, s.first, s.last)
	}
	fmt.Fprintf(&b, "it is %v", coordinator.Clocks().Mono)
	return b.String()
}

// args are those of a wrapper whose command stamps.
func (r *trio) args(id string, flags ...string) []string {
	args := append([]string{
		"run", "--role", "r", "--id", id, "--ttl", r.ttl.String(), "--on-exit", "restart", "--log-level", "debug",
		"--raft-dir", filepath.Join(r.dir, id),
	}, r.flags...)
	command, ok := r.commands[id]
	if !ok {
		command = r.command
	}
	return slices.Concat(lastOfEach(slices.Concat(args, r.more, r.own[id], flags)), []string{"--"}, command)
}

func (r *trio) start(id string, flags ...string) {
	r.t.Helper()
	r.launch(id, r.args(id, flags...)...)
}

// startAll starts every wrapper with these flags.
func (r *trio) startAll(flags ...string) {
	r.t.Helper()
	for _, id := range r.ids {
		r.start(id, flags...)
	}
}

// finish waits until all is well again, tells every wrapper to stop, and judges all that
// happened: nothing may be left.
func (r *trio) finish() {
	r.t.Helper()
	r.settle()
	for _, id := range r.ids {
		r.kill(id, syscall.SIGTERM)
		if text := r.log(id); strings.Contains(text, "\nfatal error: ") || strings.Contains(text, "\npanic: ") {
			r.t.Errorf("%s crashed", id)
		}
	}
	r.judge()
	r.nothingLeft()
}

// launch starts a process of the group with any arguments.
func (r *trio) launch(id string, args ...string) {
	r.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_TEST_MARK="+r.dir)
	if r.program != "" { // its command is this binary all the same
		cmd = exec.Command(r.program, args...)
		cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=stamp", "UNDERSTUDY_TEST_MARK="+r.dir)
	}
	if before := r.through[id]; before != nil {
		cmd.Args = append(slices.Clone(before), cmd.Args...)
		if cmd.Path, cmd.Err = exec.LookPath(before[0]); cmd.Err != nil {
			r.t.Fatal(cmd.Err)
		}
	}
	out, in, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(r.dir, id+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, log
	if r.stderr != nil {
		cmd.Stderr = r.stderr
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	in.Close()
	log.Close()
	r.procs[id] = cmd
	r.pipes.Go(func() { r.read(out) })
}

// read takes in what commands stamp, until nobody is left who could.
func (r *trio) read(out *os.File) {
	defer out.Close()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		r.take(lines.Text())
	}
}

func (r *trio) take(line string) {
	var s span
	if n, _ := fmt.Sscan(line, &s.token, &s.pid, &s.id, &s.first, &s.role); n < 4 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guard.Raise(context.Background(), "r"+s.role, lock.Token(s.token)) != nil {
		r.refused = append(r.refused, s.first)
	}
	for _, old := range r.spans {
		if old.pid == s.pid && old.token == s.token {
			old.last = s.first
			return
		}
	}
	s.last = s.first
	r.spans = append(r.spans, &s)
}

// active waits until somebody works who is not the one with the given token.
func (r *trio) active(not uint64) (now span) {
	r.t.Helper()
	r.eventually("somebody works", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if n := len(r.spans); n > 0 {
			now = *r.spans[n-1]
		}
		return now.token > not
	})
	return now
}

// eventually waits until something is so of processes that tell nobody when it is.
func (r *trio) eventually(what string, ok func() bool) {
	r.t.Helper()
	if !lab.Poll(ok) {
		r.t.Fatalf("waited %v in vain until %s\n%s", lab.Patience, what, r.situation())
	}
}

func (r *trio) kill(id string, sig syscall.Signal) {
	cmd := r.procs[id]
	_ = cmd.Process.Signal(sig)
	_ = cmd.Wait()
	delete(r.procs, id)
}

// ended waits until a process is gone, and returns how it ended.
func (r *trio) ended(id string) *os.ProcessState {
	r.t.Helper()
	cmd := r.procs[id]
	watchdog := time.AfterFunc(lab.Patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	if !watchdog.Stop() {
		r.t.Errorf("%s did not end", id)
	}
	delete(r.procs, id)
	return cmd.ProcessState
}

// inLine waits until n stand by.
func (r *trio) inLine(n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), lab.Patience)
	defer cancel()
	l, err := backends.Dial(ctx, r.store)
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	for st, err := range l.Watch(ctx, "r") {
		if err == nil && len(st.Line) == n && !st.Term.Vacant() {
			return
		}
	}
	r.t.Fatalf("%d did not stand by", n)
}

// judge expects no two commands of a role to have worked at once, and its tokens to rise.
func (r *trio) judge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.spans, func(a, b *span) int { return int(a.first - b.first) })
	before := map[string]*span{}
	for _, b := range r.spans {
		a := before[b.role]
		before[b.role] = b
		if a == nil {
			continue
		}
		if b.first <= a.last {
			r.t.Errorf("a promise is broken: %s (token %d) worked until %v, %s (token %d) from %v", a.id, a.token, a.last, b.id, b.token, b.first)
		}
		if b.token <= a.token {
			r.t.Errorf("a promise is broken: token %d after %d", b.token, a.token)
		}
	}
	r.t.Logf("%d terms", len(r.spans))
}
