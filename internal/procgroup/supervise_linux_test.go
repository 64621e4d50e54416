package procgroup

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestSupervise is how the first process of a container ends with its child: with 0 where the
// child was stopped before it could hear that, and with the child's own code otherwise.
func TestSupervise(t *testing.T) {
	for _, test := range []struct {
		sig  syscall.Signal
		both bool
		want int
	}{{syscall.SIGTERM, true, 0}, {syscall.SIGINT, true, 0}, {syscall.SIGHUP, true, 129}, {syscall.SIGTERM, false, 143}, {syscall.SIGKILL, false, 137}} {
		cmd := exec.Command(os.Args[0], "supervisor")
		cmd.Stderr = os.Stderr
		line, err := bufio.NewReader(lab.Output(t, cmd)).ReadString('\n')
		pid, err2 := strconv.Atoi(line[:max(0, len(line)-1)])
		if err != nil || err2 != nil {
			t.Fatalf("%q: %v, %v", line, err, err2)
		}
		if test.both {
			pid = cmd.Process.Pid
		}
		_ = syscall.Kill(pid, test.sig)
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != test.want {
			t.Errorf("%v by way of the first process (%v): %v, want exit code %d", test.sig, test.both, cmd.ProcessState, test.want)
		}
	}
}
