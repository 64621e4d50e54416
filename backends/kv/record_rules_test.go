package kv

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/lock"
)

// TestWhatIsARecord says of each value in a role's key whether it is one of ours.
func TestWhatIsARecord(t *testing.T) {
	holder := `"Holder":{"ID":"a","Session":"s"}`
	for value, ours := range map[string]bool{
		`{"Format":2,` + holder + `}`: true,
		`{"Format":2,` + holder + fmt.Sprintf(`,"Offset":%d}`, uint64(lock.MaxFloor)):   true,
		`{"Format":2,` + holder + fmt.Sprintf(`,"Offset":%d}`, uint64(lock.MaxFloor)+1): false,
		`{"Format":2,` + holder + `,"Token":3,"End":{"By":"b","Why":"silent"}}`:         true,
		`{"Format":2,` + holder + `,"End":{"By":"b","Why":"silent"}}`:                   false,
		`{"Format":2}`: false, `{"Format":0,` + holder + `}`: false, `{"Format":-1}`: false,
		`{"Format":1,` + holder + `}`: false, `{"Format":3,` + holder + `}`: false, `[]`: false, `"x"`: false, ``: false,
	} {
		if _, err := decodeRole(Record{Key: "k", Value: []byte(value), Revision: 5}); (err == nil) != ours || err != nil && !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v", value, err)
		}
	}
	for value, says := range map[string]string{
		`{"Format":1}`: "before the first release", `{"Format":3}`: "use the newer program", `{"Format":0}`: "not one of understudy's", `7`: "not one of understudy's",
	} {
		if _, err := decodeClaim(Record{Key: "k", Value: []byte(value), Revision: 5}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", value, err, says)
		}
	}
	pause := Record{Key: keys("p/").pause("r"), Value: []byte("7"), Revision: 5}
	if _, err := decode[pauseRecord](pause); err == nil || !strings.Contains(err.Error(), "delete the key, which resumes the role") {
		t.Errorf("a pause that cannot be read: %v", err)
	}
}

// TestSessionOfAnother: a record under a session's key that is another session's says nothing
// about this one but that it beats.
func TestSessionOfAnother(t *testing.T) {
	value := encode(sessionRecord{header: newHeader(), Contender: lock.Contender{ID: "a", Session: "s", Address: "here"}})
	for id, address := range map[lock.SessionID]string{"s": "here", "other": ""} {
		s := decodeSession(id, Record{Key: "k", Value: value, Revision: 5})
		if s.Contender.Session != id || s.Contender.Address != address || s.revision != 5 {
			t.Errorf("as %s: %+v", id, s)
		}
	}
	if s := decodeSession("s", Record{Key: "k", Value: []byte("x"), Revision: 5}); s.Contender.Session != "s" || s.Contender.ID != "" || s.revision != 5 {
		t.Errorf("what is not a record: %+v", s)
	}
}

// TestEndThatCannotBeRead is an end, and one that is not there is none.
func TestEndThatCannotBeRead(t *testing.T) {
	why := lock.End{By: "b", Why: "silent"}
	for value, want := range map[string]lock.End{
		string(encode(endRecord{header: newHeader(), End: why})): why,
		string(encode(endRecord{header: newHeader()})):           {By: "unknown", Why: "its end is not readable"},
		"x": {By: "unknown", Why: "its end is not readable"},
	} {
		if got := decodeEnd(Record{Key: "k", Value: []byte(value), Revision: 5}); got != want {
			t.Errorf("%s: %+v", value, got)
		}
	}
	if got := decodeEnd(Record{Key: "k"}); got != (lock.End{}) {
		t.Errorf("no record: %+v", got)
	}
}

// TestConcerned: a role's record and a wish are about that role, and all else about any.
func TestConcerned(t *testing.T) {
	k := keys("p/")
	for key, want := range map[string]string{
		k.role("r"): "r", k.wish("r"): "r", k.session("r"): "", k.claim("r"): "", k.end("r"): "", k.floor(): "", k.identity(): "", "p/x": "", "q/state/role/r": "",
	} {
		if got := k.concerned(key); got != want {
			t.Errorf("%q is about %q, want %q", key, got, want)
		}
	}
}

// TestTold: a session's beats say which terms it has, unless that is too long; a term is
// dropped when it is known to be over, and no other one with it.
func TestTold(t *testing.T) {
	s := &session{}
	s.hold("r", 5)
	for _, one := range []struct {
		token lock.Token
		err   error
		kept  bool
	}{
		{5, errors.New("no answer"), true},
		{4, nil, true},
		{4, lock.ErrMoved, true},
		{5, lock.ErrMoved, false},
		{5, &lock.HeldError{Name: "r"}, false},
		{5, nil, false},
	} {
		s.hold("r", 5)
		s.drop("r", one.token, one.err)
		if _, kept := s.told()["r"]; kept != one.kept {
			t.Errorf("after token %d and %v it is told: %v", one.token, one.err, kept)
		}
	}
	long := strings.Repeat("x", mostTold)
	s.hold(long, 6)
	if !maps.Equal(s.told(), map[string]lock.Token{long: 6}) {
		t.Error("as much as may be told is not told")
	}
	s.hold("y", 7)
	if s.told() != nil {
		t.Error("more is told than may be")
	}
}
