// Package history has what those who write a role's history and those who read it agree on: in
// which words a session's end is written in the store, and which cause they mean.
package history

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/lock"
)

// The words in which a session's end says why.
const (
	Closed  = "closed"                           // by its own process
	Silent  = "silent for its promise"           // by another contender
	Dead    = "its process is dead"              // by its witness, or by another contender that has proof
	Killed  = Dead + ": the witness killed it: " // by its witness; what follows says why
	Evicted = "evicted by understudy evict"      // by an operator
	Fenced  = "its fence command succeeded"      // by the contender that ran it
)

// The words in which the event that a term began says more of a former active that was silent. They
// are parts of its detail, with "; " between them. Older programs write none of them.
const (
	HadWitness = "it had a witness"
	NoWitness  = "it had no witness"
)

// RolledBack is the part of a detail that says why nobody took the role.
const RolledBack = "the store had been put back to an earlier state"

// OtherStore is the part of a detail that says that the store has no record of the former active.
const OtherStore = "the store has no record of it: it was set up anew, and adopted"

// CameLater is the part of a detail that says that the role was free already, or its holder silent, when who took it first
// looked: what it saw begins there.
const CameLater = "its successor was not there yet"

// paused begins the part of the detail that says who had paused the role while nobody was active.
const paused = "the role was paused by "

// Paused is the part of a detail that says who had paused the role while nobody was active. by: empty if nobody had.
func Paused(by string) string {
	if by == "" {
		return ""
	}
	return paused + by
}

// PausedBy is who had paused the role while nobody was active, as a detail says. Empty: nobody, or it does not say.
func PausedBy(detail string) string {
	for part := range strings.SplitSeq(detail, "; ") {
		if by, ok := strings.CutPrefix(part, paused); ok {
			return by
		}
	}
	return ""
}

// Joined are the parts of a detail that are not empty.
func Joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "; ")
}

// Says reports whether a detail has a part.
func Says(detail, part string) bool { return slices.Contains(strings.Split(detail, "; "), part) }

// CauseOf is why a term ended, as the store's record of it says, and what more there is to say.
// "": it stands. Where the record says both that its owner gave it back and that the session was
// ended by another, that end came first, as its owner goes on to give back what it had; but the
// dead give nothing back.
func CauseOf(t lock.Term) (cause, detail string) {
	end := t.End
	switch {
	case t.Token == 0:
		return lock.CauseFirst, ""
	case end == lock.End{} && t.Over == "":
		return "", ""
	case end == lock.End{}, end.Why == Closed, t.Over != "" && strings.HasPrefix(end.Why, Dead):
		return lock.CauseReleased, ""
	case end.Why == Silent:
		return lock.CauseSilent, "seen by " + end.By
	case strings.HasPrefix(end.Why, Killed):
		return lock.CauseHung, strings.TrimPrefix(end.Why, Killed)
	case strings.HasPrefix(end.Why, Dead):
		return lock.CauseCrashed, "seen by " + end.By
	case end.Why == Fenced:
		return lock.CauseFenced, "by " + end.By
	case end.Why == Evicted:
		return lock.CauseEvicted, "by " + end.By
	}
	return lock.CauseLost, "ended by " + end.By + ": " + end.Why
}

// A Done ends a run because the work of the role that it names is done for good.
type Done string

// Error says which work is done.
func (d Done) Error() string { return "the work of role " + string(d) + " is done" }

// CauseOfStop is why a role's term ended with its run, which ended for why, without an error.
func CauseOfStop(role string, why error) string {
	if errors.Is(why, Done(role)) {
		return lock.CauseDone
	}
	return lock.CauseStopped
}

// Text is a text as an event's detail may be: printable, and not too long.
func Text(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const more = "..."
	if len(text) <= lock.MaxText {
		return text
	}
	text = text[:lock.MaxText-len(more)]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + more
}

// A Row is an event as people's tools get it, in JSON. Its names are stable.
type Row struct {
	At       time.Time `json:"at"` // by the clock of By
	By       string    `json:"by"`
	Kind     string    `json:"kind"`
	Token    uint64    `json:"token"`
	From     string    `json:"from,omitempty"`
	Previous uint64    `json:"previous,omitempty"`
	Cause    string    `json:"cause,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	Parts    []Part    `json:"parts,omitempty"`
}

// A Part is what took how long.
type Part struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Rows are events in the order of their terms: who writes first, of two, is chance.
func Rows(events []lock.Event) []Row {
	rows := []Row{}
	for _, e := range Sorted(events) {
		r := Row{
			At: e.At, By: e.By, Kind: e.Kind, Token: uint64(e.Token), From: e.From, Previous: uint64(e.Previous),
			Cause: e.Cause, Detail: e.Detail,
		}
		for _, p := range e.Parts {
			r.Parts = append(r.Parts, Part{p.Name, p.Took.Seconds()})
		}
		rows = append(rows, r)
	}
	return rows
}

// Sorted are events in the order of their terms. Only an owner that could not give its role back at once, and so learned
// late that its term was over, comes where its clock says: another may have begun since its work ended. Other events of two
// contenders are not ordered by time, as their clocks differ.
func Sorted(events []lock.Event) []lock.Event {
	kinds := []string{lock.Began, lock.Outage, lock.Ended}
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b lock.Event) int {
		return cmp.Or(cmp.Compare(a.Token, b.Token), cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)))
	})
	for i := len(events) - 2; i >= 0; i-- {
		for j := i; j+1 < len(events) && meanwhile(events[j], events[j+1]); j++ {
			events[j], events[j+1] = events[j+1], events[j]
		}
	}
	return events
}

// meanwhile reports whether the next event was while the end of an earlier term was being given up.
func meanwhile(end, next lock.Event) bool {
	i := slices.IndexFunc(end.Parts, func(p lock.Part) bool { return p.Name == lock.PartRelease })
	if end.Kind != lock.Ended || i < 0 || next.By == end.By {
		return false
	}
	return next.At.Before(end.At) && !next.At.Before(end.At.Add(-end.Parts[i].Took))
}
