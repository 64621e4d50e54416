package raft

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ending is how long Raft may take to end: a disk that works takes no more for what is under way.
const ending = 10 * time.Second

// takeover is how long a leader that closes waits for one that is going on.
const takeover = 250 * time.Millisecond

// Close leaves the group in good order: a takeover that is going on is served,
// the leadership is handed over, then everything stops.
func (n *node) Close() error {
	n.once.Do(func() {
		if n.running() {
			n.resign()
		}
		n.shut()
	})
	return n.err
}

// shut stops everything, without a word to the others.
func (n *node) shut() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel(errClosed)
	n.err = n.stop()
}

// resign hands the leadership over, if this node has it.
func (n *node) resign() {
	if !n.leading() || len(n.voters()) < 2 {
		return
	}
	n.await(time.After(takeover))
	done := make(chan error, 1)
	f := n.raft.LeadershipTransfer()
	n.answer(f)
	go func() { done <- f.Error() }()
	select { // a transfer that is interrupted can hang (hashicorp/raft#696)
	case err := <-done:
		if err != nil {
			n.log.Debug("leadership not handed over", "error", err)
		}
	case <-time.After(2 * n.config.timing()):
		n.log.Warn("handing over the leadership takes too long", "limit", 2*n.config.timing())
	}
}

// await waits while a role is vacant with somebody in line.
func (n *node) await(end <-chan time.Time) {
	for {
		v, changed, err := n.machine.view()
		waiting := false
		for _, st := range v.Standings {
			waiting = waiting || st.Term.Vacant() && len(st.Line) > 0
		}
		if err != nil || !waiting {
			return
		}
		select {
		case <-changed:
		case <-end:
			return
		}
	}
}

// stop ends whatever start has begun.
func (n *node) stop() error {
	var errs []error
	if !within(&n.calls, 2*n.config.timing()) {
		n.log.Debug("calls go on while the node closes")
	}
	var hung error
	if n.raft != nil {
		hung = n.end()
		errs = append(errs, hung)
	}
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.server != nil {
		n.port.end() // or the server waits for its listener
		errs = append(errs, n.server.Close())
	}
	if n.port != nil {
		errs = append(errs, n.port.close())
	}
	if n.caller.http != nil {
		n.caller.close()
	}
	if n.dir != nil && !errors.Is(hung, errHung) { // else what waits for the disk may write yet
		errs = append(errs, n.unlessHung("the log", n.dir.close))
	}
	if !within(&n.calls, 2*n.config.timing()) {
		n.log.Warn("calls go on after the node has closed")
	}
	return errors.Join(errs...)
}

// end ends Raft.
func (n *node) end() error {
	f := n.halt()
	err := n.transport.Close()
	n.port.end() // or Raft waits for silent peers
	defer close(n.down)
	return errors.Join(err, n.unlessHung("Raft", f.Error))
}

// unlessHung waits for what ends something that writes to the disk. It leaves that behind where the
// disk hangs: no stop waits for that.
func (n *node) unlessHung(what string, ends func() error) error {
	done := make(chan error, 1)
	go func() { done <- ends() }()
	select {
	case err := <-done:
		return err
	case <-time.After(ending):
		return fmt.Errorf("%s %w within %v, is the disk of %s hanging? It is left as it is: the directory stays locked until this process ends", what, errHung, ending, n.config.Dir)
	}
}

var errHung = errors.New("has not ended")

// within waits for wg, but not longer than limit.
func within(wg *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
