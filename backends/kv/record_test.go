package kv

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// FuzzKeys: a name is one element of its key, and comes back out of it.
func FuzzKeys(f *testing.F) {
	for _, name := range []string{"a", ".", "..", "a/b", "%2E", "a%", "ä €", "x/../y", "\xff"} {
		f.Add(name)
	}
	k := keys("team/understudy/")
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" {
			return
		}
		for _, key := range []string{k.role(name), k.wish(name), k.claim(name), k.session(lock.SessionID(name)), k.end(lock.SessionID(name))} {
			rest := strings.TrimPrefix(key, string(k))
			parts := strings.Split(rest, "/")
			if len(parts) != 3 || parts[2] == "" || parts[2] == "." || parts[2] == ".." {
				t.Errorf("%q stands under %q", name, key)
			}
			if kind, back := k.kind(key); kind != parts[0]+"/"+parts[1] || back != name {
				t.Errorf("%q: %q is %q of %q", name, key, kind, back)
			}
		}
	})
}

func TestForeignKeys(t *testing.T) {
	k := keys("p/")
	for _, key := range []string{"", "p/", "q/state/role/a", "p/state/role/", "p/state/role/%61", "p/state/role/%zz", "p/state/role/a b"} {
		if kind, name := k.kind(key); name != "" || kind != "" {
			t.Errorf("%q is %q of %q", key, kind, name)
		}
	}
}

// FuzzRecords: whatever stands in the store, reading it says what is wrong, and
// nothing else happens.
func FuzzRecords(f *testing.F) {
	f.Add(encode(roleRecord{header: newHeader(), Holder: lock.Contender{Session: "s"}}))
	f.Add(encode(sessionRecord{header: newHeader(), Promise: promiseOf(lock.Promise{TTL: time.Second})}))
	f.Add([]byte(`{"Format":3}`))
	f.Add([]byte(`{"Format":2,"Promise":{"TTL":"x"}}`))
	k := keys("p/")
	f.Fuzz(func(t *testing.T, value []byte) {
		v := View{Revision: 9}
		for _, key := range []string{k.role("r"), k.wish("r"), k.floor(), k.claim("c"), k.session("s"), k.end("s")} {
			r := Record{Key: key, Value: value, Revision: 7}
			v.Records = append(v.Records, r)
			if _, err := decodeRole(r); err != nil && !errors.Is(err, lock.ErrPermanent) {
				t.Error(err)
			}
			if _, err := decodeClaim(r); err != nil && !errors.Is(err, lock.ErrPermanent) {
				t.Error(err)
			}
		}
		p := newPicture(k, v)
		st := p.standing("r")
		if p.bad["r"] == nil && st.Term.Token == 0 && st.Term.Over == "" {
			t.Errorf("a record at revision 7 has no token: %s", value)
		}
		if p.sessions["s"].revision != 7 || (p.ends["s"] == lock.End{}) {
			t.Errorf("a session or an end that stands is not seen: %s", value)
		}
	})
}

// TestReadable: a record is what a person can read, and no two are the same.
func TestReadable(t *testing.T) {
	s := sessionRecord{header: newHeader(), Contender: lock.Contender{ID: "a"}, Promise: promiseOf(lock.Promise{TTL: 10 * time.Second, Skew: 150 * time.Millisecond})}
	value := string(encode(s))
	for _, part := range []string{`"Format":2`, `"ID":"a"`, `"TTL":"10s"`, `"Skew":"150ms"`} {
		if !strings.Contains(value, part) {
			t.Errorf("%s lacks %s", value, part)
		}
	}
	s.header = newHeader()
	if again := string(encode(s)); again == value || !json.Valid([]byte(again)) {
		t.Error(again)
	}
}

// TestTokensNeverBeginAgain: a record whose numbers would make the sum of a revision and an
// offset wrap around is not one of ours.
func TestTokensNeverBeginAgain(t *testing.T) {
	k := keys("p/")
	for _, over := range []uint64{1 << 63, 1<<64 - 1, uint64(lock.MaxFloor) + 1} {
		role := roleRecord{header: newHeader(), Holder: lock.Contender{Session: "s"}, Offset: over}
		if _, err := decodeRole(Record{Key: k.role("r"), Value: encode(role), Revision: 7}); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("a term with offset %d: %v", over, err)
		}
		for _, f := range []floorRecord{{header: newHeader(), Offset: over}, {header: newHeader(), Floor: lock.Token(over)}} {
			if got, err := decodeFloor(Record{Key: k.floor(), Value: encode(f), Revision: 7}); !errors.Is(err, lock.ErrPermanent) || got.Offset != 0 {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
}
