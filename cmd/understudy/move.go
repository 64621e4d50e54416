package main

import (
	"slices"
	"time"

	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// A move is what the store has about the last one.
type move struct {
	heard
	began  *lock.Event // of the current or the last term; nil: not written
	ended  *lock.Event // of the term before it, by its owner; nil: not written
	last   *lock.Event // the end of the last term, if nobody is active
	outage *lock.Event // the last one in the current term

	unwritable string // why the store takes no write, in words; empty: that is not known
	needed     bool   // the store has no majority without the active's node, so no witness helps
}

// causeOf is why the term before this one ended. The store says how it ended there; the former
// active's own event says why, if it could write one.
func causeOf(began, ended *lock.Event) (cause, detail string) {
	cause, detail = began.Cause, began.Detail
	if ended == nil {
		return cause, detail
	}
	switch {
	case cause == lock.CauseReleased && ended.Cause != "", cause == lock.CauseAsked && detail == "":
		return ended.Cause, ended.Detail
	case cause == lock.CauseSilent && (ended.Cause == lock.CauseDeadline || ended.Cause == lock.CauseLost):
		return ended.Cause, ended.Detail // it lives, and reports what it saw
	}
	return cause, detail
}

// What a time that nobody saw whole is.
const (
	noMore = "at most "
	noLess = "at least "
)

// without is for how long nobody was active, from the end of the old work to the beginning of the new one, and whether
// that is the most or the least that it can have been. The time from a crash until it was seen is not known.
func (m *move) without() (gap time.Duration, bound string) {
	gap = m.seen()
	given := m.began.Cause == lock.CauseReleased || m.began.Cause == lock.CauseAsked
	later := history.Says(m.began.Detail, history.CameLater)
	switch silent := has(m.began, lock.PartSilent); {
	case m.began.Cause == lock.CauseEvicted && (m.ended == nil || m.dated() < 0): // it may have lived, or did
		return 0, ""
	case later, m.unseen():
		bound = noLess
	case silent: // the work may have gone on until the promise was over, and what was seen of it was late where the store was away
		if bound = noMore; !m.heldOutage() {
			gap += took(m.began, lock.PartOutage)
		}
	}
	e := m.ended
	if e == nil {
		return gap, bound
	}
	told, dated := has(e, lock.PartRelease), m.dated()
	switch {
	case told && e.By == m.began.By && dated >= 0, told && bound == noMore && dated >= 0 && dated <= gap, told && later && dated >= gap:
		return dated, ""
	case later:
		return gap, noLess
	case given && told: // the successor saw the role free from then on
		return gap + took(e, lock.PartRelease), ""
	case given: // by an older program: the work may have ended at any time until then
		return gap + took(e, lock.PartDrain), noMore
	}
	return gap, bound
}

// dated is for how long nobody was active by the clocks of both, if the former active has said when its work ended.
func (m *move) dated() time.Duration {
	return m.began.At.Sub(m.ended.At) + took(m.ended, lock.PartRelease)
}

// unseen reports whether the former active died while the successor had no answer from the store: then the store learned
// of it only afterward.
func (m *move) unseen() bool {
	return (m.began.Cause == lock.CauseCrashed || m.began.Cause == lock.CauseHung) && took(m.began, lock.PartOutage) > m.seen()
}

// seen is how long all parts took that the successor recorded, without the outage, which fell into them or came before.
func (m *move) seen() (sum time.Duration) {
	for _, p := range m.began.Parts {
		if p.Name != lock.PartOutage {
			sum += p.Took
		}
	}
	return sum
}

// storeAway reports whether the store did not answer the successor either, for much of the time in which the former active was
// silent. A Raft group that elects another leader, because the silent one led it, answers sooner.
func (m *move) storeAway() bool {
	return 2*took(m.began, lock.PartOutage) > took(m.began, lock.PartSilent)+took(m.began, lock.PartFence)
}

// heldOutage reports whether the store's outage lies in the silence. One that came before it leaves a silence of about a
// promise, as that begins with the first answer; whose promise it was is not recorded, so the longest that is known counts.
func (m *move) heldOutage() bool {
	promise := m.Term.Holder.TTL + m.Term.Holder.Skew
	for _, one := range m.Line {
		promise = max(promise, one.TTL+one.Skew)
	}
	silent := took(m.began, lock.PartSilent) + took(m.began, lock.PartFence)
	return promise > 0 && silent > promise*3/2 && silent >= took(m.began, lock.PartOutage)
}

// took is how long a part of an event took; 0 if that is not recorded.
func took(e *lock.Event, name string) time.Duration {
	for _, p := range e.Parts {
		if p.Name == name {
			return p.Took
		}
	}
	return 0
}

// has reports whether an event has a part.
func has(e *lock.Event, name string) bool {
	return slices.ContainsFunc(e.Parts, func(p lock.Part) bool { return p.Name == name })
}
