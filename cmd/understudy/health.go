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

// A health is the health command. One init serves all checks, for starting one for each
// would cost more than the check. Whatever a check leaves behind is killed before it
// counts as over.
type health struct {
	command string
	log     *slog.Logger

	checks *procgroup.Series // nil: none can run
	out    *os.File          // where they write to
}

// check runs the command once. The coordinator makes one call at a time.
func (h *health) check(ctx context.Context) error {
	code, err := h.run(ctx)
	if errors.Is(err, procgroup.ErrEnded) && ctx.Err() == nil { // that the init was killed says nothing of the check
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

// start starts the init. What a check prints is logged: one that wrote past the log would
// hang with a log that stalls.
func (h *health) start() error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	h.checks, err = procgroup.StartSeries(procgroup.Spec{
		Path: "/bin/sh", Argv: []string{"sh", "-c", h.command}, Env: os.Environ(), Stdout: in, Stderr: in,
	})
	if err != nil {
		h.checks = nil
		return errors.Join(err, out.Close(), in.Close())
	}
	h.out = in
	go h.relay(out)
	return nil
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
