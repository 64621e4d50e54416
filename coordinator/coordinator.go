package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// Run takes part in the roles of c through l until ctx is done, and does work
// for every term that it is granted. It blocks, and returns only when everything
// that it started has ended; it does not close l.
//
// When ctx is done, Run tells the work to stop, waits for it within the stop
// timeout with beats going on, gives the roles back and returns nil. It also
// returns nil when the work of every role said that it is done for good. It
// returns a *lock.HeldError when another living process has c's ID, or, with
// Exclusive, a role of c; an error that wraps lock.ErrPermanent when no try can
// succeed; and what is wrong with c before anything is written. An unreachable
// store ends no Run: it goes on trying.
//
// Work that has not returned when the promise is over ends the process, unless
// c.NoExit is set.
func Run(ctx context.Context, l lock.Locker, c Config, work Work) error {
	c = c.Defaults()
	if err := c.Validate(); err != nil {
		return err
	}
	c.Logger = asynclog.Logger(c.Logger)
	defer asynclog.Flush(c.Logger, asynclog.ExitFlush)
	if err := c.callWitness(); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	defer c.Witness.Close()
	r := &runner{
		config: c, locker: l, work: work,
		news: make(chan news), slots: make(chan struct{}, roleCalls), quit: make(chan struct{}),
		terms: map[string]*tenure{}, warm: map[string]*warmup{}, cold: make(coldness, len(c.Roles)), standings: map[string]lock.Standing{},
		journal: newJournal(c),
	}
	r.machine = newMachine(rulesOf(c, rand.Text()), c.Roles)
	r.machine.session.sick = c.Healthy != nil
	r.renew(1)
	return r.run(ctx)
}

// A runner performs what the machine decides. Its fields belong to run's
// goroutine alone; what calls and works report comes as events.
type runner struct {
	config  Config
	locker  lock.Locker
	work    Work
	machine *machine
	journal journal

	calls context.Context // every call to the store derives from it
	slots chan struct{}   // for calls about one role: a thousand at once would keep a beat from coming through
	news  chan news
	quit  chan struct{}
	group sync.WaitGroup

	exiting  sync.Once
	checking atomic.Bool // a health check has not returned

	number    int          // of the registration that session and lease belong to
	session   lock.Session // nil until registered
	lease     *lease
	watching  bool
	terms     map[string]*tenure
	warm      map[string]*warmup
	cold      coldness   // written by askReady
	bidden    []lock.Bid // what was said of the bids last
	untold    int        // how many more acknowledged beats are to say it
	standings map[string]lock.Standing
	err       error // what Run returns
	why       error // of the last failed call that could be reported
}

// A tenure is one term's work.
type tenure struct {
	cancel   context.CancelCauseFunc
	returned chan struct{}
	over     atomic.Bool // the work returned, or the store names another term
}

func (r *runner) run(ctx context.Context) error {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.calls = calls
	defer r.group.Wait()
	defer close(r.quit)
	defer cancel()
	if r.config.Healthy != nil {
		r.group.Go(r.check)
	}
	if r.config.Ready != nil {
		r.askReady()
		r.group.Go(r.keepAsking)
	}
	for _, b := range r.config.Roles {
		r.warmUp(b.Role)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tick time.Time // wanted by the machine; the roles that an event did not concern want theirs as before
	done := ctx.Done()
	for !r.machine.over() {
		var n news
		select {
		case n = <-r.news:
			r.take(n)
		case <-timer.C:
		case <-done:
			done, n.kind = nil, stop
		}
		at, now := time.Now(), r.config.Now()
		if !r.checking.Load() {
			r.config.Witness.Pulse()
		}
		actions, roles := r.machine.step(now, n.event)
		r.publish()
		r.warmAgain(n)
		for _, a := range actions {
			r.do(a)
		}
		r.journal.note(now, r.machine, roles, r.standings, r.why)
		if next := at.Add(r.machine.next(now, roles...)); len(roles) == len(r.config.Roles) || next.Before(tick) {
			tick = next
		}
		timer.Reset(min(time.Until(tick), r.journal.next(now), r.pulseEvery()))
	}
	return r.err
}

// renew begins the lease of a new registration.
func (r *runner) renew(number int) {
	r.number, r.session, r.lease = number, nil, newLease(r.config)
}

// publish lets those who do not ask the loop see what it knows.
func (r *runner) publish() {
	s := r.machine.session
	if s.number != r.number {
		r.renew(s.number)
	}
	if old := r.lease.sent.Load(); s.sent != (Instant{}) && (old == nil || *old != s.sent) {
		r.lease.sent.Store(&s.sent)
		r.config.Witness.Deadline(s.sent.plus(r.config.TTL - r.config.Skew))
	}
	if s.lostAt != (Instant{}) {
		r.lease.lose(s.lostAt)
	}
}

// news is an event with what the machine need not know of it.
type news struct {
	event
	session lock.Session
	err     error
}

// post hands news to the loop, and drops them when the loop has ended.
func (r *runner) post(n news) {
	select {
	case r.news <- n:
	case <-r.quit:
	}
}

// kindNames are how the log names what returned.
var kindNames = map[kind]string{
	registered: "register", beaten: "beat", checked: "health check", closed: "close", evicted: "evict", acquired: "acquire", released: "release",
	handed: "handoff",
}

// take keeps what the machine need not know.
func (r *runner) take(n news) {
	switch n.kind {
	case stood:
		r.standings[n.role] = n.standing
	case registered:
		if n.err != nil {
			r.whyNot(n.err)
		} else if n.number == r.number {
			r.session, r.why = n.session, nil
			r.watch()
		}
	case beaten:
		if n.outcome == ok && n.number == r.number {
			r.untold = max(r.untold-1, 0)
		}
	case closed:
		if n.outcome == ok && n.number == r.number {
			r.config.Witness.Session("")
		}
	case returned:
		close(r.terms[n.role].returned)
		delete(r.terms, n.role)
	}
	switch {
	case n.err == nil || n.outcome != unknown && n.outcome != permanent:
	case n.kind == returned:
		r.config.Logger.Warn("work failed", "role", n.role, "id", r.config.ID, "error", n.err)
	default:
		r.config.Logger.Debug("call failed", "id", r.config.ID, "call", kindNames[n.kind], "role", n.role, "error", n.err)
	}
}

// do performs one action. None of them blocks.
func (r *runner) do(a action) {
	switch a.do {
	case register:
		r.register(a)
	case startWork:
		r.start(a)
	case cancelWork:
		t := r.terms[a.role]
		t.over.Store(errors.Is(a.cause, ErrSuperseded) || t.over.Load())
		t.cancel(a.cause)
	case exit:
		r.exit()
	case fail:
		r.fail(a)
	default:
		r.call(a)
	}
}

// roleCalls is how many calls about single roles may be open at once.
const roleCalls = 32

// call makes one call to the store and reports how it went.
func (r *runner) call(a action) {
	session, e := r.session, event{role: a.role, number: a.number, session: a.session, at: r.config.Now()}
	var make func(ctx context.Context) error
	switch a.do {
	case beat:
		bids := r.rebid()
		e.kind, make = beaten, func(ctx context.Context) error { return session.Beat(ctx, bids...) }
	case closeSession:
		e.kind, make = closed, session.Close
	case evict:
		why := lock.End{By: r.config.ID, Why: "silent for its promise"}
		e.kind, make = evicted, func(ctx context.Context) error { return r.locker.Evict(ctx, a.session, a.beat, why) }
	case acquire:
		e.kind, make = acquired, func(ctx context.Context) (err error) { e.token, err = session.TryAcquire(ctx, a.role); return err }
	case release:
		e.kind, make = released, func(ctx context.Context) error { return session.Release(ctx, a.role, a.token) }
	case handoff:
		e.kind, make = handed, func(ctx context.Context) error { return session.Handoff(ctx, a.role, a.token, a.session) }
	}
	r.group.Go(func() {
		if a.role != "" {
			r.slots <- struct{}{}
			defer func() { <-r.slots }()
		}
		ctx, cancel := context.WithTimeout(r.calls, r.config.Try())
		defer cancel()
		err := make(ctx)
		e.outcome = outcomeOf(err)
		r.post(news{event: e, err: err})
	})
}

// registration is how many tries' time a registration has. It is up to four trips to the
// store, no deadline waits for it, and one that is given up too early leaves a session
// behind that has our ID until it is evicted.
const registration = 4

func (r *runner) register(a action) {
	c := lock.Contender{ID: r.config.ID, Address: r.config.Address, Labels: r.config.Labels, Session: r.machine.id(a.number)}
	r.config.Witness.Session(c.Session)
	if c.Witness = r.config.witnessed(); !c.Witness && !r.config.Outlives {
		c.Process = thisProcess()
	}
	p := lock.Promise{TTL: r.config.TTL, Skew: r.config.Skew}
	r.bidden, r.untold = r.bids(), 0
	bids := r.bidden
	r.group.Go(func() {
		ctx, cancel := context.WithTimeout(r.calls, registration*r.config.Try())
		defer cancel()
		session, err := r.locker.Register(ctx, c, p, bids...)
		e := event{kind: registered, number: a.number, at: r.config.Now(), outcome: outcomeOf(err)}
		var other *lock.HeldError
		if errors.As(err, &other) {
			e.holder, e.dead = other.Holder, provedDead(other.Holder.Process)
		}
		r.post(news{event: e, session: session, err: err})
	})
}

// watch follows the roles, once, from the first registration on: what the store
// shows before may be older than this process.
func (r *runner) watch() {
	if r.watching {
		return
	}
	r.watching = true
	var names []string
	for _, b := range r.config.Roles {
		names = append(names, b.Role)
	}
	r.group.Go(func() {
		for r.calls.Err() == nil {
			for st, err := range r.locker.Watch(r.calls, names...) {
				if err != nil { // it goes on by itself, and sooner than one that is begun anew
					r.rest()
					continue
				}
				r.post(news{event: event{kind: stood, role: st.Role, at: r.config.Now(), standing: st}})
			}
			r.rest()
		}
	})
}

// rest keeps a watch that fails from asking without a pause.
func (r *runner) rest() {
	select {
	case <-r.calls.Done():
	case <-time.After(r.machine.retry):
	}
}

// start begins the work of a term, with a guard beside it that needs no loop.
func (r *runner) start(a action) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.calls))
	t := &tenure{cancel: cancel, returned: make(chan struct{})}
	r.terms[a.role] = t
	lease := r.lease
	term := Term{Role: a.role, Token: a.token, lease: lease, tenure: t}
	ctx = context.WithValue(ctx, termKey{}, term)
	warm := r.warm[a.role]
	r.config.Witness.Working(1)
	r.group.Go(func() { lease.guard(t.returned, cancel, r.exit) })
	r.group.Go(func() {
		err := warm.end(r.config.Grace)
		if err == nil {
			err = r.work(ctx, term)
		}
		t.over.Store(true)
		r.config.Witness.Working(-1)
		e := event{kind: returned, role: a.role, number: a.number, outcome: outcomeOf(err)}
		switch {
		case ctx.Err() != nil:
			e.outcome = cancelled
		case err != nil:
			e.outcome = unknown
		}
		cancel(nil)
		r.post(news{event: e, err: err})
	})
}

// exit ends the process because work outlived its time. Nothing stands before
// it that could block.
func (r *runner) exit() {
	r.exiting.Do(func() {
		switch {
		case r.config.NoExit:
		case r.config.Exit != nil:
			r.config.Exit()
		default:
			os.Exit(ExitCode)
		}
	})
}

// fail notes why Run gives up.
func (r *runner) fail(a action) {
	r.err = r.why
	if a.role != "" {
		t := r.standings[a.role].Term
		r.err = &lock.HeldError{Name: a.role, Holder: t.Holder, Token: t.Token}
	}
}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return ok
	case errors.Is(err, lock.ErrHeld):
		return held
	case errors.Is(err, lock.ErrLost):
		return lost
	case errors.Is(err, lock.ErrMoved):
		return moved
	case errors.Is(err, lock.ErrGone):
		return gone
	case errors.Is(err, lock.ErrPermanent):
		return permanent
	}
	return unknown
}
