// Package ledger is the contract of package lock as data: sessions, ends and roles, and what each
// call does to them, one command at a time. It has no clock, no goroutine and no store around it.
// Package memory keeps a ledger behind a mutex, package raft behind a replicated log.
//
// If you write a backend for another store, you find here, in order, what each of its
// transactions must compare and write.
package ledger

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// Ends is how many ends a ledger keeps. A session whose end was swept is absent again, and may be
// evicted for its silence.
const Ends = 1024

// A Ledger is the whole state. Every command is applied at a revision of its own, greater than
// the last.
type Ledger struct {
	Identity string     `json:",omitempty"` // drawn once, by the first write
	Adopted  []string   `json:",omitempty"` // the identities that this ledger also answers to, the latest last
	Revision uint64     // of the last command
	Offset   uint64     // tokens are revisions plus this; only ever raised
	Floor    lock.Token // set by Raise: every future token is greater
	Sessions map[lock.SessionID]Session
	Claims   map[string]lock.SessionID // which session a contender's ID belongs to
	Roles    map[string]Role
	Ended    map[lock.SessionID]lock.End
	Swept    []lock.SessionID              // the keys of Ended, oldest first
	Paused   map[string]lock.Pause         `json:",omitempty"` // by role
	Settings map[string]lock.Settings      `json:",omitempty"` // by the contender's ID
	History  map[string][]lock.Event       `json:",omitempty"` // by role
	Fences   map[lock.SessionID]lock.Fence `json:",omitempty"` // by the session that is silent
	Values   map[string][]byte             `json:",omitempty"` // see lock.Values
	Size     int                           `json:",omitempty"` // of Values, in bytes
	Written  uint64                        `json:",omitempty"` // the revision of the last Write

	Conditions bool `json:",omitempty"` // a Write had conditions: who shares this ledger knows them, and that MaxValues bytes are kept
}

// A Session is a session's record.
type Session struct {
	Contender lock.Contender
	Promise   lock.Promise
	Bids      []lock.Bid
	Created   uint64 // the revision of its registration
	Beat      lock.Beat
	At        time.Time `json:",omitzero"` // of that beat, by its owner's clock
}

// A Role is a role's record. During a term only a request is written beside it.
type Role struct {
	Term     lock.Term
	Previous lock.Token // the term before, for a handoff that is repeated
	Request  lock.Request
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		Sessions: map[lock.SessionID]Session{},
		Claims:   map[string]lock.SessionID{},
		Roles:    map[string]Role{},
		Ended:    map[lock.SessionID]lock.End{},
	}
}

// Apply applies one command at revision, which must exceed every earlier one. It is
// deterministic: equal ledgers and equal commands stay equal. It checks everything that a command
// may hold, whether or not the proposer did: see Command.Check.
func (l *Ledger) Apply(revision uint64, c Command) Result {
	l.Revision = revision
	var r Result
	if err := c.Check(); err != nil {
		r = Result{Code: Permanent, Why: err.Error()}
	} else if c.Identity != "" && !l.Is(c.Identity) {
		r = Result{Code: OtherStore, Seen: c.Identity}
	} else {
		if l.Identity == "" {
			l.Identity = c.Name
		}
		r = l.do(c)
	}
	r.Identity = l.Identity
	return r
}

func (l *Ledger) do(c Command) Result {
	switch c.Op {
	case Register:
		return l.register(c)
	case Beat:
		return l.beat(c)
	case Acquire:
		return l.acquire(c)
	case Release:
		return l.release(c)
	case Handoff:
		return l.handoff(c)
	case Close:
		return l.close(c)
	case Evict:
		return l.evict(c)
	case Ask:
		return l.ask(c)
	case Raise:
		return l.raise(c)
	case Write:
		return l.write(c)
	case Read:
		return l.read(c)
	case Adopt:
		return l.adopt(c)
	case Pause:
		return l.pause(c)
	case Resume:
		return l.resume(c)
	case Configure:
		return l.configure(c)
	case Configured:
		return l.configured()
	case Record:
		return l.record(c)
	case History:
		return l.history(c)
	case Fence:
		return l.fence(c)
	case Save:
		return l.save()
	case Restore:
		return l.restore(c)
	}
	return Result{} // Begin and Nothing
}

func (l *Ledger) register(c Command) Result {
	id := c.Contender.Session
	if _, ended := l.Ended[id]; ended {
		return l.lost(id)
	}
	if s, ok := l.Sessions[id]; ok { // an earlier try of this registration: beat in the same step
		s.Beat, s.At = lock.Beat(l.Revision), c.At
		l.Sessions[id] = s
		return Result{}
	}
	if other, ok := l.Claims[c.Contender.ID]; ok {
		s := l.Sessions[other]
		return Result{Code: Held, Held: &lock.HeldError{Name: c.Contender.ID, Holder: s.member("")}}
	}
	l.Claims[c.Contender.ID] = id
	l.Sessions[id] = Session{
		Contender: c.Contender, Promise: c.Promise, Bids: c.Bids,
		Created: l.Revision, Beat: lock.Beat(l.Revision), At: c.At,
	}
	return Result{Changed: true}
}

// lost is the answer to a session that is gone, with who ended it.
func (l *Ledger) lost(id lock.SessionID) Result {
	r := Result{Code: Lost}
	if end, ok := l.Ended[id]; ok {
		r.Why = fmt.Sprintf("it was ended by %q: %s", end.By, end.Why)
	}
	return r
}

func (l *Ledger) beat(c Command) Result {
	s, ok := l.Sessions[c.Session]
	if !ok {
		return l.lost(c.Session)
	}
	s.Beat, s.At = lock.Beat(l.Revision), c.At
	if len(c.Bids) > 0 {
		s.Bids = c.Bids
	}
	l.Sessions[c.Session] = s
	return Result{Changed: len(c.Bids) > 0}
}

func (l *Ledger) acquire(c Command) Result {
	s, ok := l.Sessions[c.Session]
	if !ok {
		return l.lost(c.Session)
	}
	r := l.Roles[c.Role]
	switch {
	case r.Term.Holder.Session == c.Session && r.Term.Over == "": // granted before
		return Result{Token: r.Term.Token}
	case r.Term.Token != c.Token:
		return Result{Code: Moved}
	case !l.term(r).Vacant():
		return Result{Code: Held, Held: &lock.HeldError{Name: c.Role, Holder: r.Term.Holder, Token: r.Term.Token}}
	case l.isPaused(c.Role):
		return Result{Code: Moved, Why: l.whyPaused(c.Role)}
	}
	return l.begin(c, s, r.Term.Token)
}

func (l *Ledger) release(c Command) Result {
	r := l.Roles[c.Role]
	switch {
	case r.Term.Token != c.Token || r.Term.Over != "":
		return Result{}
	case r.Term.Holder.Session != c.Session && l.term(r).Vacant():
		return Result{}
	case r.Term.Holder.Session != c.Session:
		return Result{Code: Held, Held: &lock.HeldError{Name: c.Role, Holder: r.Term.Holder, Token: r.Term.Token}}
	}
	r.Term.Over, r.Request = "released", lock.Request{}
	l.Roles[c.Role] = r
	return Result{Changed: true}
}

func (l *Ledger) handoff(c Command) Result {
	r := l.Roles[c.Role]
	if r.Previous == c.Token && r.Term.Holder.Session == c.To && c.Token != 0 { // an earlier try of this handoff
		return Result{}
	}
	if r.Term.Token != c.Token || r.Term.Holder.Session != c.Session || l.term(r).Vacant() {
		return Result{Code: Moved}
	}
	if _, ok := l.Sessions[c.Session]; !ok {
		return l.lost(c.Session)
	}
	s, ok := l.Sessions[c.To]
	switch {
	case !ok:
		return Result{Code: Gone}
	case l.isPaused(c.Role):
		return Result{Code: Gone, Why: l.whyPaused(c.Role)}
	}
	return l.begin(c, s, c.Token)
}

// begin begins a term of s. Previous names the term that a handoff ended.
func (l *Ledger) begin(c Command, s Session, last lock.Token) Result {
	if l.Offset > uint64(lock.MaxFloor) || l.Revision > uint64(lock.MaxFloor) { // the sum would wrap around
		return Result{Code: Permanent, Why: fmt.Sprintf("no tokens are left: revision %d, offset %d", l.Revision, l.Offset)}
	}
	t := lock.Term{Token: lock.Token(l.Revision + l.Offset), Holder: s.member(c.Role), Since: c.At}
	r := Role{Term: t}
	if c.Op == Handoff {
		r.Previous = last
	}
	l.Roles[c.Role] = r
	return Result{Token: t.Token, Changed: true}
}

func (l *Ledger) close(c Command) Result {
	for name, r := range l.Roles {
		if r.Term.Holder.Session == c.Session {
			r.Term.Over, r.Request = "released", lock.Request{}
			l.Roles[name] = r
		}
	}
	if _, ended := l.Ended[c.Session]; !ended {
		l.end(c.Session, c.End)
	}
	return Result{Changed: true}
}

func (l *Ledger) evict(c Command) Result {
	if _, ended := l.Ended[c.Session]; ended {
		return Result{}
	}
	if c.Seen != lock.AnyBeat && l.Sessions[c.Session].Beat != c.Seen {
		return Result{Code: Moved}
	}
	l.end(c.Session, c.End)
	return Result{Changed: true}
}

// end deletes a session's record and its claim, and writes its end. It also writes the end into
// the records of the roles that it holds, because only a bounded number of ends is kept.
func (l *Ledger) end(id lock.SessionID, why lock.End) {
	if s, ok := l.Sessions[id]; ok {
		delete(l.Claims, s.Contender.ID)
		delete(l.Sessions, id)
	}
	if delete(l.Fences, id); len(l.Fences) == 0 {
		l.Fences = nil
	}
	for name, r := range l.Roles {
		if r.Term.Holder.Session == id && r.Term.Over == "" {
			r.Term.End = why
			l.Roles[name] = r
		}
	}
	l.Ended[id] = why
	l.Swept = append(l.Swept, id)
	if len(l.Swept) > Ends {
		delete(l.Ended, l.Swept[0])
		l.Swept = l.Swept[1:]
	}
}

func (l *Ledger) ask(c Command) Result {
	r := l.Roles[c.Role]
	if r.Term.Token != c.Request.Token || l.term(r).Vacant() {
		return Result{Code: Moved}
	}
	if l.isPaused(c.Role) {
		return Result{Code: Moved, Why: l.whyPaused(c.Role)}
	}
	if c.Request.Answered && r.Request != c.Request.Unanswered() {
		if r.Request == c.Request {
			return Result{}
		}
		return Result{Code: Moved}
	}
	r.Request = c.Request
	l.Roles[c.Role] = r
	return Result{Changed: true}
}

func (l *Ledger) raise(c Command) Result {
	l.Floor = max(l.Floor, c.Token)
	l.Offset = max(l.Offset, uint64(l.Floor)-min(uint64(l.Floor), l.Revision))
	return Result{Changed: true}
}

// Standing returns the role's standing.
func (l *Ledger) Standing(role string) lock.Standing {
	r := l.Roles[role]
	st := lock.Standing{Role: role, Term: l.term(r), Request: r.Request, Pause: l.Paused[role]}
	st.Term.Holder = l.Settings[st.Term.Holder.ID].Apply(st.Term.Holder, role)
	st.Floor = max(st.Term.Token, l.Floor)
	if st.Term.Token == 0 { // the first token is greater than the ledger's revision
		st.Floor = max(st.Floor, lock.Token(l.Revision+l.Offset))
	}
	if f := l.Fences[st.Term.Holder.Session]; !st.Term.Vacant() && f.Beat == st.Term.Holder.Beat {
		st.Fence = f
	}
	for _, s := range l.Sessions {
		if s.bids(role) && (st.Term.Vacant() || s.Contender.Session != st.Term.Holder.Session) {
			st.Line = append(st.Line, l.Settings[s.Contender.ID].Apply(s.member(role), role))
		}
	}
	slices.SortFunc(st.Line, func(a, b lock.Member) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(l.Sessions[a.Session].Created, l.Sessions[b.Session].Created))
	})
	return st
}

// names returns the name of every role that has a record or a bid, or is paused, sorted.
func (l *Ledger) names() []string {
	names := map[string]bool{}
	for name := range l.Roles {
		names[name] = true
	}
	for name := range l.Paused {
		names[name] = true
	}
	for _, s := range l.Sessions {
		for _, b := range s.Bids {
			names[b.Role] = true
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	return sorted
}

// term is the role's term with the state of its holder's session.
func (l *Ledger) term(r Role) lock.Term {
	t := r.Term
	t.Holder.Beat, t.Holder.BeatAt = lock.Absent, time.Time{}
	if s, ok := l.Sessions[t.Holder.Session]; ok {
		t.Holder.Beat, t.Holder.BeatAt, t.Holder.Promise = s.Beat, s.At, s.Promise
	}
	if end, ended := l.Ended[t.Holder.Session]; ended {
		t.End = end
	}
	return t
}

func (s Session) bids(role string) bool {
	return slices.ContainsFunc(s.Bids, func(b lock.Bid) bool { return b.Role == role })
}

func (s Session) priority(role string) int {
	for _, b := range s.Bids {
		if b.Role == role {
			return b.Priority
		}
	}
	return 0
}

func (s Session) member(role string) lock.Member {
	return lock.Member{Contender: s.Contender, Promise: s.Promise, Priority: s.priority(role), Beat: s.Beat, BeatAt: s.At}
}
