package machine

import (
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// A view is the store's last answer about a role.
type view struct {
	known    bool // there was one
	holder   lock.SessionID
	held     lock.Token // the holder's token
	vacant   bool
	vanished bool       // its record is gone or unreadable, though it had one
	identity string     // of the store that answered
	since    Instant    // when we saw that the role is vacant, and not paused any more
	rank     int        // of this process in line: see rank
	alone    bool       // nobody else is in line
	floor    lock.Token // every later token is greater
	seen     lock.Token // the greatest token of any term
	seenBy   lock.SessionID
	request  lock.SessionID // to which an operator asked us to hand our term
	paused   string         // by whom and why: nobody competes; empty: not paused
	halted   bool           // paused, and the active must stop, too
	drained  string         // by whom: this contender may have no role; empty: not drained
}

// look records a standing.
func (v view) look(st lock.Standing, me lock.SessionID, ours lock.Token, now Instant) view {
	t, was, paused := st.Term, v.vacant, v.paused != ""
	adopted := v.identity != "" && st.Store != v.identity // an operator's word that nobody works with the old store any more
	v.vanished = t.Token == 0 && v.held != 0 && !adopted
	v.identity = st.Store
	if !v.vanished {
		v.holder, v.held, v.vacant, v.floor = t.Holder.Session, t.Token, t.Vacant(), st.Floor
	}
	if v.vacant && (!was || !v.known || paused && st.Pause.IsZero()) {
		v.since = now
	}
	if t.Token > v.seen {
		v.seen, v.seenBy = t.Token, t.Holder.Session
	}
	v.known, v.alone, v.request, v.rank = true, true, "", rank(st, me)
	v.paused, v.halted = "", st.Pause.Stop
	if p := st.Pause; !p.IsZero() {
		v.paused = strings.TrimSuffix("paused by "+p.By+": "+p.Why, ": ")
	}
	if t.Holder.Session == me {
		v = v.decided(t.Holder)
	}
	for _, m := range st.Line {
		if m.Session == me {
			v = v.decided(m)
		}
		v.alone = v.alone && m.Session == me
		if v.paused == "" && m.Session == st.Request.To && st.Request.Answered && st.Request.Token == ours && m.Session != me {
			v.request = m.Session
		}
	}
	return v
}

// decided records what an operator has set for us, as the store shows it. If it does not show us,
// as just after a registration, what was set for our contender still holds.
func (v view) decided(me lock.Member) view {
	v.drained = ""
	if me.Settings.Drained {
		v.drained = "drained by " + me.Settings.By
	}
	return v
}

// rank is a session's place in line; until the store shows it there, the last. The role's last
// holder is passed over: it may have released the role because it stops, and then its session
// stays in line until its end is written.
func rank(st lock.Standing, id lock.SessionID) int {
	line := slices.DeleteFunc(slices.Clone(st.Line), func(m lock.Member) bool { return m.Session == st.Term.Holder.Session })
	if i := slices.IndexFunc(line, func(m lock.Member) bool { return m.Session == id }); i >= 0 {
		return i
	}
	return len(line)
}

// forgot reports whether the store names an earlier term than before: it was rolled back, or
// another one was adopted in its place.
func (v view) forgot() bool { return !v.vanished && v.held < v.seen }

// rolledBack reports whether the store forgot a token that it had given, and does not promise a
// greater one. Nobody who saw that token then tries to take the role.
func (v view) rolledBack() bool { return v.forgot() && v.floor < v.seen }

// heldBy is the session that holds the role, according to the store; "": none.
func (v view) heldBy() lock.SessionID {
	if v.vacant {
		return ""
	}
	return v.holder
}
