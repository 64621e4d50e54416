package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// sentences are the causes in words.
var sentences = map[string]string{
	lock.CauseFirst:     "nobody had the role before",
	lock.CauseReleased:  "it gave the role back, and has not said why",
	lock.CauseStopped:   "its process was told to stop",
	lock.CauseDone:      "its work is done for good",
	lock.CauseFailed:    "its work failed",
	lock.CauseUnused:    "it gave the role back before its work began",
	lock.CauseAsked:     "an operator asked for a handoff",
	lock.CauseDrained:   "an operator drained it",
	lock.CausePaused:    "an operator paused the role and had its work stopped",
	lock.CauseUnhealthy: "its health check failed",
	lock.CauseStalled:   "its work made no progress",
	lock.CauseCrashed:   "its process crashed or was killed, and its witness ended its session",
	lock.CauseHung:      "it hung, and its witness killed it",
	lock.CauseFenced:    "a fence command said that its host is dead",
	lock.CauseEvicted:   "an operator evicted it",
	lock.CauseSilent:    "it was silent for its whole promise: lost or cut off, which cannot be told apart",
	lock.CauseDeadline:  "its beats had no answer until its promise ran out: it was cut off from the store, or the store was away",
	lock.CauseLost:      "its session was ended by another, or its record was deleted from the store",
}

// sentence is a cause with its details.
func sentence(cause, detail string) string {
	text, known := sentences[cause]
	if !known {
		text = firstOf(cause, "why is not known")
	}
	if cause == lock.CauseStalled { // its detail begins with the same words
		detail = strings.TrimPrefix(strings.TrimPrefix(detail, coordinator.ErrStalled.Error()), ": ")
	}
	if detail != "" {
		text += " (" + detail + ")"
	}
	return text
}

// eventText is a term's beginning or end as a line.
func eventText(e lock.Event) string {
	if e.Kind == lock.Ended {
		return endingText(e)
	}
	return beginningText(e)
}

// endingText is an ended event as a line.
func endingText(e lock.Event) string {
	text := "lost the role or gave it up: " + sentence(e.Cause, e.Detail)
	if work := took(&e, lock.PartWork); work > 0 {
		text += fmt.Sprintf("; its work had run for %s", short(work))
	}
	drain, release, told := took(&e, lock.PartDrain), took(&e, lock.PartRelease), has(&e, lock.PartRelease)
	switch {
	case !told: // by an older program
		return text + fmt.Sprintf("; stopping it and giving the role up took %s", short(drain))
	case release > slowGrant && has(&e, lock.PartOutage):
		return text + fmt.Sprintf("; its work ended in %s; the store did not answer, so the role was given back only %s after that", short(drain), short(release))
	}
	return text + fmt.Sprintf("; its work ended in %s, and giving the role back took %s", short(drain), short(release))
}

// beginningText is a began event as a line.
func beginningText(e lock.Event) string {
	var parts []string
	for _, p := range e.Parts {
		said, known := map[string]string{
			lock.PartSilent: "the former active had been silent for %s",
			lock.PartFence:  "the fence command took %s",
			lock.PartNotice: "asked for the role %s after it was seen to be free",
			lock.PartGrant:  "was granted it in %s",
			lock.PartStart:  "began its work %s later",
			lock.PartOutage: "and the store had not answered it for %s",
		}[p.Name]
		switch {
		case !known:
			said = p.Name + " %s"
		case p.Name == lock.PartFence && e.Cause == lock.CauseSilent:
			said = "no fence command succeeded in the %s until the promise was over"
		}
		parts = append(parts, fmt.Sprintf(said, short(p.Took)))
	}
	text := fmt.Sprintf("active with token %d", e.Token)
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	return text
}

// whyNobody is what keeps the role from being taken; "" where it is only that the store takes no write.
func (m *move) whyNobody() string {
	var fit, not []string
	dead := false
	for _, one := range m.Line {
		switch text := unfit(one); {
		case !one.Competes():
			not = append(not, one.ID+" is "+text)
		case m.lapsed(one) != "":
			not = append(not, fmt.Sprintf("%s is silent (%s)", one.ID, m.lapsed(one)))
			dead = true
		case one.Session == m.Term.Holder.Session && m.Term.Vacant():
			not = append(not, one.ID+" has just given the role up")
		case text != "":
			fit = append(fit, fmt.Sprintf("%s, which is %s,", one.ID, text))
		default:
			fit = append(fit, one.ID)
		}
	}
	switch p := m.Pause; {
	case !p.IsZero():
		text := "The role is paused by " + p.By
		if p.Why != "" {
			text += " (" + p.Why + ")"
		}
		if p.Until.IsZero() {
			return text + " until it is resumed, so nobody takes over."
		}
		return text + " until " + p.Until.Local().Format(stamp) + ", and nobody takes over before."
	case m.unwritable != "":
		return ""
	case len(m.Line) == 0:
		return "Nobody stands by: start a contender."
	case len(fit) == 0 && dead:
		return "Nobody takes over: " + strings.Join(not, "; ") + ". Start a contender."
	case len(fit) == 0:
		return "Nobody may take over: " + strings.Join(not, "; ") + "."
	}
	return fmt.Sprintf("%s stands by, the first of %d: it takes over next, unless its health check fails, its last try failed, or the store was put back to an earlier state; its log says so.", fit[0], len(fit))
}

// noWitness says what a witness would have changed.
func noWitness(id string) string {
	return id + " had no witness: with one (--witness, on Linux) a crash costs milliseconds, and without it the ttl"
}

// Limits from which a part of a move is worth a hint.
const (
	slowDrain = time.Second
	slowStart = time.Second
	slowGrant = 500 * time.Millisecond
)

// hint says what would have made the last move faster, or avoided it.
func (m *move) hint(s *story, cause string) {
	add := func(format string, args ...any) { s.Faster = append(s.Faster, fmt.Sprintf(format, args...)) }
	p := m.Term.Holder.Promise
	fenced := took(m.began, lock.PartFence)
	if silent := took(m.began, lock.PartSilent) + fenced; m.began.Cause == lock.CauseSilent {
		away := m.storeAway()
		if cause == lock.CauseSilent && !away { // otherwise it lives, or its witness could not say that it does not
			s.Faster = append(s.Faster, witnessed(m.began))
		}
		if fenced > 0 {
			add("a fence command that succeeds ends the wait at once: the log of who ran it says why it did not")
		}
		switch {
		case away:
		case history.Says(m.began.Detail, history.CameLater):
			add("nobody stood by who could have seen that %s was silent", m.began.From)
		default:
			s.Faster = append(s.Faster, shorterTTL(silent, p.TTL)...)
		}
	}
	// Who was away for longer than a promise may have been so because the store still was.
	if without, _ := m.without(); cause == lock.CauseDeadline && m.ended != nil && without <= p.TTL {
		s.Faster = append(s.Faster, outlasting(m.ended, p.TTL)...)
	}
	if e := m.ended; e != nil && has(e, lock.PartRelease) {
		if d := took(e, lock.PartDrain); d > slowDrain {
			add("the work of %s took %s to stop, with its --on-standby hook, if it has one: have the command end sooner when it is told to, or shorten --stop-timeout, and have the hook end sooner", e.By, short(d))
		}
		if d := took(e, lock.PartRelease); d > slowGrant && !has(e, lock.PartOutage) {
			add("the store took %s to take the role back from %s", short(d), e.By)
		}
	}
	if d := took(m.began, lock.PartNotice); d > max(p.TTL/4, slowGrant) && m.began.Previous != 0 {
		add("%s waited for %s before it asked: %s", s.Active, short(d), m.whyWaited())
	}
	if d := took(m.began, lock.PartGrant); d > slowGrant {
		add("the store took %s to grant the role", short(d))
	}
	if d := took(m.began, lock.PartStart); d > slowStart {
		add("%s took %s from the grant to its work", s.Active, short(d))
	}
	switch {
	case m.needed:
		add("the group has no majority without %s, which is active now: after a crash nobody is active until it is back; have three voters", s.Active)
	case !m.Term.Holder.Witness:
		add("%s, which is active now, has no witness: its crash will cost %s", s.Active, p.TTL)
	}
}

// whyWaited is why the successor did not ask for the role at once, as far as that is recorded.
func (m *move) whyWaited() string {
	by, outage := history.PausedBy(m.began.Detail), took(m.began, lock.PartOutage)
	switch {
	case by != "":
		return "the role was paused by " + by
	case history.Says(m.began.Detail, history.RolledBack):
		return history.RolledBack + ", until its floor was raised or it gave greater tokens"
	case outage > 0:
		return fmt.Sprintf("the store did not answer it for %s", short(outage))
	case m.ended != nil && m.ended.By == m.began.By && has(m.ended, lock.PartOutage):
		return fmt.Sprintf("the store had not answered it for %s before", short(took(m.ended, lock.PartOutage)))
	}
	return "why is not recorded, and its log says it: it was not ready, not healthy, drained, held down after a failure, or not the first in line, the role was paused, or the store was slow or had been put back"
}

// shorterTTL says what half the ttl would have changed about a silence. One that is much longer than the ttl was an
// outage of the store, and one that is much shorter had begun before the successor looked: then it changes nothing.
func shorterTTL(silent, ttl time.Duration) []string {
	if silent < ttl/2 || silent > ttl*3/2 || ttl/2 < coordinator.MinTTL {
		return nil
	}
	return []string{fmt.Sprintf("the silence of %s is the ttl (%s) and how long others take to be sure; a ttl of %s would halve it, and outlasts an outage of the store of %s instead of %s",
		short(silent), ttl, ttl/2, short(outlasts(ttl/2)), short(outlasts(ttl)))}
}

// outlasting says what would have kept the role with an active whose beats had no answer: room on its disk, where it was
// that which took nothing, or twice the ttl. The ttl changes nothing if the outage was longer, or nobody knows how long it was.
// It may have begun a beat before the first call without an answer.
func outlasting(ended *lock.Event, ttl time.Duration) []string {
	if strings.Contains(ended.Detail, theDiskOf) {
		return []string{fmt.Sprintf("the disk of %s took nothing: give its --raft-dir room, and keep others from filling it", ended.By)}
	}
	outage := took(ended, lock.PartOutage)
	if outage == 0 || outage+(coordinator.Config{TTL: ttl}).BeatEvery() > outlasts(2*ttl) || 2*ttl > coordinator.MaxTTL {
		return nil
	}
	return []string{fmt.Sprintf("the store did not answer %s for %s: a ttl of %s outlasts an outage of %s, this one %s",
		ended.By, short(outage), 2*ttl, short(outlasts(2*ttl)), short(outlasts(ttl)))}
}

// theDiskOf stands in what a node of embedded Raft says where its disk takes nothing.
const theDiskOf = "the disk of "

// outlasts is the longest outage of the store that changes nothing with a ttl.
func outlasts(ttl time.Duration) time.Duration {
	return coordinator.Config{TTL: ttl}.Defaults().Outage()
}

// witnessed says what a witness has changed, or would have, for a former active that was silent.
func witnessed(began *lock.Event) string {
	switch {
	case history.Says(began.Detail, history.HadWitness):
		text := began.From + " had a witness, which could not end its session: the whole host was lost, frozen or cut off"
		if !has(began, lock.PartFence) { // otherwise it is said why that did not help
			text += "; a fence command (--fence) that succeeds ends the wait for such a host at once"
		}
		return text
	case history.Says(began.Detail, history.NoWitness):
		return noWitness(began.From)
	}
	return "whether " + began.From + " had a witness is not recorded: with one (--witness, on Linux) a crash costs milliseconds, and without it the ttl"
}
