package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
)

// TestLostWithStubbornDaemon loses the store while a daemon of the command ignores SIGTERM: the
// wrapper ends by itself, with the code of a lost role, and not by its witness.
func TestLostWithStubbornDaemon(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.more = []string{"--on-loss", "exit"}
	r.command = []string{"sh", "-c", `setsid -f sh -c 'trap "" TERM; while sleep 0.1; do :; done'; exec ` + os.Args[0]}
	for _, id := range r.ids {
		r.start(id)
	}
	now := r.settle()
	active := r.procs[now.id]
	for id := range r.procs {
		if id != now.id {
			r.kill(id, syscall.SIGKILL)
		}
	}
	_ = active.Wait()
	if code := active.ProcessState.ExitCode(); code != cli.Lost {
		log := r.log(now.id)
		t.Errorf("%v, want exit code %d\n%s", active.ProcessState, cli.Lost, log[strings.LastIndex(log, "to=draining"):])
	}
	delete(r.procs, now.id)
	r.judge()
	r.nothingLeft()
}
