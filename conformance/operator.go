package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// operatorCases are what a store must do if its Locker is a lock.Operator.
var operatorCases = []kase{
	row("PauseAcquire", pauseAcquire,
		"until it is resumed nobody acquires it, and no handoff of it is made or asked for.", isFar, needs(Operator)),
	row("PauseHolder", pauseHolder,
		"The active stays active, and a pending request is withdrawn.", isFar, needs(Operator)),
	row("PauseHandoff", pauseHandoff,
		"until it is resumed nobody acquires it, and no handoff of it is made or asked for.", isFar, needs(Operator)),
	row("PauseRace", pauseRace,
		"Every TryAcquire and Handoff checks that in the transaction in which it writes, so one that began before the pause fails too.", needs(Operator)),
	row("PauseLate", pauseLate,
		"Every TryAcquire and Handoff checks that in the transaction in which it writes, so one that began before the pause fails too.", needs(Operator, CutReplies, CutRequests)),
	row("PauseSeen", pauseSeen,
		"The zero Pause resumes; any other one replaces the current one.", isFar, needs(Operator)),
	row("PauseResumed", pauseResumed,
		"nil: it is over, no matter who ended it. ErrMoved: another one is in force, and nothing was changed.", isFar, needs(Operator)),
	row("PauseOutlasts", pauseOutlasts,
		"A pause outlasts every session and every restart.", needs(Operator)),
	row("PauseRestart", pauseRestart,
		"A pause outlasts every session and every restart.", needs(Operator, Restart)),
	row("SettingsSeen", settingsSeen,
		"It holds for all its sessions, future ones too, whether or not there is one now.", isFar, needs(Operator)),
	row("SettingsRank", settingsRank,
		"A set priority does not make an unready member ready.", needs(Operator)),
	row("SettingsReplaced", settingsReplaced,
		"What s does not set is no longer set.", needs(Operator)),
	row("EventsKept", eventsKept,
		"in the order of recording, the oldest first.", needs(Operator)),
	row("EventsBounded", eventsBounded,
		"The latest are kept: at most MaxHistory events, and MaxHistorySize bytes of text.", needs(Operator)),
	row("EventsTogether", eventsTogether,
		"It includes everything that anybody had recorded before it began.", isFar, needs(Operator)),
	row("EventsQuiet", eventsQuiet,
		"It changes no standing.", needs(Operator)),
	row("FenceOnce", fenceOnce,
		"At most one such intent is written for each beat of a session, whatever roles the session holds.", isFar, needs(Operator)),
	row("FenceVoid", fenceVoid,
		"An intent is void, and no standing shows it, once the session has another beat, or has ended.", isFar, needs(Operator)),
	row("FenceTerm", fenceTerm,
		"ErrMoved: another contender's stands for that beat, another beat was there, or the term is over.", needs(Operator)),
	row("FenceLate", fenceLate,
		"ErrMoved: another contender's stands for that beat, another beat was there, or the term is over.", needs(Operator, CutReplies, CutRequests)),
	row("FenceHarmless", fenceHarmless,
		"It ends nothing by itself.", needs(Operator)),
	row("DecisionsRefused", decisionsRefused,
		"Bad input is ErrPermanent, and nothing is written.", needs(Operator)),
	row("DecisionsContextDone", decisionsContextDone,
		"Every call obeys its context as a Locker's does, may be repeated, and needs no session.", needs(Operator)),
	row("DecisionsContextObeyed", decisionsContextObeyed,
		"Every call obeys its context as a Locker's does, may be repeated, and needs no session.", needs(Operator, Cut)),
}

// operator is the client's lock.Operator.
func (t *trial) operator(c *Client) lock.Operator {
	op, ok := c.Locker.(lock.Operator)
	if !ok {
		t.fatalf("a %T does not implement lock.Operator", c.Locker)
	}
	return op
}

// when is a moment by the clock of an operator.
var when = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.FixedZone("elsewhere", 7200))

func pauseFor(why string) lock.Pause {
	return lock.Pause{By: "an operator", Why: why, At: when, Until: when.Add(time.Hour), Stop: true}
}

func (t *trial) pauseRole(l *Client, role string, p lock.Pause) {
	op := t.operator(l)
	t.must("pause "+role, func(ctx context.Context) error { return op.Pause(ctx, role, p) })
}

func (t *trial) resume(l *Client, role string) { t.pauseRole(l, role, lock.Pause{}) }

// isPaused reports whether a standing shows a pause.
func isPaused(p lock.Pause) func(lock.Standing) bool {
	return func(st lock.Standing) bool {
		return st.Pause.By == p.By && st.Pause.Why == p.Why && st.Pause.Stop == p.Stop && st.Pause.At.Equal(p.At) && st.Pause.Until.Equal(p.Until)
	}
}

// waits expects that a pause keeps a session from a role.
func (t *trial) waits(s lock.Session, role string) {
	var token lock.Token
	err := t.known("acquire "+role, func(ctx context.Context) (err error) { token, err = s.TryAcquire(ctx, role); return err })
	if !errors.Is(err, lock.ErrMoved) || token != 0 {
		t.errorf("acquire %s, which is paused: token %d and %s, want ErrMoved", role, token, outcome(err))
	}
}

func pauseAcquire(t *trial) {
	role, never := t.named("r"), t.named("never held")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role, never), t.join(far, "b", role, never)
	t.follow(near, role, never) // a Locker that watches may already know the role
	first := t.acquire(a, role)
	t.release(a, role, first)
	t.pauseRole(far, role, pauseFor("to see who waits"))
	t.pauseRole(far, never, pauseFor("to see who waits"))
	for range 3 {
		for _, s := range []lock.Session{a, b} {
			t.waits(s, role)
			t.waits(s, never)
		}
	}
	if st := t.look(far, role); st.Term.Token != first || !vacant(st) {
		t.errorf("in a pause the term %d has become %+v", first, st.Term)
	}
	if st := t.look(far, never); st.Term.Token != 0 {
		t.errorf("in a pause a term began: %+v", st.Term)
	}
	t.resume(near, role)
	if next := t.acquire(b, role); next <= first {
		t.errorf("token %d after %d", next, first)
	}
	t.waits(a, never) // another role's pause is still in force
}

func pauseHolder(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	wish := lock.Request{Token: token, To: b.ID(), By: "an operator"}
	t.must("ask", func(ctx context.Context) error { return far.Ask(ctx, role, wish) })
	t.await(near, role, "the wish", func(st lock.Standing) bool { return st.Request == wish })
	t.pauseRole(far, role, pauseFor("to see who stays"))
	if st := t.look(far, role); !holds(token)(st) || st.Request != (lock.Request{}) {
		t.errorf("in a pause the term %d, of which something was asked, is %+v with the request %+v", token, st.Term, st.Request)
	}
	t.beat(a)
	if again := t.acquire(a, role); again != token {
		t.errorf("the holder's token was %d and is %d in a pause", token, again)
	}
	t.expect(t.refused(b, role), lock.ErrHeld, "acquire what is paused and held")
	t.release(a, role, token)
	t.waits(a, role)
	t.waits(b, role)
	t.resume(far, role)
	if next := t.acquire(b, role); next <= token {
		t.errorf("token %d after %d", next, token)
	}
	t.pauseRole(near, role, pauseFor("once more"))
	t.evict(near, role, b.ID())
	t.waits(a, role)
	t.resume(near, role)
	t.acquire(a, role)
}

func pauseHandoff(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	token := t.acquire(a, role)
	hand := func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) }
	t.pauseRole(far, role, pauseFor("to see what is refused"))
	t.want(lock.ErrGone, "hand off in a pause", hand)
	t.want(lock.ErrMoved, "ask in a pause", func(ctx context.Context) error {
		return far.Ask(ctx, role, lock.Request{Token: token, To: b.ID()})
	})
	if st := t.look(far, role); !holds(token)(st) || st.Request != (lock.Request{}) {
		t.errorf("in a pause the term %d has become %+v with the request %+v", token, st.Term, st.Request)
	}
	if again := t.acquire(a, role); again != token {
		t.errorf("the holder's token was %d and is %d after a handoff was refused", token, again)
	}
	t.resume(far, role)
	t.must("hand off", hand)
	next := t.acquire(b, role)
	t.pauseRole(far, role, pauseFor("once more"))
	t.must("hand off once more, what was handed off before the pause", hand)
	if again := t.acquire(b, role); again != next {
		t.errorf("the successor's token was %d and is %d", next, again)
	}
}

// pauseRace runs a pause beside acquisitions: once it is acknowledged no term begins.
func pauseRace(t *trial) {
	role := t.named("r")
	op := t.open()
	var sessions []lock.Session
	for i := range 3 {
		l := t.open()
		t.follow(l, role) // it may acquire what it saw, without reading again
		sessions = append(sessions, t.join(l, fmt.Sprint(i), role))
	}
	for range 10 {
		var paused lock.Standing
		t.together(len(sessions)+1, func(i int) {
			if i == len(sessions) {
				t.pauseRole(op, role, pauseFor("a race"))
				paused = t.look(op, role)
				return
			}
			for range 10 {
				if token, err := sessions[i].TryAcquire(t.ctx, role); err == nil {
					_ = sessions[i].Release(t.ctx, role, token) // settled below
				}
			}
		})
		st := t.look(op, role)
		if st.Term.Token != paused.Term.Token {
			t.fatalf("after a pause was acknowledged in term %d term %d began", paused.Term.Token, st.Term.Token)
		}
		for _, s := range sessions {
			if !vacant(st) && st.Term.Holder.Session == s.ID() { // its own release was lost
				t.release(s, role, st.Term.Token)
			}
		}
		for _, s := range sessions {
			t.waits(s, role)
		}
		t.resume(op, role)
		t.settle(sessions[0], role)
	}
}

// pauseLate lets an acquisition, and a handoff, arrive after a pause that they do not know of.
func pauseLate(t *trial) {
	for _, split := range []bool{false, true} {
		role, held := t.named(fmt.Sprint("r ", split)), t.named(fmt.Sprint("held ", split))
		near, far := t.open(), t.open()
		a, b := t.join(near, fmt.Sprint("a ", split), role, held), t.join(far, fmt.Sprint("b ", split), role, held)
		holding := t.acquire(a, held)
		for what, call := range map[string]func(ctx context.Context) error{
			role: func(ctx context.Context) error { _, err := a.TryAcquire(ctx, role); return err },
			held: func(ctx context.Context) error { return a.Handoff(ctx, held, holding, b.ID()) },
		} {
			var paused lock.Term
			err := t.delayed(near, split, call, func() {
				t.pauseRole(far, what, pauseFor("a late call"))
				paused = t.look(far, what).Term
			})
			if isKnown(err) && err != nil && !errors.Is(err, lock.ErrMoved) && !errors.Is(err, lock.ErrGone) {
				t.errorf("a call for %s that arrives in a pause: %v", what, err)
			}
			t.beat(a) // by then the calls in flight have arrived
			if st := t.look(far, what); st.Term.Token != paused.Token || !isPaused(pauseFor("a late call"))(st) {
				t.errorf("a call for %s that arrived in a pause of term %d began the term %+v", what, paused.Token, st.Term)
			}
		}
	}
}
