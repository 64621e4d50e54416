package databases

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// childVariable makes the test binary a writer.
const childVariable = "FENCING_TEST_WRITER"

// A writer is a process that believes that it is active, and does what it is told.
type writer struct {
	database
	Token lock.Token
}

// write is the writer's main: "put V" writes in a transaction, "hold V" too, but commits
// only at the next line.
func write(text string) error {
	var w writer
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	db, err := sql.Open(w.Driver, w.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx := context.Background()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		what, v, _ := strings.Cut(in.Text(), " ")
		err := table.Do(ctx, db, "r", w.Token, func(tx *sql.Tx) error {
			if err := put(ctx, v)(tx); err != nil || what == "put" {
				return err
			}
			fmt.Println("holding", v)
			in.Scan()
			return nil
		})
		switch {
		case errors.Is(err, fencing.ErrStale):
			fmt.Println("refused", v)
		case err != nil:
			fmt.Println("failed", v)
		default:
			fmt.Println("committed", v)
		}
	}
	return nil
}

// A process is a writer that runs.
type process struct {
	testing.TB
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func (w writer) start(t testing.TB) *process {
	t.Helper()
	text, err := json.Marshal(w)
	must(t, err)
	p := &process{TB: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.in, err = p.cmd.StdinPipe()
	must(t, err)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.out = bufio.NewScanner(out)
	must(t, p.cmd.Start())
	stop := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() }) // so that nothing waits for ever
	t.Cleanup(func() {
		stop.Stop()
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // it was killed
	})
	return p
}

func (p *process) say(order string) {
	p.Helper()
	_, err := fmt.Fprintln(p.in, order)
	must(p, err)
}

func (p *process) want(line string) {
	p.Helper()
	if p.out.Scan(); p.out.Text() != line {
		p.Fatalf("process %d says %q, want %q", p.cmd.Process.Pid, p.out.Text(), line)
	}
}

// pause stops the process, and returns when all of its threads stand still.
func (p *process) pause() {
	p.Helper()
	must(p, p.cmd.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	if must(p, err); !status.Stopped() {
		p.Fatalf("process %d did not stop: %v", p.cmd.Process.Pid, status)
	}
}

// TestPaused stops a writer with SIGSTOP. Another one, with the next token, writes. The
// first one wakes, and its very next act is a write: the database refuses it.
func TestPaused(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		first, second := writer{d, 5}.start(t), writer{d, 6}.start(t)
		first.say("put first")
		first.want("committed first")
		first.pause()
		first.say("put stale")
		second.say("put second")
		second.want("committed second")
		must(t, first.cmd.Process.Signal(syscall.SIGCONT))
		first.want("refused stale")
		if got := value(t, db); got != "second" {
			t.Fatalf("the value is %q", got)
		}
	})
}
