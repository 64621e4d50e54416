package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestTerminalCloses closes the terminal of a standby: it ends as if it were told to stop. One that
// has no terminal stays: there SIGHUP is the command's, and means what it likes. A warm command that stands by keeps
// nobody there either.
func TestTerminalCloses(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"cold", "warm"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newTrio(t, onEtcd)
			if how == "warm" {
				r.warmed()
			}
			testTerminalCloses(t, r)
		})
	}
}

func testTerminalCloses(t *testing.T, r *trio) {
	r.start("a")
	r.active(0)
	r.start("c")
	r.inLine(1)

	terminal, name := lab.Terminal(t)
	log, err := os.Create(filepath.Join(r.dir, "b.log"))
	lab.Must(t, err)
	defer log.Close()
	b := exec.Command(os.Args[0], r.args("b")...)
	b.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_TEST_MARK="+r.dir)
	b.Stderr, b.SysProcAttr = log, &syscall.SysProcAttr{Setsid: true, Setctty: true}
	stdin, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	lab.Must(t, err)
	b.Stdin = stdin
	lab.Must(t, b.Start())
	lab.Must(t, stdin.Close())
	r.procs["b"] = b
	r.inLine(2)

	r.signal("c", syscall.SIGHUP)
	lab.Must(t, terminal.Close())
	ended := make(chan error, 1)
	go func() { ended <- b.Wait() }()
	select {
	case err := <-ended:
		lab.Must(t, err)
	case <-lab.Within(t, time.Minute).Done():
		t.Fatal("the standby lives on")
	}
	delete(r.procs, "b")
	r.awaitLog("b", "stop was asked for: hangup")
	r.inLine(1)
	r.judge()
}

// TestTerminalStopsNoCommand: a command that reads its terminal, or writes to it under `stty tostop`, goes on. A stopped one
// would hold its role for ever and do nothing.
func TestTerminalStopsNoCommand(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onEtcd)
	end, name := lab.Terminal(t)
	defer end.Close()
	terminal, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	lab.Must(t, err)
	defer terminal.Close()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	lab.Must(t, err)
	state.Lflag |= unix.TOSTOP
	lab.Must(t, unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, state))
	r.commands = map[string][]string{"a": {"sh", "-c", "echo written; read line </dev/tty && echo read || echo refused; sleep 1000"}}
	a := exec.Command(os.Args[0], r.args("a")...)
	a.Env = append(os.Environ(), "UNDERSTUDY_TEST=wrapper", "UNDERSTUDY_TEST_MARK="+r.dir)
	a.Stdin, a.Stdout, a.Stderr, a.SysProcAttr = terminal, terminal, terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
	lab.Must(t, a.Start())
	r.procs["a"] = a
	var shown lab.Said
	go func() { _, _ = io.Copy(&shown, end) }()
	for _, want := range []string{"written", "refused"} {
		r.eventually("the command has gone on until it says "+want, func() bool { return shown.Has(want + "\r\n") })
	}
	r.told("a")
}

// TestStatusWatchOnATerminal: the page is drawn anew in its place, and shows who is active now.
func TestStatusWatchOnATerminal(t *testing.T) {
	onEach(t, []string{onEtcd}, testStatusWatchOnATerminal)
}

func testStatusWatchOnATerminal(t *testing.T, r *trio) {
	r.startAll()
	first := r.settled()
	terminal, name := lab.Terminal(t)
	defer terminal.Close()
	screen, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	lab.Must(t, err)
	cmd := exec.Command(filepath.Join(shipped(t), "understudy"), append([]string{"status", "--watch", "--role", "r"}, r.flags...)...)
	cmd.Stdout = screen
	lab.Must(t, cmd.Start())
	lab.Must(t, screen.Close())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var drawn lab.Said
	go func() { _, _ = io.Copy(&drawn, terminal) }()
	shows := func(want span) {
		t.Helper()
		r.eventually("the page shows "+want.id, func() bool {
			pages := strings.Split(drawn.String(), "\x1b[H\x1b[2J")
			page := pages[len(pages)-1]
			return len(pages) > 1 && regexp.MustCompile(fmt.Sprintf(`(?m)^%s +.*\b%d\b`, want.id, want.token)).MatchString(page)
		})
	}
	shows(first)
	r.expect(0, "r: "+first.id+" -> ", "handoff", "--role", "r")
	shows(r.active(first.token))
}

// TestPlanFitsTheTerminal: no line of plan is wider than the terminal that shows it.
func TestPlanFitsTheTerminal(t *testing.T) {
	t.Parallel()
	terminal, name := lab.Terminal(t)
	defer terminal.Close()
	for _, columns := range []int{80, 200} {
		lab.Must(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(columns)}))
		out, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		lab.Must(t, err)
		ended := make(chan int, 1)
		go func() {
			code := execute(t.Context(), []string{"plan", "--backend", "etcd"}, out, io.Discard)
			_, _ = out.WriteString("END\n")
			ended <- code
		}()
		widest := 0
		for lines := bufio.NewScanner(terminal); lines.Scan() && lines.Text() != "END"; {
			widest = max(widest, utf8.RuneCountInString(lines.Text()))
		}
		if code := <-ended; code != 0 || widest > min(columns, mostWide) || widest < min(columns, mostWide)-20 {
			t.Errorf("in %d columns: code %d, the widest line has %d", columns, code, widest)
		}
		lab.Must(t, out.Close())
	}
}
