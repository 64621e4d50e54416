package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/internal/procgroup"
)

// A health is the health command. One init serves all checks, because starting one for each would
// cost more than the check. Everything that a check leaves behind is killed before it counts as
// over.
type health struct {
	command string
	log     *slog.Logger

	checks *procgroup.Series // nil: none can run
	out    *os.File          // where they write to
}

// check runs the command once. The coordinator makes one call at a time.
func (h *health) check(ctx context.Context) error {
	code, err := h.run(ctx)
	if errors.Is(err, procgroup.ErrEnded) && ctx.Err() == nil { // that the init was killed says nothing about the check
		code, err = h.run(ctx)
	}
	if err == nil && code != 0 {
		err = fmt.Errorf("it ended with code %d", code)
	}
	if err != nil {
		return fmt.Errorf("health command %q: %w", strings.TrimSpace(h.command), err)
	}
	return nil
}

func (h *health) run(ctx context.Context) (code int, err error) {
	if h.checks == nil {
		if err := h.start(); err != nil {
			return 0, err
		}
	}
	if code, err = h.checks.Run(ctx); err != nil { // another series is started for the next check
		h.checks.End()
		h.checks = nil
		_ = h.out.Close() // nothing of ours was written to it
	}
	return code, err
}

// start starts the init. A check's output is logged: a check that wrote past the log would hang
// with a log that stalls.
func (h *health) start() error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	h.checks, err = procgroup.StartSeries(procgroup.Spec{
		Title: "health:", Path: "/bin/sh", Argv: []string{"sh", "-c", h.command}, Env: without(nil), Stdout: in, Stderr: in,
	})
	if err != nil {
		h.checks = nil
		return errors.Join(err, out.Close(), in.Close())
	}
	h.out = in
	go relay(out, h.log, "the health command says")
	return nil
}

// longestLine is how much of a line printed by a check is logged.
const longestLine = 1024

// relay logs what a check or a hook prints, until no process is left that could print. A check may run
// each second and print each time: a line equal to the last one is dropped, and so are lines beyond
// eight a minute.
func relay(out *os.File, log *slog.Logger, says string) {
	defer out.Close()
	seldom := rate.NewLimiter(rate.Every(15*time.Second), 4)
	lines, last, dropped, rest := bufio.NewReaderSize(out, longestLine), "", 0, false
	for {
		line, more, err := lines.ReadLine()
		switch {
		case err != nil:
			return
		case rest: // the rest of a line whose beginning was logged, or dropped
		case string(line) == last || !seldom.Allow():
			dropped++
		default:
			last = string(line)
			log.Info(says, "line", last, "dropped", dropped)
			dropped = 0
		}
		rest = more
	}
}
