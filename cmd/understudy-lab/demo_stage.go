package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/process"
	"github.com/understudy-ha/understudy/lock"
)

// A demoStage is the demo's processes and what their works stamped.
type demoStage struct {
	dir     string
	self    string                    // this program
	command func(id string) *exec.Cmd // that takes part
	service string                    // where --warm has its program answer
	ttl     time.Duration
	every   time.Duration // between two stamps of a work
	out     io.Writer
	colour  bool
	beside  bool // with a witness beside each
	began   time.Time
	ids     []string
	peers   []raft.Peer
	client  lock.Locker
	procs   map[string]*process.Process
	fail    context.CancelCauseFunc // ends the demo

	commit  time.Duration
	results []demoResult

	mu   sync.Mutex
	seen []*demoTerm
	told map[*process.Process]bool // they were sent a signal, and may end
	news chan struct{}
}

type demoResult struct {
	what string
	took time.Duration
	why  string
}

// A demoTerm is one term as its work stamped it, by CLOCK_MONOTONIC.
type demoTerm struct {
	id          string
	token       uint64
	first, last time.Duration // stamps; first is the work's start
	stamps      int
	witness     int           // its process ID
	end         time.Duration // zero: not said
}

func (s *demoStage) startAll() error {
	for _, id := range s.ids {
		if err := s.start(id); err != nil {
			return err
		}
	}
	return nil
}

func (s *demoStage) start(id string) error {
	cmd := s.command(id)
	cmd.Stderr = os.Stderr
	p, err := process.Start(cmd, func(line string) { s.take(id, line) })
	if err != nil {
		return err
	}
	s.procs[id] = p
	if s.fail != nil {
		go s.mind(id, p)
	}
	return nil
}

// mind ends the demo where a process ends to which nothing was done.
func (s *demoStage) mind(id string, p *process.Process) {
	<-p.Gone()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.told[p] {
		s.fail(fmt.Errorf("%s ended, and nothing was done to it: a witness kills a process that has made no step for %v, as happens on a machine that is too busy for this demo; try it again", id, demoHang))
	}
}

// take notes one line of a work.
func (s *demoStage) take(id, line string) {
	var what string
	var token uint64
	var at time.Duration
	if _, err := fmt.Sscan(line, &what, &token, &at); err != nil {
		return
	}
	pid := 0
	if what == "start" {
		_, _ = fmt.Sscan(line, &what, &token, &at, &pid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.seen, func(t *demoTerm) bool { return t.token == token })
	if i < 0 {
		s.seen = append(s.seen, &demoTerm{id: id, token: token, first: at, last: at, witness: pid})
		i = len(s.seen) - 1
	}
	t := s.seen[i]
	switch what {
	case "stamp":
		t.last = at
		t.stamps++
	case "end":
		t.end = at
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// until waits until found returns a term.
func (s *demoStage) until(ctx context.Context, what string, found func() *demoTerm) (*demoTerm, error) {
	for {
		s.mu.Lock()
		t := found()
		s.mu.Unlock()
		if t != nil {
			return t, nil
		}
		select {
		case <-s.news:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// next waits for a term whose token is greater.
func (s *demoStage) next(ctx context.Context, after uint64) (*demoTerm, error) {
	return s.until(ctx, "a new active", func() *demoTerm {
		for _, t := range s.seen {
			if t.token > after && t.stamps > 0 {
				return t
			}
		}
		return nil
	})
}

// lastOf is when a term was last stamped.
func (s *demoStage) lastOf(t *demoTerm) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.last
}

// endOf waits until a term's work said that it ended, and returns when.
func (s *demoStage) endOf(ctx context.Context, t *demoTerm) (time.Duration, error) {
	var end time.Duration
	_, err := s.until(ctx, "the old work's end", func() *demoTerm {
		if end = t.end; end == 0 {
			return nil
		}
		return t
	})
	return end, err
}

// active is the last term.
func (s *demoStage) active() *demoTerm {
	terms := s.terms()
	return terms[len(terms)-1]
}

// terms are all terms, by their first stamp.
func (s *demoStage) terms() []*demoTerm {
	s.mu.Lock()
	defer s.mu.Unlock()
	terms := slices.Clone(s.seen)
	slices.SortFunc(terms, func(a, b *demoTerm) int { return int(a.first - b.first) })
	return terms
}

// standing is the role's standing now.
func (s *demoStage) standing(ctx context.Context) (lock.Standing, error) {
	for st, err := range s.client.Watch(ctx, demoRole) {
		return st, err
	}
	return lock.Standing{}, context.Cause(ctx)
}

// inLine waits until n processes stand by and are ready.
func (s *demoStage) inLine(ctx context.Context, n int) error {
	for st, err := range s.client.Watch(ctx, demoRole) {
		cold := slices.ContainsFunc(st.Line, func(m lock.Member) bool { return !m.Ready() })
		if err == nil && len(st.Line) >= n && !cold && !st.Term.Vacant() {
			return nil
		}
	}
	return fmt.Errorf("waiting for %d standbys: %w", n, context.Cause(ctx))
}

// signal sends a signal and returns when, by the works' clock.
func (s *demoStage) signal(id string, sig syscall.Signal) time.Duration {
	at := coordinator.Clocks().Mono
	s.tell(s.procs[id])
	_ = s.procs[id].Signal(sig) // one that has ended is seen by wait
	return at
}

// tell notes that a process may end from now on.
func (s *demoStage) tell(p *process.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[p] = true
}

func (s *demoStage) running(id string) bool { return s.procs[id] != nil }

// wait waits for a process to end. One that was killed, or that its deadline
// ended, is not an error.
func (s *demoStage) wait(id string) error {
	p := s.procs[id]
	if p == nil {
		return nil
	}
	delete(s.procs, id)
	err := p.Wait()
	p.Drain()
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.Sys().(syscall.WaitStatus).Signaled() || exit.ExitCode() == coordinator.ExitCode) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %s: %w", id, err)
	}
	return nil
}

// awaitWitnesses waits until the sessions of those that were killed have been ended. Their witnesses need the others for that,
// and would otherwise try until the promise is over.
func (s *demoStage) awaitWitnesses() {
	dead := map[string]bool{}
	for id, p := range s.procs {
		s.mu.Lock()
		told := s.told[p]
		s.mu.Unlock()
		if !told {
			continue
		}
		select {
		case <-p.Gone():
			dead[id] = true
		case <-time.After(100 * time.Millisecond): // stopped, or on its way
		}
	}
	if len(dead) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for st, err := range s.client.Watch(ctx, demoRole) {
		if err == nil && (st.Term.Vacant() || !dead[st.Term.Holder.ID]) && !slices.ContainsFunc(st.Line, func(m lock.Member) bool { return dead[m.ID] }) {
			return
		}
	}
}

// endAll leaves nothing behind, whatever happened. It stops what is left, so that the
// witnesses end too, and kills what has not stopped by then.
func (s *demoStage) endAll() {
	s.awaitWitnesses()
	for _, p := range s.procs {
		s.tell(p)
		_ = p.Signal(syscall.SIGTERM) // one that has ended is seen by wait
		_ = p.Resume()
	}
	for _, p := range s.procs {
		p.End(syscall.SIGCONT, 5*time.Second)
	}
	for _, id := range s.ids {
		_ = s.wait(id)
	}
}

// print prints one line of the timeline.
func (s *demoStage) print(mood, format string, args ...any) {
	start, end := "", ""
	if codes := map[string]string{"good": "\x1b[32m", "bad": "\x1b[31m"}; s.colour && codes[mood] != "" {
		start, end = codes[mood], "\x1b[0m"
	}
	fmt.Fprintf(s.out, "%6.2fs  %s%s%s\n", time.Since(s.began).Seconds(), start, narrow(fmt.Sprintf(format, args...), 9), end)
}

// narrow breaks a text that begins at a column, so that it fits a terminal of 80.
func narrow(text string, column int) string {
	var b strings.Builder
	at := column
	for i, word := range strings.Fields(text) {
		switch {
		case i > 0 && at+1+len(word) > 79:
			b.WriteString("\n" + strings.Repeat(" ", column))
			at = column
		case i > 0:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}
