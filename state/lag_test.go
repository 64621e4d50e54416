package state_test

import (
	"io"
	"math"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/state"
)

// lag is what the metrics of a process say.
func (p *process[M]) lag() float64 {
	status, _ := p.shows.Role("r")
	return status.LagSeconds()
}

// TestLag: the metrics say how old a process's state may be: it is never old on the active, a little on a standby
// that follows, ever older on one that cannot, and infinite before anything was read.
func TestLag(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := r.start("a", options[*book]{})
		a.append(a.term(), "x=1")
		b := r.start("b", options[*book]{})
		sees(b, map[string]string{"x": "1"})
		if active, standby := a.lag(), b.lag(); active != 0 || standby <= 0 || standby > 2 {
			r.Errorf("the lag is %v s on the active, and %v s on a standby", active, standby)
		}
		_ = b.locker.Close()    // it can read nothing from now on
		time.Sleep(time.Minute) // of virtual time
		if lag := b.lag(); lag < 58 || lag > 61 || b.log.Ready("r") {
			r.Errorf("a minute after its last read the lag is %v s; ready: %t", lag, b.log.Ready("r"))
		}
		l, _ := r.open()
		defer l.Close()
		idle, err := state.Open(r.Context(), l, "r", newBook, state.Options{})
		r.must(err)
		if unread, other := idle.Lag("r"), idle.Lag("another"); unread != math.MaxInt64 || other >= 0 {
			r.Errorf("before anything was read the lag is %v, and of another role %v", unread, other)
		}
		b.kill()
		a.halt()
	})
}

// A stuck machine says that it applies, and waits until it may.
type stuck struct{ applies, may chan struct{} }

func (s *stuck) Apply([]byte)             { s.applies <- struct{}{}; <-s.may }
func (s *stuck) Snapshot(io.Writer) error { return nil }
func (s *stuck) Restore(io.Reader) error  { return nil }

// TestLagWaitsForNothing: probes ask for it, and a machine that does not return must not hold them up.
func TestLagWaitsForNothing(t *testing.T) {
	inBubble(t, func(r *rig) {
		s := &stuck{make(chan struct{}), make(chan struct{})}
		a := start(r, "a", options[*stuck]{fresh: func() *stuck { return s }})
		term, appended := a.term(), make(chan error)
		go func() { appended <- a.log.Append(r.Context(), term.Term, []byte("x")) }()
		<-s.applies
		time.Sleep(2 * time.Second) // of virtual time
		if lag := a.log.Lag("r"); lag != 0 || !a.log.Ready("r") {
			r.Errorf("the lag is %v; ready: %t", lag, a.log.Ready("r"))
		}
		close(s.may)
		r.must(<-appended)
		a.halt()
	})
}
