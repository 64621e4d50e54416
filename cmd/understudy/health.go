package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/understudy-ha/understudy/internal/procgroup"
)

// A health is the health command. A shell of its own runs it once for each line that it
// reads, and answers with its code: a group for every check would cost an init's start.
// What a check leaves behind ends with that shell, and it with us.
type health struct {
	command string
	log     *slog.Logger

	shell   *procgroup.Group // nil: none runs
	ask     *os.File
	answers *os.File
}

const healthShell = `while read -r line; do sh -c "$1" </dev/null >&2; echo $?; done`

// check runs the command once. The coordinator makes one call at a time.
func (h *health) check(ctx context.Context) error {
	err := h.run(ctx)
	if errors.Is(err, errNoShell) && ctx.Err() == nil { // that it was killed says nothing of the check
		err = h.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("health command %q: %w", strings.TrimSpace(h.command), err)
	}
	return nil
}

var errNoShell = errors.New("its shell has ended")

func (h *health) run(ctx context.Context) error {
	if h.shell == nil {
		if err := h.start(); err != nil {
			return err
		}
	}
	type answer struct {
		code string
		err  error
	}
	got := make(chan answer, 1)
	go func(ask io.Writer, answers io.Reader) {
		_, err := io.WriteString(ask, "\n")
		line, err2 := bufio.NewReader(answers).ReadString('\n') // there is one for each line
		if err = errors.Join(err, err2); err != nil {
			err = fmt.Errorf("%w: %w", errNoShell, err)
		}
		got <- answer{strings.TrimSpace(line), err}
	}(h.ask, h.answers)
	var a answer
	select {
	case a = <-got:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	if a.err != nil { // another is started for the next check
		h.end()
		return a.err
	}
	if a.code != "0" {
		return fmt.Errorf("it ended with code %s", a.code)
	}
	return nil
}

// start starts the shell. What a check prints is logged: one that wrote past the log would
// hang with a log that stalls.
func (h *health) start() (err error) {
	var ends [6]*os.File
	for i := 0; i < len(ends); i += 2 {
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			return errors.Join(err, closeAll(ends[:i]))
		}
	}
	h.shell, err = procgroup.Start(procgroup.Spec{
		Path: "/bin/sh", Argv: []string{"sh", "-c", healthShell, "sh", h.command}, Env: os.Environ(),
		Stdin: ends[0], Stdout: ends[3], Stderr: ends[5],
	})
	if err != nil {
		h.shell = nil
		return errors.Join(err, closeAll(ends[:]))
	}
	h.ask, h.answers = ends[1], ends[2]
	go h.relay(ends[4])
	return closeAll([]*os.File{ends[0], ends[3], ends[5]}) // the shell has its own
}

// end ends the shell and all that its checks have left behind.
func (h *health) end() {
	h.shell.Kill()
	h.shell = nil
	_ = closeAll([]*os.File{h.ask, h.answers}) // whoever waits for an answer has none
}

// relay logs what checks print, until nobody is left who could.
func (h *health) relay(out *os.File) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		h.log.Info("the health command says", "line", lines.Text())
	}
	_, _ = io.Copy(io.Discard, out) // a line that is too long
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}
