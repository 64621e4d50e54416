package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// roleCalls is how many calls about single roles may be open at once.
const roleCalls = 32

// call makes one call to the store and reports how it went.
func (r *runner) call(a action) {
	session, e := r.session, event{role: a.role, number: a.number, session: a.session, at: r.config.Now()}
	budget := r.budget(a.do)
	var make func(ctx context.Context) error
	switch a.do {
	case beat:
		bids := r.rebid()
		e.kind, make = beaten, func(ctx context.Context) error { return session.Beat(ctx, bids...) }
	case closeSession:
		e.kind, make = closed, r.closing(session, a)
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
		ctx, cancel := context.WithTimeout(r.calls, budget)
		defer cancel()
		err := make(ctx)
		e.outcome = outcomeOf(err)
		r.post(news{event: e, err: err})
	})
}

// trips is how many round trips to the store a call may take: it reads before it writes,
// and again where somebody else was faster. A beat is one, or it would say nothing about
// the time at which it was sent.
var trips = map[verb]time.Duration{beat: 1, acquire: 3, release: 3, handoff: 3, evict: 4, closeSession: 4}

// registration is how many tries' time a registration has. It is up to five trips to the
// store, and one to connect: it reads, reads who has its ID, grants a lease, commits, and is
// told why where that was refused. No deadline waits for it, and one that is given up too
// early leaves a session behind that has our ID until it is evicted.
const registration = 6

// budget is how long a call may take: one try, and for each further trip twice what one
// takes of late, up to another try; all of it where nothing is known yet. So what works on a
// near store works on a far one, and on a near one a call that hangs is soon made anew.
func (r *runner) budget(v verb) time.Duration {
	try, slow := r.config.Try(), r.machine.session.slow
	if slow == 0 {
		slow = try
	}
	return try + (trips[v]-1)*min(max(2*slow, try/4), try)
}

// closing is the call that ends a session; of one of which only the registration was
// sent, by its ID.
func (r *runner) closing(s lock.Session, a action) func(context.Context) error {
	if s != nil {
		return s.Close
	}
	id, why := r.machine.id(a.number), lock.End{By: r.config.ID, Why: "closed"}
	return func(ctx context.Context) error { return r.locker.Evict(ctx, id, lock.AnyBeat, why) }
}

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
		defer context.AfterFunc(r.stop, cancel)()
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
			unread := map[string]bool{} // roles whose record was told to be unreadable, and nothing since
			for st, err := range r.locker.Watch(r.calls, names...) {
				if r.calls.Err() != nil {
					return
				}
				e := event{kind: stood, role: st.Role, at: r.config.Now(), standing: st, outcome: outcomeOf(err)}
				if err == nil {
					delete(unread, st.Role)
					r.post(news{event: e})
					continue
				}
				e.kind, e.standing = unseen, lock.Standing{}
				r.post(news{event: e, err: err})
				if e.outcome == permanent && st.Role == "" {
					pause(r.calls, r.config.BeatEvery())
					break // begun anew it says how the roles stand, also where they stand as before
				}
				if e.outcome == permanent && !unread[st.Role] { // one role's record: the others go on
					unread[st.Role] = true
					continue
				}
				pause(r.calls, r.machine.retry)
			}
			pause(r.calls, r.machine.retry) // a watch that ended is begun anew
		}
	})
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
