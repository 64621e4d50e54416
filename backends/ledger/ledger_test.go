package ledger_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// state is all of a ledger but its revision.
func state(l *ledger.Ledger) string {
	now := *l
	now.Revision = 0
	data, err := json.Marshal(now)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func apply(l *ledger.Ledger, c ledger.Command) ledger.Result { return l.Apply(l.Revision+1, c) }

// TestNothingIsAppliedUnchecked gives a ledger what no Locker proposes: each is refused by
// name and without effect, and the role can be taken afterwards.
func TestNothingIsAppliedUnchecked(t *testing.T) {
	long := strings.Repeat("x", lock.MaxName+1)
	contender := lock.Contender{ID: "b", Session: "b-1"}
	for what, c := range map[string]ledger.Command{
		"a floor that wraps around":  {Op: ledger.Raise, Token: math.MaxUint64},
		"a floor above the greatest": {Op: ledger.Raise, Token: lock.MaxFloor + 1},
		"an unknown operation":       {Op: "fly", Name: "x"},
		"no operation":               {},
		"no contender":               {Op: ledger.Register, Contender: lock.Contender{Session: "b-1"}},
		"no session":                 {Op: ledger.Register, Contender: lock.Contender{ID: "b"}},
		"a bid for nothing":          {Op: ledger.Register, Contender: contender, Bids: []lock.Bid{{}}},
		"two bids for one role":      {Op: ledger.Register, Contender: contender, Bids: []lock.Bid{{Role: "r"}, {Role: "r"}}},
		"a negative ttl":             {Op: ledger.Register, Contender: contender, Promise: lock.Promise{TTL: -1}},
		"a promise that wraps":       {Op: ledger.Register, Contender: contender, Promise: lock.Promise{TTL: math.MaxInt64, Skew: time.Second}},
		"a label too large":          {Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "b-1", Labels: map[string]string{"k": strings.Repeat("x", ledger.MaxCommand)}}},
		"a bid of a beat":            {Op: ledger.Beat, Session: "s", Bids: []lock.Bid{{Role: "\x00"}}},
		"a beat of nobody":           {Op: ledger.Beat},
		"a long role":                {Op: ledger.Acquire, Session: "s", Role: long},
		"a release of no role":       {Op: ledger.Release, Session: "s"},
		"a handoff to nobody":        {Op: ledger.Handoff, Session: "s", Role: "r", Token: 2},
		"an end that says nothing":   {Op: ledger.Evict, Session: "s", Seen: lock.AnyBeat},
		"an end of nobody":           {Op: ledger.Evict, Seen: lock.AnyBeat, End: lock.End{By: "b"}},
		"a request to a bad session": {Op: ledger.Ask, Role: "r", Request: lock.Request{Token: 2, To: "\n"}},
		"a value without a key":      {Op: ledger.Write, Role: "r", Token: 2, Values: map[string][]byte{"": {1}}},
		"a value of many keys":       {Op: ledger.Write, Role: "r", Token: 2, Values: map[string][]byte{"a/": {1}}},
		"too large a value":          {Op: ledger.Write, Role: "r", Token: 2, Values: map[string][]byte{"a": make([]byte, ledger.MaxValues)}},
		"an identity of no name":     {Op: ledger.Adopt, Adopt: long},
		"no identity":                {Op: ledger.Begin},
		"a close of nobody":          {Op: ledger.Close, End: lock.End{By: "b", Why: "w"}},
		"a read without a key":       {Op: ledger.Read, Keys: []string{""}},
		"a pause that is over":       {Op: ledger.Pause, Role: "r", Pause: lock.Pause{By: "x", At: time.Unix(2, 0), Until: time.Unix(1, 0)}},
		"a resume of no role":        {Op: ledger.Resume},
		"settings of nobody":         {Op: ledger.Configure, Settings: lock.Settings{By: "x"}},
		"an event of no role":        {Op: ledger.Record, Event: lock.Event{By: "x", Kind: "began"}},
		"a history of no role":       {Op: ledger.History},
		"a fence against no beat":    {Op: ledger.Fence, Role: "r", Fence: lock.Fence{By: "b", Session: "b-1"}},
		"a fence of no session":      {Op: ledger.Fence, Role: "r", Fence: lock.Fence{By: "b", Beat: 2}},
		"an empty backup":            {Op: ledger.Restore},
	} {
		l, _ := active()
		before := state(l)
		r := apply(l, c)
		if err := r.Err(); !errors.Is(err, lock.ErrPermanent) || r.Why == "" {
			t.Errorf("%s: %v, want ErrPermanent that says why", what, err)
		}
		if after := state(l); after != before || l.Revision != 3 {
			t.Errorf("%s had an effect:\n%s\n%s", what, before, after)
		}
	}
}

// TestTokensNeverBeginAgain: a ledger whose floor was raised past the end by a program
// that did not check it gives no token at all.
func TestTokensNeverBeginAgain(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "r", Token: token})
	l.Offset = math.MaxUint64 - 3
	if r := apply(l, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r", Token: token}); !errors.Is(r.Err(), lock.ErrPermanent) || r.Token != 0 {
		t.Errorf("token %d, %v", r.Token, r.Err())
	}
	l.Offset = 0
	if r := apply(l, ledger.Command{Op: ledger.Raise, Token: lock.MaxFloor}); r.Err() != nil {
		t.Fatal(r.Err())
	}
	if r := apply(l, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r", Token: token}); r.Err() != nil || r.Token <= lock.MaxFloor {
		t.Errorf("token %d above the greatest floor, %v", r.Token, r.Err())
	}
}

// TestAProvenDeathOutlivesItsEnd: the role is vacant, and says why, when the end of its
// holder's session is no longer kept.
func TestAProvenDeathOutlivesItsEnd(t *testing.T) {
	l, token := active()
	why := lock.End{By: "the witness", Why: "its process is dead"}
	apply(l, ledger.Command{Op: ledger.Evict, Session: "s", Seen: lock.AnyBeat, End: why})
	for i := range ledger.Ends + 1 {
		apply(l, ledger.Command{Op: ledger.Evict, Session: lock.SessionID(fmt.Sprint("other-", i)), Seen: lock.AnyBeat, End: why})
	}
	if _, kept := l.Ended["s"]; kept {
		t.Fatal("the end is still kept: the test shows nothing")
	}
	if now := l.Standing("r").Term; !now.Vacant() || now.End != why || now.Token != token {
		t.Errorf("%+v", now)
	}
	apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "a", Session: "s2"}})
	if r := apply(l, ledger.Command{Op: ledger.Acquire, Session: "s2", Role: "r", Token: token}); r.Err() != nil || r.Token <= token {
		t.Errorf("token %d, %v", r.Token, r.Err())
	}
}

// TestAnotherLedgerIsRefused: whoever names the identity of another ledger changes
// nothing here, until this one is adopted; and the first who writes draws it.
func TestAnotherLedgerIsRefused(t *testing.T) {
	l := ledger.New()
	if r := apply(l, ledger.Command{Op: ledger.Begin, Name: "x"}); r.Identity != "x" {
		t.Fatalf("%+v", r)
	}
	if r := apply(l, ledger.Command{Op: ledger.Begin, Name: "y"}); r.Identity != "x" || r.Err() != nil {
		t.Fatalf("a second identity was drawn: %+v", r)
	}
	contender := lock.Contender{ID: "a", Session: "s"}
	calls := []ledger.Command{
		{Op: ledger.Register, Contender: contender},
		{Op: ledger.Beat, Session: "s"},
		{Op: ledger.Acquire, Session: "s", Role: "r"},
		{Op: ledger.Release, Session: "s", Role: "r", Token: 1},
		{Op: ledger.Handoff, Session: "s", Role: "r", To: "t"},
		{Op: ledger.Close, Session: "s", End: lock.End{By: "a"}},
		{Op: ledger.Evict, Session: "s", End: lock.End{By: "a"}},
		{Op: ledger.Ask, Role: "r"},
		{Op: ledger.Raise, Token: 9},
		{Op: ledger.Write, Role: "r"},
		{Op: ledger.Read},
	}
	before := state(l)
	for _, c := range calls {
		c.Identity, c.Name = "lost", "z"
		var other *lock.OtherStoreError
		err := apply(l, c).Err()
		if !errors.As(err, &other) || *other != (lock.OtherStoreError{Seen: "lost", Found: "x"}) || !errors.Is(err, lock.ErrOtherStore) {
			t.Errorf("%s: %v", c.Op, err)
		}
		if after := state(l); after != before {
			t.Errorf("%s had an effect: %s", c.Op, after)
		}
	}
	if r := apply(l, ledger.Command{Op: ledger.Adopt, Adopt: "lost", Name: "y"}); r.Err() != nil || r.Identity != "x" {
		t.Fatalf("%+v", r)
	}
	for _, identity := range []string{"lost", "x", ""} {
		if r := apply(l, ledger.Command{Op: ledger.Raise, Identity: identity}); r.Err() != nil {
			t.Errorf("identity %q after it was adopted: %v", identity, r.Err())
		}
	}
	for i := range 2 * ledger.MaxAdopted {
		apply(l, ledger.Command{Op: ledger.Adopt, Adopt: fmt.Sprint(i)})
	}
	if len(l.Adopted) != ledger.MaxAdopted || l.Is("lost") || !l.Is("x") || !l.Is(fmt.Sprint(2*ledger.MaxAdopted-1)) {
		t.Errorf("%v", l.Adopted)
	}
	again := ledger.New()
	if err := json.Unmarshal([]byte(mustJSON(l)), again); err != nil || !reflect.DeepEqual(l, again) {
		t.Errorf("a snapshot of it is another: %v", err)
	}
}

func mustJSON(l *ledger.Ledger) string {
	data, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	return string(data)
}
