package failover

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// StampEvery is the time between two stamps of a work. The start, the first success
// and the end are stamped besides, so it bounds only how exactly one knows when a work
// stopped that was killed or frozen; and stamping must not be what the machine is busy
// with.
const StampEvery = 5 * time.Millisecond

// Contend is a contender: it takes part in the roles of c through l until ctx is
// done, and writes a line "WHAT TOKEN NANOSECONDS" by CLOCK_MONOTONIC for
//
//	told     the standby saw that the role is vacant, or judged the active silent
//	seen     it saw a term that stands, which may be its own
//	granted  the store confirmed the role
//	start    the work was entered
//	success  the first stamp was taken by whoever reads the lines
//	stamp    the work was active at that moment
//	end      the work returned
//	standby  the coordinator is in line, or takes the role
//	out      it is not, or does not compete
//	calls    how many calls to the store there were (in place of a token), after SIGUSR1
//
// Where stamps is false there are no lines for success and stamp: the works cost nothing.
func Contend(ctx context.Context, l lock.Locker, c coordinator.Config, stamps bool, out io.Writer) error {
	s := &script{out: out}
	c.Logger = slog.New(phases{s})
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	go func() {
		for {
			select {
			case <-asked:
				s.say("calls", lock.Token(s.calls.Load()))
			case <-ctx.Done():
				return
			}
		}
	}()
	return coordinator.Run(ctx, observed{l, s}, c, func(ctx context.Context, t coordinator.Term) error {
		s.work(ctx, t, stamps)
		return nil
	})
}

// A script is what a contender writes.
type script struct {
	calls  atomic.Int64
	holder atomic.Value // lock.SessionID: of the term that was seen last

	mu  sync.Mutex
	out io.Writer
}

func (s *script) say(what string, token lock.Token) { s.sayAt(what, token, coordinator.Clocks().Mono) }

// sayAt writes one line. Who reads it may be gone: nothing can be said of that.
func (s *script) sayAt(what string, token lock.Token, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = fmt.Fprintf(s.out, "%s %d %d\n", what, token, at)
}

func (s *script) work(ctx context.Context, t coordinator.Term, stamps bool) {
	s.say("start", t.Token)
	defer s.say("end", t.Token)
	if !stamps {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(StampEvery)
	defer tick.Stop()
	for first := true; ctx.Err() == nil; {
		if at := coordinator.Clocks().Mono; t.Valid() {
			s.sayAt("stamp", t.Token, at)
			if first {
				s.say("success", t.Token)
				first = false
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// phases is a log handler that takes the coordinator's word for being in line.
type phases struct{ *script }

func (p phases) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (p phases) WithAttrs([]slog.Attr) slog.Handler           { return p }
func (p phases) WithGroup(string) slog.Handler                { return p }

func (p phases) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "transition" && a.Key == "to" {
			switch coordinator.State(a.Value.String()) {
			case coordinator.Standby, coordinator.Activating:
				p.say("standby", 0)
			case coordinator.Registering, coordinator.Paused, coordinator.Stopped:
				p.say("out", 0)
			}
		}
		return true
	})
	return nil
}

// observed is a Locker that stamps what a standby learns from it.
type observed struct {
	lock.Locker
	script *script
}

func (o observed) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	o.script.calls.Add(1)
	s, err := o.Locker.Register(ctx, c, p, bids...)
	if err != nil {
		return nil, err
	}
	return observedSession{s, o.script}, nil
}

func (o observed) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for st, err := range o.Locker.Watch(ctx, roles...) {
			if err == nil && len(roles) == 1 {
				o.script.look(st)
			}
			if !yield(st, err) {
				return
			}
		}
	}
}

// look stamps a standing. A successor named by a handoff sees a term that stands:
// its token is that of the grant that follows.
func (s *script) look(st lock.Standing) {
	s.holder.Store(st.Term.Holder.Session)
	what := "seen"
	if st.Term.Vacant() {
		what = "told"
	}
	s.say(what, st.Term.Token)
}

func (o observed) Evict(ctx context.Context, id lock.SessionID, seen lock.Beat, why lock.End) error {
	o.script.calls.Add(1)
	if o.script.holder.Load() == id { // a standby that is silent is evicted too
		o.script.say("told", 0)
	}
	return o.Locker.Evict(ctx, id, seen, why)
}

type observedSession struct {
	lock.Session
	script *script
}

func (o observedSession) Beat(ctx context.Context, bids ...lock.Bid) error {
	o.script.calls.Add(1)
	return o.Session.Beat(ctx, bids...)
}

func (o observedSession) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	o.script.calls.Add(1)
	t, err := o.Session.TryAcquire(ctx, role)
	if err == nil {
		o.script.say("granted", t)
	}
	return t, err
}
