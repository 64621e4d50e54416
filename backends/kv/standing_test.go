package kv

import (
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// applyTo are the keys in TestApply, and in what is built on it.
const applyTo = keys("p/")

// record is that of a session that bids for two roles.
func record(id lock.SessionID, revision uint64) Record {
	c := lock.Contender{ID: string(id), Session: id}
	bids := []lock.Bid{{Role: "r"}, {Role: "other"}}
	return Record{Key: applyTo.session(id), Revision: revision, Value: encode(sessionRecord{header: newHeader(), Contender: c, Promise: promiseOf(lock.Promise{TTL: time.Second}), Bids: bids})}
}

// role is the record of role r.
func role(holder lock.SessionID, revision uint64, over string) Record {
	c := lock.Contender{ID: string(holder), Session: holder}
	return Record{Key: applyTo.role("r"), Revision: revision, Value: encode(roleRecord{header: newHeader(), Holder: c, Over: over, Token: 5})}
}

// wish is what an operator asked of a term of role r.
func wish(revision uint64, token lock.Token, to lock.SessionID) Record {
	return Record{Key: applyTo.wish("r"), Revision: revision, Value: encode(wishRecord{newHeader(), lock.Request{Token: token, To: to}})}
}

// TestApply takes changes into a picture that was read at revision 10, where a holds
// role r since revision 5 and b stands by, both wait for role other, and a holds role
// kept, for which nobody bids. A change may come late, twice, and be older than what was
// read. No standing changes but of the roles that it touched.
func TestApply(t *testing.T) {
	k := applyTo
	end := Record{Key: k.end("a"), Revision: 12, Value: encode(endRecord{newHeader(), lock.End{By: "b", Why: "silent"}})}
	kept := role("a", 6, "")
	kept.Key = k.role("kept")
	p := newPicture(k, View{Revision: 10, Records: []Record{role("a", 5, ""), kept, record("a", 9), record("b", 10), identified("x", 3)}})
	holder := func(id lock.SessionID, beat lock.Beat) func(lock.Standing) bool {
		return func(st lock.Standing) bool {
			return !st.Term.Vacant() && st.Term.Holder.Session == id && st.Term.Holder.Beat == beat
		}
	}
	asked := func(to lock.SessionID) func(lock.Standing) bool {
		return func(st lock.Standing) bool { return st.Request.To == to }
	}
	vacant := func(st lock.Standing) bool { return st.Term.Vacant() && len(st.Line) == 1 && st.Line[0].ID == "b" }
	for _, c := range []struct {
		name    string
		changes []Record
		want    func(lock.Standing) bool // nil: all must be read again
	}{
		{"a beat", []Record{record("a", 11)}, holder("a", 11)},
		{"a beat that was read", []Record{record("a", 8)}, holder("a", 9)},
		{"a beat that another overtook", []Record{record("a", 12), record("a", 11)}, holder("a", 12)},
		{"the holder's record went", []Record{{Key: k.session("a"), Gone: 11}}, holder("a", lock.Absent)},
		{"it had gone before it was read", []Record{{Key: k.session("a"), Gone: 9}}, holder("a", 9)},
		{"it went, nobody knows when", []Record{{Key: k.session("a")}}, nil},
		{"it went and is back", []Record{{Key: k.session("a"), Gone: 11}, record("a", 13)}, nil},
		{"a release", []Record{role("a", 11, "released")}, func(st lock.Standing) bool { return st.Term.Vacant() && st.Term.Token == 5 }},
		{"a release that was read long ago", []Record{role("a", 4, "released")}, holder("a", 9)},
		{"an end", []Record{end}, vacant},
		{"an end, whose session's record is told to be gone before", []Record{{Key: k.session("a"), Gone: 12}, end}, vacant},
		{"an end, whose session's record is told to be gone after", []Record{end, {Key: k.session("a"), Gone: 12}}, vacant},
		{"a floor", []Record{{Key: k.floor(), Revision: 11, Value: encode(floorRecord{header: newHeader(), Floor: 100})}}, func(st lock.Standing) bool { return st.Floor == 100 }},
		{"the standby takes over", []Record{role("b", 11, "")}, holder("b", 10)},
		{"one whom nobody has seen takes over", []Record{role("c", 11, "")}, nil},
		{"the role's record went", []Record{{Key: k.role("r"), Gone: 11}}, nil},
		{"a role's record that was never there went", []Record{{Key: k.role("q"), Gone: 11}}, holder("a", 9)},
		{"a wish", []Record{wish(11, 5, "b")}, asked("b")},
		{"a wish for one whom nobody has seen", []Record{wish(11, 5, "c")}, nil},
		{"a wish that was gone when it was read", []Record{wish(8, 5, "b")}, asked("")},
		{"a wish that is withdrawn", []Record{wish(11, 5, "")}, asked("")},
		{"a wish of another term", []Record{wish(11, 4, "b")}, asked("")},
		{"a wish, and a release", []Record{wish(11, 5, "b"), role("a", 12, "released")}, func(st lock.Standing) bool { return st.Request.To == "" && len(st.Line) == 2 }},
		{"another store, which is younger", []Record{identified("y", 2)}, nil},
		{"its own store is adopted", []Record{identified("x", 11)}, nil},
		{"a foreign value", []Record{{Key: k.role("r"), Revision: 11, Value: []byte("x")}, role("b", 12, "")}, holder("b", 10)},
	} {
		now := p
		for _, r := range c.changes {
			before := now
			if now = now.apply(r); now == nil {
				break
			}
			untouched(t, c.name, before, r, now, "r", "other", "kept")
		}
		switch {
		case now == nil && c.want != nil:
			t.Errorf("%s: everything must be read again", c.name)
		case now != nil && c.want == nil:
			t.Errorf("%s: nothing is read again", c.name)
		case now != nil && !c.want(now.standing("r")):
			t.Errorf("%s: %+v", c.name, now.standing("r"))
		}
	}
	if st := p.standing("r"); !holder("a", 9)(st) || len(st.Line) != 1 {
		t.Errorf("the picture was changed: %+v", st)
	}
}

// TestApplyDecisions is TestApply for what operators decide: b stands by for role r, which nobody
// holds.
func TestApplyDecisions(t *testing.T) {
	k := keys("p/")
	pause := func(role string, revision uint64, by string) Record {
		return Record{Key: k.pause(role), Revision: revision, Value: encode(pauseRecord{newHeader(), lock.Pause{By: by}})}
	}
	set := func(id string, s lock.Settings) Record {
		return Record{Key: k.setting(id), Revision: 11, Value: encode(settingsRecord{newHeader(), s})}
	}
	b := sessionRecord{header: newHeader(), Contender: lock.Contender{ID: "b", Session: "b-1"}, Bids: []lock.Bid{{Role: "r"}}}
	p := newPicture(k, View{Revision: 10, Records: []Record{{Key: k.session("b-1"), Revision: 10, Value: encode(b)}}})
	none := func(st lock.Standing) bool {
		return st.Pause.IsZero() && len(st.Line) == 1 && st.Line[0].Settings.IsZero()
	}
	for what, c := range map[string]struct {
		changes []Record
		want    func(lock.Standing) bool
	}{
		"a pause":                      {[]Record{pause("r", 11, "op")}, func(st lock.Standing) bool { return st.Pause.By == "op" }},
		"a pause that is over":         {[]Record{pause("r", 11, "op"), pause("r", 12, "")}, none},
		"a pause of another role":      {[]Record{pause("other", 11, "op")}, none},
		"a pause that is not readable": {[]Record{{Key: k.pause("r"), Revision: 11, Value: []byte("x")}}, func(st lock.Standing) bool { return !st.Pause.IsZero() }},
		"settings":                     {[]Record{set("b", lock.Settings{By: "op", Drained: true})}, func(st lock.Standing) bool { return st.Line[0].Settings.Drained }},
		"settings of another":          {[]Record{set("c", lock.Settings{By: "op", Drained: true})}, none},
	} {
		now := p
		for _, r := range c.changes {
			before := now
			if now = now.apply(r); now == nil {
				t.Fatalf("%s: everything must be read again", what)
			}
			untouched(t, what, before, r, now, "r", "other")
		}
		if st := now.standing("r"); !c.want(st) || !none(p.standing("r")) {
			t.Errorf("%s: %+v", what, st)
		}
	}
}

// identified is the record of the identity of the store in which TestApply's picture was read.
func identified(identity string, revision uint64) Record {
	return Record{Key: applyTo.identity(), Revision: revision, Value: encode(identityRecord{header: newHeader(), Identity: identity})}
}

// TestApplyWhatIsKnown: what was read already, or followed, makes no other picture.
func TestApplyWhatIsKnown(t *testing.T) {
	k := keys("p/")
	beat := func(revision uint64) Record {
		return Record{Key: k.session("a"), Revision: revision, Value: []byte("x")}
	}
	p := newPicture(k, View{Revision: 10, Records: []Record{beat(9), identified("x", 3)}})
	followed := p.apply(beat(12))
	for what, c := range map[string]struct {
		p *picture
		r Record
	}{
		"the same beat": {p, beat(9)}, "a key that was gone as of the reading": {p, Record{Key: k.wish("r"), Revision: 10}},
		"the same identity": {p, identified("x", 3)}, "a beat that was followed": {followed, beat(12)},
		"an absence before the reading": {p, Record{Key: k.session("a"), Gone: 10}}, "an absence before what was followed": {followed, Record{Key: k.session("a"), Gone: 11}},
	} {
		if got := c.p.apply(c.r); got != c.p {
			t.Errorf("%s makes another picture, or has everything read", what)
		}
	}
}

// TestApplyAll: what comes in one step is taken in whole, or everything is read again, but for a
// session's record that went at an unknown time.
func TestApplyAll(t *testing.T) {
	k := keys("p/")
	beat := func(revision uint64) Record {
		return Record{Key: k.session("a"), Revision: revision, Value: []byte("x")}
	}
	p := newPicture(k, View{Revision: 10, Records: []Record{beat(9), {Key: k.role("r"), Revision: 5, Value: []byte("x")}}})
	gone := Record{Key: k.session("a"), Gone: 11}
	for what, c := range map[string]struct {
		changes []Record
		beat    uint64 // of a then
		absent  bool
		again   bool // everything is read again
	}{
		"a beat": {[]Record{beat(11)}, 11, false, false}, "an absence": {[]Record{gone}, 0, false, false},
		"an absence since some time": {[]Record{{Key: k.session("a")}}, 9, true, false}, "a role that went": {[]Record{{Key: k.role("r")}}, 0, false, true},
		"an absence and a return": {[]Record{gone, beat(12)}, 0, false, true},
	} {
		next, _, absent := p.applyAll(c.changes)
		if absent != c.absent || (next == nil) != c.again || next != nil && next.sessions["a"].revision != c.beat {
			t.Errorf("%s: absent %v, and %+v", what, absent, next)
		}
	}
}

// TestHeldRolesCount: whose beats must be followed, and whose promise counts, beside those in
// line, is who holds a role.
func TestHeldRolesCount(t *testing.T) {
	k := keys("p/")
	at := func(over string, role, beat uint64, promises ...time.Duration) *picture { // of the holder; then of those in line
		c := lock.Contender{ID: "a", Session: "a"}
		all := []Record{
			{Key: k.role("r"), Revision: role, Value: encode(roleRecord{header: newHeader(), Holder: c, Over: over, Promise: promiseOf(lock.Promise{TTL: promises[0]})})},
			{Key: k.session("a"), Revision: beat, Value: []byte("x")},
		}
		for i, ttl := range promises[1:] {
			id := lock.SessionID("b" + strconv.Itoa(i))
			all = append(all, Record{Key: k.session(id), Revision: 1, Value: encode(sessionRecord{header: newHeader(), Contender: lock.Contender{Session: id}, Promise: promiseOf(lock.Promise{TTL: ttl})})})
		}
		return newPicture(k, View{Revision: 10, Records: all})
	}
	if held := at("", 5, 6, 0); held.missed(held) || !held.missed(at("", 5, 7, 0)) || !held.missed(at("", 6, 6, 0)) {
		t.Error("a change of the role, or a beat of its holder, is not missed, or something else is")
	}
	if at("released", 5, 6, 0).missed(at("released", 5, 7, 0)) {
		t.Error("a beat is missed of one who released the role")
	}
	for _, c := range []struct {
		p    *picture
		want time.Duration
	}{
		{at("", 5, 6, 0), 0},
		{at("", 5, 6, 2), 2},
		{at("released", 5, 6, 2), 0},
		{at("", 5, 6, 0, 3), 3},
		{at("", 5, 6, 2, 3), 2},
		{at("", 5, 6, 4, 3), 3},
		{at("released", 5, 6, 2, 3), 3},
		{at("", 5, 6, 0, 3, 1, 5), 1},
		{at("", 5, 6, 0, 0), 0},
	} {
		if got := c.p.shortest(); got != c.want {
			t.Errorf("the shortest promise is %d, want %d", got, c.want)
		}
	}
}

// untouched expects that nothing changed of the roles that a change did not touch.
func untouched(t *testing.T, name string, before *picture, r Record, now *picture, roles ...string) {
	touched := before.touched(r, now)
	for _, role := range roles {
		if !touched[role] && !reflect.DeepEqual(before.standing(role), now.standing(role)) {
			t.Errorf("%s: role %s changed, and was not touched", name, role)
		}
	}
}

// TestFloorWithoutARecord: the first token of a role is greater than the revision at which
// the role had no record, and so is every later one.
func TestFloorWithoutARecord(t *testing.T) {
	k := keys("p/")
	c := lock.Contender{ID: "a", Session: "a"}
	held := Record{Key: k.role("held"), Revision: 5, Value: encode(roleRecord{header: newHeader(), Holder: c})}
	raised := Record{Key: k.floor(), Revision: 6, Value: encode(floorRecord{header: newHeader(), Floor: 100, Offset: 95})}
	for _, one := range []struct {
		records     []Record
		fresh, held lock.Token
	}{{[]Record{held}, 30, 5}, {[]Record{held, raised}, 125, 100}} {
		p := newPicture(k, View{Revision: 30, Records: one.records})
		if fresh, held := p.standing("fresh").Floor, p.standing("held").Floor; fresh != one.fresh || held != one.held {
			t.Errorf("the floor of a role without a record is %d, of one with a record %d; want %d and %d", fresh, held, one.fresh, one.held)
		}
	}
}
