package kv

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A picture is everything under the prefix, as of one revision, with the changes that were
// followed since. It is never modified.
type picture struct {
	keys     keys
	view     View              // as it was read
	state    map[string]uint64 // the revision of each key under state/
	roles    map[string]roleRecord
	bad      map[string]error // roles whose record is not readable
	wishes   map[string]lock.Request
	pauses   map[string]lock.Pause
	settings map[string]lock.Settings // by the contender's ID
	sessions map[lock.SessionID]sessionRecord
	ends     map[lock.SessionID]lock.End
	fences   map[lock.SessionID]lock.Fence // by the session that is silent
	floor    floorRecord
	store    string // its identity
}

func newPicture(k keys, v View) *picture {
	p := &picture{
		keys: k, view: v, state: map[string]uint64{},
		roles: map[string]roleRecord{}, bad: map[string]error{}, wishes: map[string]lock.Request{},
		pauses: map[string]lock.Pause{}, settings: map[string]lock.Settings{},
		sessions: map[lock.SessionID]sessionRecord{}, ends: map[lock.SessionID]lock.End{},
		fences: map[lock.SessionID]lock.Fence{},
	}
	for _, r := range v.Records {
		p.add(r)
	}
	return p
}

// record is a record as it was read; an empty one if there was none.
func (p *picture) record(key string) Record {
	if p == nil {
		return Record{Key: key}
	}
	return p.view.Get(key)
}

// add takes in one record. Foreign records are ignored, except a role's.
func (p *picture) add(r Record) {
	if p.keys.inState(r.Key) {
		p.state[r.Key] = r.Revision
	}
	switch r.Key {
	case p.keys.floor():
		if f, err := decodeFloor(r); err == nil {
			p.floor = f
		}
		return
	case p.keys.identity():
		if i, err := decodeIdentity(r); err == nil {
			p.store = i.Identity
		}
		return
	}
	switch kind, name := p.keys.kind(r.Key); kind {
	case "state/role":
		delete(p.roles, name)
		delete(p.bad, name)
		if role, err := decodeRole(r); err != nil {
			p.bad[name] = err
		} else {
			p.roles[name] = role
		}
	case "state/wish":
		delete(p.wishes, name)
		if w, err := decode[wishRecord](r); err == nil {
			p.wishes[name] = w.Request
		}
	case "state/pause":
		delete(p.pauses, name)
		if pause := decodePause(r); !pause.IsZero() {
			p.pauses[name] = pause
		}
	case "state/contender":
		delete(p.settings, name)
		if s, _ := decode[settingsRecord](r); !s.Settings.IsZero() { // what is unreadable sets nothing
			p.settings[name] = s.Settings
		}
	case "state/end":
		p.ends[lock.SessionID(name)] = decodeEnd(r)
	case "state/fence":
		delete(p.fences, lock.SessionID(name))
		if f, err := decode[fenceRecord](r); err == nil {
			p.fences[lock.SessionID(name)] = f.Fence
		}
	case "line/session":
		p.sessions[lock.SessionID(name)] = decodeSession(lock.SessionID(name), r)
	}
}

// apply returns the picture with a change that was followed: p itself if it had that already, and
// nil if everything must be read again. What was read may be newer than the change, because they
// arrive separately.
func (p *picture) apply(r Record) *picture {
	kind, name := p.keys.kind(r.Key)
	id, revision := lock.SessionID(name), p.revision(r.Key)
	if i, _ := decodeIdentity(r); r.Key == p.keys.identity() && i.Identity != p.store {
		return nil // it may be another store, whose revisions say nothing
	}
	switch {
	case r.Revision != 0 && (r.Revision <= p.view.Revision || r.Revision <= revision), r.Revision == 0 && revision == 0:
		return p
	case r.Gone != 0 && (r.Gone <= p.view.Revision || r.Gone <= revision):
		return p
	case r.Revision == 0 && (r.Gone == 0 || kind != "line/session"): // it went at an unknown time, or somebody deleted it
		return nil
	case kind == "line/session" && revision == 0: // it was gone, and is back
		return nil
	case r.Key == p.keys.identity(): // it was adopted
		return nil
	}
	next := *p
	if kind == "line/session" {
		next.sessions = maps.Clone(p.sessions)
		if delete(next.sessions, id); r.Revision != 0 {
			next.add(r)
		}
		return &next
	}
	next.state, next.roles, next.bad = maps.Clone(p.state), maps.Clone(p.roles), maps.Clone(p.bad)
	next.wishes, next.ends = maps.Clone(p.wishes), maps.Clone(p.ends)
	next.pauses, next.settings, next.fences = maps.Clone(p.pauses), maps.Clone(p.settings), maps.Clone(p.fences)
	next.add(r)
	switch kind {
	case "state/wish":
		if to := next.wishes[name].To; to != "" && p.sessions[to].revision == 0 {
			return nil // nobody can act on a request for a session that is not in line
		}
	case "state/end": // the same step took the session's record
		next.sessions = maps.Clone(p.sessions)
		delete(next.sessions, id)
	case "state/role":
		role := next.roles[name]
		if _, known := p.sessions[role.Holder.Session]; role.held() && !known {
			return nil // one that came after the line was read: not seen is not absent
		}
	}
	return &next
}

// applyAll returns the picture with the changes of one step, all or none of them, and the roles
// whose standing may differ; nil if everything must be read again. absent: a session's record was
// deleted; its end may explain that, but arrives separately. Nobody acts on an absence before a
// ttl has passed.
func (p *picture) applyAll(changes []Record) (next *picture, touched map[string]bool, absent bool) {
	next, touched = p, map[string]bool{}
	for _, r := range changes {
		after := next.apply(r)
		if kind, _ := p.keys.kind(r.Key); after == nil && kind == "line/session" && r.Revision == 0 {
			absent = true
			continue
		}
		if after == nil {
			return nil, nil, absent
		}
		if after != next {
			maps.Copy(touched, next.touched(r, after))
		}
		next = after
	}
	return next, touched, absent
}

// revision is the revision of a key under state/, or of a session; 0: it is missing.
func (p *picture) revision(key string) uint64 {
	if kind, name := p.keys.kind(key); kind == "line/session" {
		return p.sessions[lock.SessionID(name)].revision
	}
	return p.state[key]
}

// followed are the keys to follow: those that everybody must hear of, and the beats of each
// holder.
func (p *picture) followed() []string {
	keys := map[string]bool{p.keys.state(): true}
	for _, r := range p.roles {
		if r.held() {
			keys[p.keys.session(r.Holder.Session)] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// missed reports whether p lacks a change to a followed key that a later picture has.
func (p *picture) missed(later *picture) bool {
	if !maps.Equal(p.state, later.state) {
		return true
	}
	for _, r := range p.roles {
		if id := r.Holder.Session; r.held() && p.sessions[id].revision != later.sessions[id].revision {
			return true
		}
	}
	return false
}

// shortest is the shortest ttl that anybody promised; 0 if there are no sessions.
func (p *picture) shortest() time.Duration {
	var least duration
	see := func(d duration) {
		if d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	for _, s := range p.sessions {
		see(s.Promise.TTL)
	}
	for _, r := range p.roles {
		if r.held() {
			see(r.Promise.TTL)
		}
	}
	return time.Duration(least)
}

// names returns the name of every role that has a record or a bid, or is paused.
func (p *picture) names() map[string]bool {
	names := map[string]bool{}
	for name := range p.roles {
		names[name] = true
	}
	for name := range p.bad {
		names[name] = true
	}
	for name := range p.pauses {
		names[name] = true
	}
	for _, s := range p.sessions {
		for name := range s.priorities {
			names[name] = true
		}
	}
	return names
}

// touched returns the name of every role whose standing may be different in next, the result of
// the change r.
func (p *picture) touched(r Record, next *picture) map[string]bool {
	kind, name := p.keys.kind(r.Key)
	switch kind {
	case "state/role", "state/wish", "state/pause":
		return map[string]bool{name: true}
	case "state/end", "state/fence", "line/session":
		names, id := map[string]bool{}, lock.SessionID(name)
		for _, at := range []*picture{p, next} {
			for name := range at.sessions[id].priorities {
				names[name] = true
			}
			for name, role := range at.roles {
				if role.Holder.Session == id {
					names[name] = true
				}
			}
		}
		return names
	}
	return next.names()
}

// standing says how a role stands.
func (p *picture) standing(role string) lock.Standing {
	r := p.roles[role]
	st := lock.Standing{Role: role, Term: p.term(r), Pause: p.pauses[role], Store: p.store}
	st.Term.Holder = p.settings[r.Holder.ID].Apply(st.Term.Holder, role)
	st.Floor = max(st.Term.Token, p.floor.Floor)
	if r.revision == 0 { // the first token is greater than the revision at which the role had none
		st.Floor = max(st.Floor, lock.Token(p.view.Revision+p.floor.Offset))
	}
	if w := p.wishes[role]; r.held() && w.Token == st.Term.Token {
		st.Request = w
	}
	if f := p.fences[r.Holder.Session]; !st.Term.Vacant() && f.Beat == st.Term.Holder.Beat {
		st.Fence = f
	}
	created := map[lock.SessionID]uint64{}
	for id, s := range p.sessions {
		if _, bids := s.priorities[role]; bids && (st.Term.Vacant() || id != r.Holder.Session) {
			st.Line, created[id] = append(st.Line, p.settings[s.Contender.ID].Apply(s.member(role), role)), s.created()
		}
	}
	slices.SortFunc(st.Line, func(a, b lock.Member) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(created[a.Session], created[b.Session]))
	})
	return st
}

// term is a role's term with the state of its holder's session.
func (p *picture) term(r roleRecord) lock.Term {
	t := lock.Term{Token: r.token(), Holder: r.holder(), Since: r.Since, Over: r.Over, End: r.End}
	if end, ended := p.ends[r.Holder.Session]; ended {
		t.End = end
	}
	s := p.sessions[r.Holder.Session]
	t.Holder.Beat, t.Holder.BeatAt = lock.Beat(s.revision), s.At
	if s.Promise.TTL > 0 {
		t.Holder.Promise = s.Promise.lock()
	}
	return t
}
