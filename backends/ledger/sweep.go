package ledger

import (
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// Sweep drops the oldest ends, and of each role the oldest events, until about so many bytes of
// each kind are left. It is for a Store that writes the whole ledger with every command, where a
// list that grows makes every beat dearer. The latest end and the latest event of a role stay.
func (l *Ledger) Sweep(ends, events int) {
	size := 0
	for i, id := range slices.Backward(l.Swept) {
		if end := l.Ended[id]; i < len(l.Swept)-1 && size+endSize(id, end) > ends {
			for _, id := range l.Swept[:i+1] {
				delete(l.Ended, id)
			}
			l.Swept = slices.Clone(l.Swept[i+1:])
			break
		}
		size += endSize(id, l.Ended[id])
	}
	for role, all := range l.History {
		each, size := events/len(l.History), 0
		for i, e := range slices.Backward(all) {
			if size += eventSize(e); size > each && i < len(all)-1 {
				l.History[role] = slices.Clone(all[i+1:])
				break
			}
		}
	}
}

// What stands around the text of an end and of an event, in JSON, about.
const (
	aroundEnd   = 40
	aroundEvent = 120
	aroundPart  = 30
)

// endSize is with the ID that stands in Swept, too.
func endSize(id lock.SessionID, e lock.End) int {
	return 2*len(id) + len(e.By) + len(e.Why) + aroundEnd
}

func eventSize(e lock.Event) int {
	n := aroundEvent + len(e.By) + len(e.Kind) + len(e.From) + len(e.Cause) + len(e.Detail)
	for _, p := range e.Parts {
		n += len(p.Name) + aroundPart
	}
	return n
}

// Renew goes on at a revision as if every session had beaten just then. It is for a Store that may
// have lost beats which it had acknowledged: silence is counted from the beginning again.
func (l *Ledger) Renew(revision uint64) {
	l.Revision = revision
	for id, s := range l.Sessions {
		s.Beat = lock.Beat(revision)
		l.Sessions[id] = s
	}
}
