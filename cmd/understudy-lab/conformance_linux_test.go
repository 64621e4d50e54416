package main

import (
	"bufio"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestFailuresAreShownAsTheyHappen: a case that fails is named before the next one has ended, and on a terminal the line
// that says how far it is stays the last.
func TestFailuresAreShownAsTheyHappen(t *testing.T) {
	server, flags := serve(t, "etcd")
	keys := etcdKeys(t, server.Members[0].Addr())
	go func() {
		keys.changed()
		server.Stop()
	}()
	end, name := lab.Terminal(t)
	defer end.Close()
	screen, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	lab.Must(t, err)
	code := make(chan int, 1)
	go func() {
		code <- execute(t.Context(), append([]string{"conformance", "--case", "^(TokenIncreases|TokenRestart|TokenRoleDeleted)$"}, flags...), screen, io.Discard)
		_ = screen.Close()
	}()
	var shown strings.Builder
	for lines := bufio.NewReader(end); ; {
		line, err := lines.ReadString('\n')
		shown.WriteString(line)
		if err != nil { // everybody has closed it
			break
		}
	}
	text := shown.String()
	if got := <-code; got != cli.NotDone {
		t.Errorf("exit code %d", got)
	}
	for _, name := range []string{"TokenIncreases", "TokenRoleDeleted"} { // in either order: they run at once
		if strings.Count(text, "\x1b[2K"+name+" FAILED: ") != 1 {
			t.Errorf("%s is not named, or not once:\n%q", name, text)
		}
	}
	last := -1
	for _, want := range []string{"\r\x1b[2K0 of ", " FAILED: ", "\r\x1b[2K1 of ", " FAILED: ", "\r\x1b[2K2 of ", "\nCASE "} {
		at := strings.Index(text[last+1:], want)
		if at < 0 {
			t.Fatalf("%q does not come, or not in its place:\n%q", want, text)
		}
		last += 1 + at
	}
}
