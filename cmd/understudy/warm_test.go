package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

// stampWarm is a warm command that stamps while it works. A file in the test's folder named after a fault
// and this contender has it behave badly.
func stampWarm() {
	id := os.Getenv("UNDERSTUDY_ID")
	fault := func(name string) bool {
		_, err := os.Stat(filepath.Join(os.Getenv("UNDERSTUDY_TEST_MARK"), name+"."+id))
		return err == nil
	}
	fd, err := strconv.Atoi(os.Getenv("UNDERSTUDY_SOCKET"))
	if err != nil {
		os.Exit(21)
	}
	socket := os.NewFile(uintptr(fd), "socket")
	fmt.Fprintf(os.Stderr, "warm %s %d\n", id, os.Getpid())
	if !fault("cold") {
		fmt.Fprintln(socket, "STATUS=warm\nREADY=1")
	}
	if fault("stalled") {
		stampStalled(socket)
	}
	var mu sync.Mutex
	token := ""
	go func() {
		for ready := true; ; time.Sleep(2 * time.Millisecond) { // between two stamps
			ready = sayReady(socket, ready, !fault("unready"))
			mu.Lock()
			if token != "" {
				fmt.Printf("%s %d %s %d %s\n", token, os.Getpid(), id, coordinator.Clocks().Mono, os.Getenv("UNDERSTUDY_ROLE"))
			}
			mu.Unlock()
			if fault("watched") {
				fmt.Fprintln(socket, "WATCHDOG=1")
			}
			if fault("closed") {
				_ = syscall.Shutdown(fd, syscall.SHUT_RDWR) // closing waits for the goroutine that reads
			}
			if fault("ended") {
				os.Exit(9)
			}
		}
	}()
	for lines := bufio.NewScanner(socket); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "active":
			mu.Lock()
			_, _ = fmt.Sscanf(rest, "token=%s", &token)
			mu.Unlock()
			if fault("hung") { // says that it is idle, and was not asked
				fmt.Fprintf(socket, "IDLE=%s\n", token)
			}
		case "standby":
			if fault("hung") { // an answer about no term, and about another one
				fmt.Fprintln(socket, "IDLE\nIDLE=\nIDLE=1")
				continue
			}
			if fault("late") {
				time.Sleep(5 * time.Second) // longer than it may take
			}
			mu.Lock()
			was := token
			token = ""
			mu.Unlock()
			if was != "" {
				fmt.Fprintf(socket, "IDLE=%s\n", was)
			}
		case "stop":
			os.Exit(0)
		}
	}
	select {} // until it is killed
}

func sayReady(socket *os.File, before, now bool) bool {
	if now != before {
		fmt.Fprintf(socket, "READY=%d\n", map[bool]int{true: 1}[now])
	}
	return now
}

// stampStalled stamps, and reads no second line from its socket.
func stampStalled(socket *os.File) {
	lines := bufio.NewReaderSize(socket, 16)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			os.Exit(22)
		}
		if text, ok := strings.CutPrefix(line, "active token="); ok {
			token, _, _ := strings.Cut(text, " ")
			_ = os.Setenv("UNDERSTUDY_TOKEN", token)
			stampForever()
		}
	}
}

// warmed makes the trio's command warm.
func (r *trio) warmed(more ...string) {
	r.more = append([]string{"--warm"}, more...)
	r.command = []string{"sh", "-c", "UNDERSTUDY_TEST=warm exec " + os.Args[0]}
}

// fault has the command of a contender behave badly, or well again.
func (r *trio) fault(name, id string, on bool) {
	r.t.Helper()
	path := filepath.Join(r.dir, name+"."+id)
	if on {
		must(r.t, os.WriteFile(path, nil, 0o600))
	} else {
		must(r.t, os.Remove(path))
	}
}

// runs are the process IDs of a contender's warm command, one for each run.
func (r *trio) runs(id string) (pids []int) {
	for line := range strings.Lines(r.log(id)) {
		var pid int
		if n, _ := fmt.Sscanf(line, "warm "+id+" %d", &pid); n == 1 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// warmAt waits until all commands are ready, two of them in line, and returns who works.
func (r *trio) warmAt() (now span) {
	r.t.Helper()
	r.eventually("one works and two are ready", func() bool {
		now = r.settle()
		_, text := r.operate("status", "--role", "r")
		return !strings.Contains(text, "not ready")
	})
	return now
}

// lastRun is the process ID of a contender's warm command.
func (r *trio) lastRun(id string) int {
	all := r.runs(id)
	if len(all) == 0 {
		r.t.Fatalf("the command of %s was never started", id)
	}
	return all[len(all)-1]
}

// startedOnce expects the commands of some contenders not to have been started anew.
func (r *trio) startedOnce(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if n := len(r.runs(id)); n != 1 {
			r.t.Errorf("the command of %s was started %d times", id, n)
		}
	}
}

// TestWarm hands the role round: the commands work in turns, and none of them is ever started anew.
func TestWarm(t *testing.T) { onEveryStore(t, testWarm) }

func testWarm(t *testing.T, r *trio) {
	r.warmed()
	r.startAll()
	for range 5 {
		now := r.warmAt()
		if pid := r.lastRun(now.id); now.pid != pid {
			t.Errorf("%s works as process %d, and was warm as %d", now.id, now.pid, pid)
		}
		r.handoff()
		if next := r.active(now.token); next.id == now.id {
			t.Errorf("%s handed over to itself", now.id)
		}
	}
	r.startedOnce(r.ids...)
	r.finish()
}

// TestWarmFaults has warm commands go through what other commands go through.
func TestWarmFaults(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *trio) {
		r.warmed()
		testFaults(t, r)
	})
}

// TestWarmAnyOne is TestAnyOne with warm commands.
func TestWarmAnyOne(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *trio) {
		r.warmed()
		testAnyOne(t, r)
	})
}

// TestWarmEnds ends wrappers and commands of the active and of a standby, each by itself: nothing is left of
// one whose wrapper is gone, and one that ends in standby is started again.
func TestWarmEnds(t *testing.T) { onEach(t, []string{onRaft}, testWarmEnds) }

func testWarmEnds(t *testing.T, r *trio) {
	r.ttl = 10 * time.Second
	r.warmed()
	r.startAll()
	now := r.warmAt()
	standby := r.others(now.id)[0]
	was := r.lastRun(standby)
	r.kill(standby, syscall.SIGKILL)
	r.eventually("nothing is left of the command that stood by", func() bool { return !r.lives(was) })
	r.start(standby)
	r.eventually("it is started anew", func() bool { return r.lastRun(standby) != was })
	r.warmAt()

	r.fault("ended", standby, true)
	r.eventually("a command that ends in standby is started again", func() bool { return len(r.runs(standby)) >= 4 })
	r.logged(standby, `msg="the command ended in standby; it is started again" role=r error="the command ended with code 9" after=1s`)
	r.shown("not ready")
	r.fault("ended", standby, false)
	if again := r.warmAt(); again.token != now.token {
		t.Errorf("token %d, want %d: the end of a standby is not the active's affair", again.token, now.token)
	}

	was = now.pid
	r.killAtWork(now)
	r.eventually("nothing is left of the command that worked", func() bool { return !r.lives(was) })
	r.start(now.id)
	r.finish()
}

// lives reports whether the process is still alive. A zombie is not.
func (r *trio) lives(pid int) bool {
	state, _ := r.state(pid)
	return state != "" && state != "Z"
}

// shown waits until the status shows something.
func (r *trio) shown(text string) {
	r.t.Helper()
	r.eventually("the status shows "+text, func() bool {
		_, out := r.operate("status", "--role", "r")
		return strings.Contains(out, text)
	})
}
