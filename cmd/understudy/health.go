package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

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
	ended  chan bool         // tells who logs that when one is over, and whether it failed
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
	code, err = h.checks.Run(ctx)
	select {
	case h.ended <- code != 0 || err != nil:
	default: // nobody waits for a log
	}
	if err != nil { // another series is started for the next check
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
	h.ended = make(chan bool, 8)
	go relayFrom(out, h.log, "the health command says", h.ended)
	return nil
}
