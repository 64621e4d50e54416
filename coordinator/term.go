package coordinator

import (
	"context"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// A Term is one tenure of a role, as its work sees it. The zero Term is not valid.
type Term struct {
	Role  string
	Token lock.Token // pass it to everything that the work writes to

	lease  *lease
	tenure *tenure
}

// TermOf returns the term of the work that ctx was made for. Every context derived from the
// work's has it, so that code deep in a call that writes finds the token. false: ctx does not
// derive from a work's.
func TermOf(ctx context.Context) (Term, bool) {
	t, ok := ctx.Value(termKey{}).(Term)
	return t, ok
}

type termKey struct{}

// Valid reports whether the work may still act at this moment: the promise still holds on the
// clocks as they are read now, and the term has not been ended. It needs no goroutine to have
// run, and is false after any pause that outlived the promise. It does not replace the token: a
// process may be paused between this check and its effect.
func (t Term) Valid() bool { return t.Left() > 0 }

// Progress says that the work makes progress: see Config.Watchdog. It does not block, costs a
// reading of the clock, and may be called by many goroutines at once.
func (t Term) Progress() {
	if t.tenure != nil && t.lease.config.Watchdog > 0 {
		t.tenure.progress.Store(int64(t.lease.config.Now().Mono))
	}
}

// Left returns how long the work may still act, by the promise alone: by then the process must
// have stopped it. It is zero or less when that time is over.
func (t Term) Left() time.Duration {
	if t.tenure == nil || t.tenure.over.Load() {
		return 0
	}
	return t.lease.left()
}

// A stall is how the work of a role stalled.
type stall struct {
	at     Instant
	tenure *tenure
}

// stallFor is how long a process that lost a role because its work stalled is in line behind all
// others, unless it has made progress in a later term.
const stallFor = time.Minute

// hasFailed reports whether a role's work keeps failing here, so that it is held down for longer than a beat, which is how
// soon others see it; or stalled so recently.
func (r *runner) hasFailed(role string) bool {
	if r.config.Now().Until(r.machine.Role(role).HeldTo) > r.config.BeatEvery() {
		return true
	}
	s := r.stalled[role]
	if s == nil {
		return false
	}
	later := r.terms[role]
	if r.config.Now().Most(s.at) > stallFor || later != nil && later != s.tenure && later.advanced.Load() {
		delete(r.stalled, role)
		return false
	}
	return true
}

// tellHeld has the bids written when a role begins to be held down for longer than a beat, and when that is over: the next
// beat of a process that stands by is far off.
func (r *runner) tellHeld(n news) {
	e, ok := n.event.(machine.Returned)
	if !ok {
		return
	}
	left := r.config.Now().Until(r.machine.Role(e.Role).HeldTo) - r.config.BeatEvery()
	if left <= 0 {
		return
	}
	for _, in := range []time.Duration{0, left + time.Millisecond} {
		time.AfterFunc(in, func() { r.post(news{event: machine.Rebid{}}) })
	}
}

// watchProgress starts the watchdog of a term that begins now.
func (r *runner) watchProgress(ctx context.Context, t Term) {
	if r.config.Watchdog > 0 {
		t.Progress()
		r.group.Go(func() { r.awaitStall(ctx, t) })
	}
}

// awaitStall reports the work of a term when it has made no progress for the watchdog's time. It
// counts only time in which this process ran: not while it was stopped or had no processor.
func (r *runner) awaitStall(ctx context.Context, t Term) {
	limit := r.config.Watchdog
	for seen, silent := t.tenure.progress.Load(), time.Duration(0); ctx.Err() == nil; {
		before := r.config.Now().Mono
		wait := min(limit/8, limit-silent)
		pause(ctx, wait)
		now := r.config.Now().Mono
		switch last := t.tenure.progress.Load(); {
		case now-before > 2*wait+minWatchdog/4: // we did not run, and neither did the work
		case last != seen:
			seen, silent = last, min(now-time.Duration(last), wait)
			t.tenure.advanced.Store(true)
			continue
		default:
			silent += wait
		}
		if silent >= limit {
			r.post(news{event: machine.Stalled{Role: t.Role, Token: t.Token}})
			return
		}
	}
}
