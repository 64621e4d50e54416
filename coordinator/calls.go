package coordinator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/coordinator/internal/process"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// What returns, by the name that it has in the log.
const (
	beats    = "beat"
	releases = "release"
	handoffs = "handoff"
	watches  = "watch"
	checks   = "health check" // or a write of the canary
	answers  = "answer"
)

// roleCalls is how many calls about single roles may be open at once.
const roleCalls = 32

// A call is one call to the store.
type call struct {
	name   string        // as in the log
	role   string        // the one it is about, if any
	budget time.Duration // how long it may take
	make   func(context.Context) error
	event  func(lock.Outcome) machine.Event // tells the machine how it went
}

// How many round trips a call may take: it reads before it writes, and again if somebody else was
// faster. A beat takes one; otherwise its acknowledgement would say nothing about the time at
// which it was sent.
const (
	beatTrips  = 1
	roleTrips  = 3 // an acquisition, a release, a handoff
	evictTrips = 4
	closeTrips = 4
)

// registration is how many tries' time a registration has. It takes up to five trips to the store
// and one to connect: it reads, reads whose its ID is, grants a lease, commits, and is told why
// if that was refused. No deadline waits for it, and one that is given up too early leaves a
// session behind that has our ID until it is evicted.
const registration = 6

// budget is how long a call of so many trips may take: one try, and for each further trip twice
// what a trip has recently taken, up to two tries; one try while nothing is known yet. So what
// works on a near store works on a far one, and on a near one a call that hangs is soon repeated.
func (r *runner) budget(trips time.Duration) time.Duration {
	try, slow := r.config.Try(), r.machine.Session().RoundTrip
	if slow == 0 {
		slow = try / 2
	}
	return try + (trips-1)*min(max(2*slow, try/4), 2*try)
}

// beatBudget is how long an attempt at a beat may take. The first one has two tries: if the store
// has become slower than a try, the others would all be given up just before their answers come.
// The others have one, so that while the store is away there is always one that began recently.
func (r *runner) beatBudget() time.Duration {
	if r.machine.Session().Tries == 1 {
		return 2 * r.config.Try()
	}
	return r.budget(beatTrips)
}

// call makes one call to the store and reports how it went.
func (r *runner) call(a machine.Action) {
	c := r.callFor(a)
	r.group.Go(func() {
		if c.role != "" {
			r.slots <- struct{}{}
			defer func() { <-r.slots }()
		}
		ctx, cancel := context.WithTimeout(r.calls, c.budget)
		defer cancel()
		err := silence(c.make(ctx), c.budget)
		r.post(news{event: c.event(outcomeOf(err)), call: c.name, role: c.role, err: err})
	})
}

// callFor is the call that performs an action.
func (r *runner) callFor(a machine.Action) call {
	session, at := r.session, r.config.Now()
	switch a := a.(type) {
	case machine.Beat:
		bids := r.rebid()
		return call{
			beats, "", r.beatBudget(), func(ctx context.Context) error { return session.Beat(ctx, bids...) },
			func(o lock.Outcome) machine.Event { return machine.Beaten{Number: a.Number, At: at, Outcome: o} },
		}
	case machine.Close:
		return call{
			"close", "", r.budget(closeTrips), r.closing(session, a.Number),
			func(o lock.Outcome) machine.Event { return machine.Closed{Number: a.Number, Outcome: o} },
		}
	case machine.Evict:
		why := lock.End{By: r.config.ID, Why: r.whyEvict(a.Session)}
		return call{
			"evict", "", r.budget(evictTrips), func(ctx context.Context) error { return r.locker.Evict(ctx, a.Session, a.Beat, why) },
			func(o lock.Outcome) machine.Event { return machine.Evicted{Session: a.Session, Outcome: o} },
		}
	case machine.Intend:
		f := lock.Fence{Token: a.Token, Beat: a.Beat, By: r.config.ID, Session: session.ID(), At: time.Now()}
		return call{
			"intend", a.Role, r.budget(roleTrips), func(ctx context.Context) error { return r.locker.(lock.Operator).Fence(ctx, a.Role, f) },
			func(o lock.Outcome) machine.Event {
				return machine.Intended{Session: a.Session, Beat: a.Beat, Outcome: o}
			},
		}
	case machine.Acquire:
		var token lock.Token
		return call{
			"acquire", a.Role, r.budget(roleTrips), func(ctx context.Context) (err error) { token, err = session.TryAcquire(ctx, a.Role); return err },
			func(o lock.Outcome) machine.Event {
				return machine.Acquired{Role: a.Role, Number: a.Number, Outcome: o, Token: token}
			},
		}
	case machine.Release:
		return call{
			releases, a.Role, r.budget(roleTrips), func(ctx context.Context) error { return session.Release(ctx, a.Role, a.Token) },
			func(o lock.Outcome) machine.Event {
				return machine.Released{Role: a.Role, Number: a.Number, Outcome: o}
			},
		}
	case machine.Handoff:
		return call{
			handoffs, a.Role, r.budget(roleTrips), func(ctx context.Context) error { return session.Handoff(ctx, a.Role, a.Token, a.To) },
			func(o lock.Outcome) machine.Event {
				return machine.HandedOff{Role: a.Role, Number: a.Number, Outcome: o}
			},
		}
	}
	panic(fmt.Sprintf("no call performs a %T", a))
}

// whyEvict is the reason that this process writes into a session's end.
func (r *runner) whyEvict(id lock.SessionID) string {
	switch {
	case id == r.dead:
		return history.Dead
	case strings.HasPrefix(string(id), r.machine.Nonce+"-"): // an earlier one of our own
		return history.Closed
	case id == r.fenced:
		return history.Fenced
	}
	return history.Silent
}

// silence says for how long nobody answered, if the error says nothing else.
func silence(err error, budget time.Duration) error {
	if late.Alone(err) && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", budget.Round(time.Millisecond))
	}
	return err
}

// closing is the call that ends a session. If Register never answered, the session is known
// by its ID only. If no try had a connection, there is no session. One that was given up for a stop
// counts as such if the next call has no connection either.
func (r *runner) closing(s lock.Session, number int) func(context.Context) error {
	switch {
	case s != nil:
		return s.Close
	case !r.sent && !r.doubt && r.registers == 0:
		return func(context.Context) error { return nil }
	}
	id, why := r.machine.ID(number), lock.End{By: r.config.ID, Why: history.Closed}
	return func(ctx context.Context) error { return r.locker.Evict(ctx, id, lock.AnyBeat, why) }
}

func (r *runner) register(a machine.Register) {
	c := lock.Contender{ID: r.config.ID, Address: r.config.Address, Labels: r.config.Labels, Session: r.machine.ID(a.Number)}
	r.config.Witness.Session(c.Session)
	if c.Witness = r.config.witnessed(); !c.Witness && !r.config.Outlives {
		c.Process = process.This()
	}
	p := lock.Promise{TTL: r.config.TTL, Skew: r.config.Skew}
	r.bidden, r.untold = r.bids(), 0
	bids := r.bidden
	r.registers++
	r.group.Go(func() {
		budget := registration * r.config.Try()
		ctx, cancel := context.WithTimeout(r.calls, budget)
		defer cancel()
		defer context.AfterFunc(r.stop, cancel)()
		session, err := r.locker.Register(ctx, c, p, bids...)
		err = silence(err, budget)
		e := machine.Registered{Number: a.Number, At: r.config.Now(), Outcome: outcomeOf(err)}
		var other *lock.HeldError
		if errors.As(err, &other) {
			e.Holder = other.Holder
			e.Dead = process.Dead(e.Holder.Process) || r.locked.Dead(e.Holder.Session)
		}
		r.post(news{event: e, call: "register", session: session, err: err})
	})
}

// doubted notes whether a registration that has returned may have reached the store.
func (r *runner) doubted(err error) {
	canceled := r.stop.Err() != nil && errors.Is(err, context.Canceled)
	r.sent, r.doubt = r.sent || !canceled && !unsent(err), r.doubt || canceled
	r.registers--
}

// unsent reports whether an error says of every try that no connection was made for it, so that the store has heard
// nothing of the call.
func unsent(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it goes down the chain itself
	case *net.OpError:
		return e.Op == "dial"
	case interface{ Unsent() bool }: // a backend's own, which tries one server after another
		return e.Unsent()
	case interface{ Unwrap() error }:
		return unsent(e.Unwrap())
	case interface{ Unwrap() []error }:
		return !slices.ContainsFunc(e.Unwrap(), func(e error) bool { return !unsent(e) })
	}
	return false
}

// watch follows the roles, once, from the first registration on: anything the store showed
// earlier might be older than this process.
func (r *runner) watch() {
	if r.watching {
		return
	}
	r.watching = true
	r.group.Go(func() {
		for r.calls.Err() == nil {
			r.follow(r.config.names())
			pause(r.calls, r.config.retry()) // a watch that ended is begun anew
		}
	})
}

// follow reports what one Watch yields, until it ends or is refused.
func (r *runner) follow(names []string) {
	unread := map[string]bool{} // the roles whose record was refused, and not shown since
	for st, err := range r.locker.Watch(r.calls, names...) {
		if r.calls.Err() != nil {
			return
		}
		if err == nil {
			delete(unread, st.Role)
			r.post(news{event: machine.Stood{At: r.config.Now(), Standing: st}, call: watches, role: st.Role})
			continue
		}
		o := outcomeOf(err)
		r.post(news{event: machine.Unseen{Role: st.Role, Outcome: o}, call: watches, role: st.Role, err: err})
		switch {
		case o == lock.Refused && st.Role == "":
			pause(r.calls, r.config.BeatEvery())
			return // a new one yields every standing again, changed or not
		case o == lock.Refused && !unread[st.Role]:
			unread[st.Role] = true // the other roles are shown without a pause
		default:
			pause(r.calls, r.config.retry())
		}
	}
}

// outcomeOf is lock.OutcomeOf for the machine, which goes on trying while another store is there:
// an operator may put that right.
func outcomeOf(err error) lock.Outcome {
	if o := lock.OutcomeOf(err); o != lock.OtherStore && o != lock.RolledBack {
		return o
	}
	return lock.Unknown
}

// answer says, beside a request that a role be handed to this process, that it lives and has seen
// it: the active hands nothing to the dead. There is one such call for each role at a time; if it
// failed it is repeated for as long as the store shows such a request.
func (r *runner) answer(role string) {
	st, s := r.standings[role], r.machine.Session()
	wish := st.Request
	switch {
	case r.session == nil || wish.To != r.session.ID() || wish.Token != st.Term.Token || wish.Answered:
		return
	case r.answering[role] || s.Unfit || s.Stopping || slices.ContainsFunc(st.Line, func(m lock.Member) bool { return m.Session == wish.To && m.Settings.Drained }):
		return
	}
	r.answering[role], wish.Answered = true, true
	budget := r.budget(roleTrips)
	r.group.Go(func() {
		ctx, cancel := context.WithTimeout(r.calls, budget)
		err := silence(r.locker.Ask(ctx, role, wish), budget)
		cancel()
		switch {
		case refusal(err):
			pause(r.calls, r.config.BeatEvery())
		case err != nil:
			pause(r.calls, r.config.retry())
		}
		r.post(news{event: machine.Tick{}, call: answers, role: role, err: err})
	})
}

// An expiry is a pause that will end by itself.
type expiry struct {
	pause  lock.Pause
	cancel context.CancelFunc
}

// resumeLater ends a pause once its time has passed by our wall clock: the one that was seen, and
// none that an operator sets meanwhile. Every contender does so, and the first one ends it.
func (r *runner) resumeLater(st lock.Standing) {
	op, ok := r.locker.(lock.Operator)
	old := r.pauses[st.Role]
	if !ok || st.Pause.Same(old.pause) {
		return
	}
	if old.cancel != nil {
		old.cancel()
		delete(r.pauses, st.Role)
	}
	if st.Pause.Until.IsZero() {
		return
	}
	ctx, cancel := context.WithCancel(r.calls)
	r.pauses[st.Role] = expiry{st.Pause, cancel}
	budget := r.budget(roleTrips)
	r.group.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			if left := time.Until(st.Pause.Until); left > 0 {
				pause(ctx, min(left, time.Minute)) // the clock may be set meanwhile
				continue
			}
			try, stop := context.WithTimeout(ctx, budget)
			err := silence(op.Resume(try, st.Role, st.Pause), budget)
			stop()
			r.post(news{event: machine.Tick{}, call: "resume", role: st.Role, err: err})
			if o := outcomeOf(err); o == lock.OK || o == lock.Moved {
				return
			}
			pause(ctx, r.config.BeatEvery())
		}
	})
}
