package servers

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/process"
)

// A Member is one server: a child process that can be killed, paused and started
// again with its data. Its methods may be called concurrently.
type Member struct {
	name   string
	addr   string // where clients reach it
	probe  string // base URL of a port without TLS, for us alone
	token  string // for the probe
	peers  string // where the other servers reach it; Consul only
	data   string // its data directory
	log    string // its output
	path   string
	args   []string
	as     *syscall.Credential                        // nil: as we are
	family bool                                       // it answers by children: PostgreSQL only
	below  bool                                       // no client reaches it: the etcd of an API server
	kill   syscall.Signal                             // ends it at once; 0: SIGKILL
	up     func(ctx context.Context, m *Member) error // whether it answers

	mu   sync.Mutex
	proc *process.Process // nil: it was never started
}

// Addr returns HOST:PORT of the port for clients. A restart does not change it.
func (m *Member) Addr() string { return m.addr }

// Data returns the server's data directory. Its content may be copied and put
// back while the server does not run.
func (m *Member) Data() string { return m.data }

// Log returns the file with everything that the server said.
func (m *Member) Log() string { return m.log }

// PID returns the process's number; 0: none runs.
func (m *Member) PID() int {
	if p := m.running(); p != nil {
		return p.PID()
	}
	return 0
}

// Kill ends the process with SIGKILL and returns when it is gone. It may be
// repeated. PostgreSQL gets SIGQUIT, as it would leave its children and shared memory behind.
func (m *Member) Kill() { m.end(cmp.Or(m.kill, syscall.SIGKILL)) }

// Stop ends the process with SIGTERM, after 10 s with SIGKILL, and returns when it
// is gone. It may be repeated.
func (m *Member) Stop() { m.end(syscall.SIGTERM) }

// Pause stops the process with SIGSTOP: its sockets stay open, and nothing
// answers. It returns when the process stands, where the system tells (Linux).
func (m *Member) Pause() error {
	return errors.Join(m.do((*process.Process).Pause), m.toChildren(syscall.SIGSTOP))
}

// Resume lets a paused process go on.
func (m *Member) Resume() error {
	return errors.Join(m.toChildren(syscall.SIGCONT), m.do((*process.Process).Resume))
}

// toChildren sends a signal to each child of a family, while the parent makes none.
func (m *Member) toChildren(sig syscall.Signal) error {
	if !m.family {
		return nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.PID()))
	for pid := range strings.FieldsSeq(string(text)) {
		n, _ := strconv.Atoi(pid) // 0 is none
		if n > 0 {
			_ = syscall.Kill(n, sig) // it may have ended
		}
	}
	return err
}

// Restart starts a member that was killed or stopped, with its data and its
// ports, and returns when it answers: where most members are down that is not
// before others were restarted too.
func (m *Member) Restart(ctx context.Context) error {
	if m.running() != nil {
		return fmt.Errorf("%s runs already: kill it or stop it first", m.name)
	}
	if err := m.launch(); err != nil {
		return err
	}
	return m.ready(ctx)
}

// stopTimeout is how long a server may take to stop by itself.
const stopTimeout = 10 * time.Second

func (m *Member) end(sig syscall.Signal) {
	if p := m.running(); p != nil {
		p.End(sig, stopTimeout)
	}
}

// running returns the process; nil: none runs.
func (m *Member) running() *process.Process {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil || m.proc.Ended() {
		return nil
	}
	return m.proc
}

// do does something to the process that runs.
func (m *Member) do(something func(*process.Process) error) error {
	p := m.running()
	if p == nil {
		return fmt.Errorf("%s does not run", m.name)
	}
	if err := something(p); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	return nil
}

// launch starts the process.
func (m *Member) launch() error {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(m.path, m.args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, filepath.Dir(m.log)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: m.as}
	p, err := process.Start(cmd, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proc = p
	return nil
}

// poll is how often a server that starts is asked whether it answers.
const poll = 50 * time.Millisecond

// ready waits until the server answers.
func (m *Member) ready(ctx context.Context) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	m.mu.Lock()
	gone := m.proc.Gone()
	m.mu.Unlock()
	for {
		err := m.up(ctx, m)
		if err == nil {
			return nil
		}
		select {
		case <-gone:
			return m.failed(errors.New("the server ended"))
		case <-ctx.Done():
			return m.failed(fmt.Errorf("%w; it said last: %w", context.Cause(ctx), err))
		case <-tick.C:
		}
	}
}

// lastLines is how much of a server's log an error shows.
const lastLines = 10

// failed returns err with the end of the log.
func (m *Member) failed(err error) error {
	text, readErr := os.ReadFile(m.log)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	lines = lines[max(0, len(lines)-lastLines):]
	return fmt.Errorf("%s: %w\n%s:\n\t%s", m.name, err, m.log, strings.Join(lines, "\n\t"))
}
