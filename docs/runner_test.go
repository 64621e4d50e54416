package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/script"
)

// patience is how long a command may take that is not marked as long: more than two minutes,
// as the machine may be busy. waits is how long something may be in coming.
const patience, waits = 5 * time.Minute, 2 * time.Minute

// A runner plays one scenario in a folder of its own. The shell's variables and its folder
// pass from one step to the next.
type runner struct {
	t     *testing.T
	page  page
	dir   string
	env   []string
	state string // a file: what the shell reads before each step, and leaves after it
	with  []*replacement
	going []*started
}

// A replacement is what stands in a page, and differs on this machine.
type replacement struct {
	old, new string
	used     bool
}

// A started command goes on.
type started struct {
	cmd             *exec.Cmd
	page, text, log string // page: as the page has it
}

func newRunner(t *testing.T, bin string, p page) *runner {
	r := &runner{t: t, page: p, dir: t.TempDir(), env: append(environ(), "PATH="+bin+":"+os.Getenv("PATH"))}
	root, err := filepath.Abs("..")
	lab.Must(t, err)
	r.state = filepath.Join(t.TempDir(), "state")
	r.leave("cd " + r.dir)
	r.leave("export DIR=" + r.dir + " ROOT=" + root)
	t.Cleanup(r.killAll)
	return r
}

// environ is what a user's shell has: nothing of this test, nor of the make that runs it.
func environ() (all []string) {
	for _, one := range os.Environ() {
		if !regexp.MustCompile(`^(UNDERSTUDY_|ETCDCTL_|CONSUL_|MAKE|MFLAGS|PATH=)`).MatchString(one) {
			all = append(all, one)
		}
	}
	return all
}

// leave has the shell read a line before each of the next steps.
func (r *runner) leave(line string) {
	f, err := os.OpenFile(r.state, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	lab.Must(r.t, err)
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	lab.Must(r.t, err)
}

// play runs some steps; what is wanted is wanted of the last.
func (r *runner) play(b script.Block) {
	steps := b.Steps()
	for i, line := range steps {
		want := ""
		if i == len(steps)-1 {
			want = b.Want
		}
		r.step(readStep(line), want)
	}
}

func (r *runner) step(s step, want string) {
	text := s.text
	if slices.Contains(ofPage, s.word) {
		text = r.replace(text)
	}
	switch s.word {
	case "with":
		old, now, _ := strings.Cut(s.text, " => ")
		r.with = append(r.with, &replacement{old: old, new: now})
	case "server":
		r.serve(s.text)
	case "line":
		file, line, _ := strings.Cut(text, " ")
		r.run(fmt.Sprintf("cat >>%s <<END\n%s\nEND", file, line), want, patience)
	case "block":
		r.block(s.text)
	case "names":
		r.run(harmless(text), want, patience)
	case "run", "do":
		r.run(text, want, patience)
	case "long":
		if *long {
			r.run(text, want, 24*time.Hour)
		}
	case "until":
		r.until(text, want)
	case "start", "also":
		r.start(s.text, text, want)
	case "killed":
		r.killed(s.text)
	case "stop":
		r.stop()
	}
}

// harmless shows that there is such a command, or such a target of make, and does nothing.
func harmless(command string) string {
	if strings.Contains(command, "make ") {
		return "cd $ROOT && " + command + " -n >/dev/null"
	}
	return command + " --help"
}

func (r *runner) replace(text string) string {
	for _, w := range r.with {
		w.used = w.used || strings.Contains(text, w.old)
		text = strings.ReplaceAll(text, w.old, w.new)
	}
	return text
}

// block writes a block of the page into a file.
func (r *runner) block(args string) {
	file, text, _ := strings.Cut(args, " ")
	found, ok := r.page.block(text)
	if !ok {
		r.t.Fatalf("block %s: not one block of the page holds that text, but none or several", args)
	}
	lab.Must(r.t, os.WriteFile(filepath.Join(r.dir, file), []byte(found), 0o600))
}

// shell is a step for bash, after what the steps before have left.
func (r *runner) shell(ctx context.Context, text string) *exec.Cmd {
	left, err := os.ReadFile(r.state)
	lab.Must(r.t, err)
	cmd := exec.CommandContext(ctx, "bash", "-c", string(left)+text)
	cmd.Env = r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// say runs a step to its end, and returns its exit code and all that it said.
func (r *runner) say(text string, limit time.Duration) (exit, output string) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	cmd := r.shell(ctx, text+"\nrc=$?\n{ export -p; echo \"cd '$PWD'\"; } >"+r.state+"\nexit $rc")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Sprintf("none within %v", limit), string(out)
	}
	if cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return fmt.Sprint(cmd.ProcessState.ExitCode()), string(out)
}

func (r *runner) run(text, want string, limit time.Duration) {
	r.t.Helper()
	exit, output := r.say(text, limit)
	wantExit, lines := wanted(want)
	if missing := lacks(output, lines); exit != wantExit || missing != "" {
		r.fail("%s\nexit code %s, want %s; it does not say %q, but\n%s", text, exit, wantExit, missing, output)
	}
}

// until runs the scenario's own question until it is answered as wanted.
func (r *runner) until(text, want string) {
	r.t.Helper()
	wantExit, lines := wanted(want)
	for deadline := time.Now().Add(waits); ; {
		exit, output := r.say(text, patience)
		missing := lacks(output, lines)
		if exit == wantExit && missing == "" {
			return
		}
		if time.Now().After(deadline) {
			r.fail("%s\nexit code %s, want %s; it does not say %q, but\n%s", text, exit, wantExit, missing, output)
		}
		time.Sleep(100 * time.Millisecond) // what is asked for comes about by itself
	}
}

// start starts a command that goes on, and waits until it has said what is wanted.
func (r *runner) start(page, text, want string) {
	r.t.Helper()
	log, err := os.Create(filepath.Join(r.t.TempDir(), "log"))
	lab.Must(r.t, err)
	defer log.Close()
	cmd := r.shell(context.Background(), "exec "+text)
	cmd.Stdout, cmd.Stderr = log, log
	lab.Must(r.t, cmd.Start())
	r.going = append(r.going, &started{cmd, page, text, log.Name()})
	_, lines := wanted(want)
	for deadline := time.Now().Add(waits); ; {
		output, err := os.ReadFile(log.Name())
		lab.Must(r.t, err)
		missing := lacks(string(output), lines)
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			r.fail("%s\nhas not said %q, but\n%s", text, missing, output)
		}
		time.Sleep(20 * time.Millisecond) // it says so in a file
	}
}

// killed waits until the last one that was started so has ended, and expects that SIGKILL did it.
func (r *runner) killed(text string) {
	r.t.Helper()
	for i, s := range slices.Backward(r.going) {
		if s.page == text {
			r.going = slices.Delete(r.going, i, i+1)
			_ = s.cmd.Wait()
			if status, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
				r.fail("%s: %v, want SIGKILL", text, s.cmd.ProcessState)
			}
			return
		}
	}
	r.fail("%s: nothing was started so", text)
}

// stop ends what was started, all at once as on one machine, and expects each to end well.
func (r *runner) stop() {
	r.t.Helper()
	for _, s := range r.going {
		lab.Must(r.t, s.cmd.Process.Signal(syscall.SIGTERM))
	}
	for _, s := range r.going {
		kill := time.AfterFunc(patience, func() { _ = s.cmd.Process.Kill() })
		if err := s.cmd.Wait(); err != nil {
			output, _ := os.ReadFile(s.log)
			r.t.Errorf("%s: %v after SIGTERM\n%s", s.text, err, output)
		}
		kill.Stop()
	}
	r.going = nil
}

func (r *runner) killAll() {
	for _, s := range r.going {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, s := range r.going {
		kill := time.AfterFunc(time.Minute, func() { _ = s.cmd.Process.Kill() })
		_ = s.cmd.Wait()
		kill.Stop()
	}
	for _, w := range r.with {
		if !w.used && !r.t.Failed() {
			r.t.Errorf("with %s => %s: replaces nothing", w.old, w.new)
		}
	}
}

// fail ends the scenario, and shows what its processes said.
func (r *runner) fail(format string, args ...any) {
	r.t.Helper()
	var all bytes.Buffer
	fmt.Fprintf(&all, format, args...)
	for _, s := range r.going {
		output, _ := os.ReadFile(s.log)
		fmt.Fprintf(&all, "\n%s said\n%s", s.text, output)
	}
	r.t.Fatal(all.String())
}
