package ledger_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// active returns a ledger in which session s holds role r, and the token.
func active() (*ledger.Ledger, lock.Token) {
	l := ledger.New()
	l.Apply(1, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "a", Session: "s"}})
	return l, l.Apply(2, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r"}).Token
}

func write(l *ledger.Ledger, t lock.Token, values map[string][]byte) ledger.Result {
	return l.Apply(l.Revision+1, ledger.Command{Op: ledger.Write, Role: "r", Token: t, Values: values})
}

func TestOnlyTheCurrentTermWrites(t *testing.T) {
	l, token := active()
	one := map[string][]byte{"k": []byte("v")}
	refused := func(when string, with, current lock.Token) {
		t.Helper()
		before := len(l.Values)
		if r := write(l, with, map[string][]byte{"other": {}}); !errors.Is(r.Err(), lock.ErrMoved) || r.Token != current || len(l.Values) != before {
			t.Errorf("%s: %+v, values %v", when, r, l.Values)
		}
	}
	if err := write(l, token, one).Err(); err != nil {
		t.Fatal(err)
	}
	refused("a smaller one", token-1, token)
	refused("a greater one", token+1, token)
	refused("none", 0, token)
	// The holder's session is over, and nobody has the role yet: nobody else has written.
	l.Apply(l.Revision+1, ledger.Command{Op: ledger.Evict, Session: "s", Seen: l.Sessions["s"].Beat, End: lock.End{By: "b", Why: "silent"}})
	if err := write(l, token, one).Err(); err != nil {
		t.Errorf("before a successor: %v", err)
	}
	l.Apply(l.Revision+1, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "s2"}})
	next := l.Apply(l.Revision+1, ledger.Command{Op: ledger.Acquire, Session: "s2", Role: "r", Token: token}).Token
	refused("after a successor", token, next)
	l.Apply(l.Revision+1, ledger.Command{Op: ledger.Release, Session: "s2", Role: "r", Token: next})
	refused("released", next, next)
	l.Apply(l.Revision+1, ledger.Command{Op: ledger.Raise, Token: 1000})
	raised := l.Apply(l.Revision+1, ledger.Command{Op: ledger.Acquire, Session: "s2", Role: "r", Token: next}).Token
	if err := write(l, raised, one).Err(); raised <= 1000 || err != nil {
		t.Errorf("token %d with an offset: %v", raised, err)
	}
}

func TestValuesAreBounded(t *testing.T) {
	l, token := active()
	big := make([]byte, ledger.MaxWrite-1)
	if err := write(l, token, map[string][]byte{"a": big}).Err(); err != nil {
		t.Fatal(err)
	}
	err := write(l, token, map[string][]byte{"b": {}}).Err()
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "the limit is") || len(l.Values) != 1 {
		t.Fatalf("%v, %d values", err, len(l.Values))
	}
	if err := write(l, token, map[string][]byte{"a": nil, "b": big}).Err(); err != nil { // room is made in the same step
		t.Fatal(err)
	}
	if err := write(l, token, map[string][]byte{"b": nil, "gone": nil}).Err(); err != nil || l.Size != 0 || len(l.Values) != 0 {
		t.Fatalf("%v, size %d, %d values", err, l.Size, len(l.Values))
	}
}

// TestConditions: a write happens only where the values are as given. From the first one on, more
// is kept: who knows conditions knows that too.
func TestConditions(t *testing.T) {
	l, token := active()
	on := func(t lock.Token, values, when map[string][]byte) ledger.Result {
		return l.Apply(l.Revision+1, ledger.Command{Op: ledger.Write, Role: "r", Token: t, Values: values, When: when})
	}
	one, two := map[string][]byte{"k": []byte("1")}, map[string][]byte{"k": []byte("2")}
	for what, c := range map[string]struct {
		token lock.Token
		when  map[string][]byte
		want  error
	}{
		"another value where there is none": {token, one, lock.ErrDiffers},
		"a stale term":                      {token - 1, map[string][]byte{"k": nil}, lock.ErrMoved},
		"a bad key":                         {token, map[string][]byte{"": nil}, lock.ErrPermanent},
	} {
		if r := on(c.token, two, c.when); !errors.Is(r.Err(), c.want) || len(l.Values) > 0 || errors.Is(r.Err(), lock.ErrDiffers) != errors.Is(c.want, lock.ErrDiffers) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	for i, c := range []struct{ when, values map[string][]byte }{
		{map[string][]byte{"k": nil, "other": nil}, one}, {one, two}, {two, map[string][]byte{"k": {}}}, {map[string][]byte{"k": {}}, map[string][]byte{"k": nil}},
	} {
		if r := on(token, c.values, c.when); r.Err() != nil {
			t.Fatalf("step %d: %+v", i, r)
		}
		if r := on(token, c.values, c.when); !errors.Is(r.Err(), lock.ErrDiffers) {
			t.Errorf("step %d once more: %+v", i, r)
		}
	}
	for i := range ledger.MaxValues/ledger.MaxWrite + 1 {
		err := write(l, token, map[string][]byte{string(rune('a' + i)): make([]byte, ledger.MaxWrite-1)}).Err()
		if want := i == ledger.MaxValues/ledger.MaxWrite; (err != nil) != want || want && !strings.Contains(err.Error(), "the limit is 4194304") {
			t.Errorf("write %d: %v", i, err)
		}
	}
}

// TestValuesAreRead by key, by prefix, and all; and survive a snapshot's JSON.
func TestValuesAreRead(t *testing.T) {
	before, token := active()
	write(before, token, map[string][]byte{"jobs/1": []byte("x"), "jobs/2": {}, "jobs": {0xff}})
	data, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New()
	if err := json.Unmarshal(data, l); err != nil || !reflect.DeepEqual(before, l) {
		t.Fatalf("%v: %+v, want %+v", err, l, before)
	}
	for _, c := range []struct{ keys, want []string }{
		{nil, []string{"jobs", "jobs/1", "jobs/2"}},
		{[]string{"jobs/"}, []string{"jobs/1", "jobs/2"}},
		{[]string{"jobs", "none"}, []string{"jobs"}},
	} {
		r := l.Apply(l.Revision+1, ledger.Command{Op: ledger.Read, Keys: c.keys})
		if got := slices.Sorted(maps.Keys(r.Values)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.keys, got, c.want)
		}
	}
	r := l.Apply(l.Revision+1, ledger.Command{Op: ledger.Read, Keys: []string{"jobs"}})
	r.Values["jobs"][0] = 1
	if l.Values["jobs"][0] != 0xff {
		t.Error("who reads a value can change it")
	}
}
