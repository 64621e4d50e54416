package conformance

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// A kase is one row of the table.
type kase struct {
	name  string
	rule  string  // a sentence of the contract, literally
	needs []Fault // the faults that the harness must provide
	alone bool    // it fills the store, or counts what the process holds
	waits bool    // for long, and does little
	far   bool    // it runs where the store is far away
	run   func(t *trial)
}

// isAlone reports whether the case disturbs others on the same store.
func (c kase) isAlone() bool {
	return c.alone || slices.ContainsFunc(c.needs, func(f Fault) bool {
		return f == Restart || f == Pause || f == Compact || f == KillLeader || f == Save || f == LoseNode
	})
}

// A trial is one running case, on one store. errorf may be called from any goroutine, the rest
// from the case's own.
type trial struct {
	Suite
	ctx   context.Context // of the whole case
	name  string
	begun time.Time
	store *Store

	mu      sync.Mutex
	failed  []string
	cleanup []func()
}

// try runs one case under a watchdog.
func (s Suite) try(ctx context.Context, c kase) Result {
	r := Result{Case: c.name, Rule: c.rule, Verdict: Passed}
	if r.Why = s.lacks(c); r.Why != "" {
		r.Verdict = NotApplicable
		return r
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := &trial{Suite: s, ctx: ctx, name: c.name, begun: time.Now()}
	if s.Far > 0 { // one store may serve several distances
		t.name += fmt.Sprintf(" %v/%v", s.TTL, s.Far)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.finish()
		t.play(c)
	}()
	bound := s.bound()
	if c.waits {
		bound += janitor
	}
	if !within(done, bound) {
		t.errorf("it still runs after %v:\n%s", bound, stacks())
		cancel()
		if !within(done, endBound) {
			t.errorf("it does not end when it is told to either, %v later", endBound)
		}
	}
	r.Took = time.Since(t.begun)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failed) > 0 {
		r.Verdict, r.Why = Failed, strings.Join(t.failed, "\n")
	}
	return r
}

// bound is how long a case may take.
func (s Suite) bound() time.Duration { return 4*time.Minute + 20*s.TTL + s.History }

// endBound is how long a case that was told to end may take.
const endBound = 15 * time.Second

func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// play opens the store and runs the case.
func (t *trial) play(c kase) {
	defer func() {
		if p := recover(); p != nil {
			t.errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	store, err := t.New(t.ctx)
	if err != nil {
		t.fatalf("New: %v", err)
	}
	t.store = store
	if store.Close != nil {
		t.after(func() {
			if err := store.Close(); err != nil {
				t.errorf("close the store: %v", err)
			}
		})
	}
	c.run(t)
}

// after makes f run when the case is over, the last one first.
func (t *trial) after(f func()) { t.cleanup = append(t.cleanup, f) }

func (t *trial) finish() {
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
}

// maxFailures is how many failures of a case are reported.
const maxFailures = 8

// errorf notes a failure.
func (t *trial) errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failed) < maxFailures {
		t.failed = append(t.failed, fmt.Sprintf(format, args...))
	}
}

func (t *trial) hasFailed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.failed) > 0
}

// fatalf notes a failure and ends the goroutine that calls it.
func (t *trial) fatalf(format string, args ...any) {
	t.errorf(format, args...)
	runtime.Goexit()
}

// together runs f n times at once, and returns when all have returned.
func (t *trial) together(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { f(i) })
	}
	group.Wait()
}

// stacks is what every goroutine of the process is doing.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
