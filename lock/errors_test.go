package lock_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestChecks says of each value whether it may be given. What is wrong is permanent.
func TestChecks(t *testing.T) {
	promise := func(ttl, skew time.Duration) error { return lock.CheckPromise(lock.Promise{TTL: ttl, Skew: skew}) }
	for _, c := range []struct {
		what string
		err  error
		good bool
	}{
		{"a name", lock.CheckName("role", "r"), true},
		{"a name in another script", lock.CheckName("role", "役割"), true},
		{"the longest name", lock.CheckName("role", strings.Repeat("x", lock.MaxName)), true},
		{"a longer one", lock.CheckName("role", strings.Repeat("x", lock.MaxName+1)), false},
		{"no name", lock.CheckName("role", ""), false},
		{"a name that is not UTF-8", lock.CheckName("role", "\xff"), false},
		{"a name with a newline", lock.CheckName("role", "a\nb"), false},
		{"bids", lock.CheckBids(lock.Bid{Role: "r"}, lock.Bid{Role: "s"}), true},
		{"no bids", lock.CheckBids(), true},
		{"two bids for a role", lock.CheckBids(lock.Bid{Role: "r"}, lock.Bid{Role: "r"}), false},
		{"a bid for no role", lock.CheckBids(lock.Bid{}), false},
		{"a promise of nothing", promise(0, 0), true},
		{"the longest promise", promise(lock.MaxTTL, lock.MaxTTL), true},
		{"a longer ttl", promise(lock.MaxTTL+1, 0), false},
		{"a longer skew", promise(0, lock.MaxTTL+1), false},
		{"a negative ttl", promise(-1, 0), false},
		{"a negative skew", promise(0, -1), false},
		{"an end", lock.CheckEnd(lock.End{By: "a"}), true},
		{"an end by nobody, for no reason", lock.CheckEnd(lock.End{}), false},
		{"the greatest floor", lock.CheckFloor(lock.MaxFloor), true},
		{"a greater one", lock.CheckFloor(lock.MaxFloor + 1), false},
		{"no error that is permanent", lock.Permanent(nil), true},
	} {
		if (c.err == nil) != c.good || c.err != nil && !errors.Is(c.err, lock.ErrPermanent) {
			t.Errorf("%s: %v", c.what, c.err)
		}
	}
}

// TestErrors: what a call's error means, and what it names.
func TestErrors(t *testing.T) {
	holder := lock.Member{Contender: lock.Contender{ID: "a", Session: "a-1", Address: "here:1"}}
	for _, c := range []struct {
		err  error
		want lock.Outcome
		says string
	}{
		{nil, lock.OK, ""},
		{errors.New("out"), lock.Unknown, "out"},
		{&lock.HeldError{Name: "r", Holder: holder, Token: 7}, lock.Held, `role "r" is held by "a" at here:1 (token 7)`},
		{&lock.HeldError{Name: "a", Holder: holder}, lock.Held, `ID "a" is in use by session a-1 at here:1`},
		{&lock.HeldError{Name: "a", Holder: lock.Member{Contender: lock.Contender{Session: "a-1"}}}, lock.Held, `ID "a" is in use by session a-1`},
		{lock.ErrLost, lock.Lost, ""},
		{lock.ErrMoved, lock.Moved, ""},
		{lock.ErrGone, lock.Gone, ""},
		{lock.ErrRolledBack, lock.RolledBack, ""},
		{&lock.OtherStoreError{Seen: "x", Found: "y"}, lock.OtherStore, "it has the identity y,"},
		{&lock.OtherStoreError{Seen: "x"}, lock.OtherStore, "it has no identity"},
		{&lock.OtherStoreError{Seen: "x", Found: "x"}, lock.OtherStore, "is incomplete"},
		{lock.Permanent(errors.New("no right")), lock.Refused, "no right"},
		{lock.Refusal(errors.New("no room")), lock.Unknown, "no room"},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("call: %w", err)
		}
		if got := lock.OutcomeOf(err); got != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %v and %q", err, got, c.want, c.says)
		}
	}
	refusal := lock.Refusal(errors.New("no room"))
	if !errors.Is(refusal, lock.ErrRefused) || errors.Is(refusal, lock.ErrPermanent) || errors.Is(lock.Permanent(refusal), lock.ErrHeld) || lock.Refusal(nil) != nil {
		t.Errorf("a refusal is %v", refusal)
	}
}

// TestContenders: what every reader of a role gets is bounded, and the error shows the beginning of what is too long.
func TestContenders(t *testing.T) {
	t.Parallel()
	long, labels := strings.Repeat("é", lock.MaxAddress), map[string]string{}
	for i := range lock.MaxLabels {
		labels[strings.Repeat("k", lock.MaxName-2)+string(rune('0'+i/10))+string(rune('0'+i%10))] = strings.Repeat("v", lock.MaxName)
	}
	most := lock.Contender{ID: "a", Session: "a-1", Address: long[:lock.MaxAddress], Labels: labels}
	if err := lock.CheckContender(most); err != nil {
		t.Error(err)
	}
	more := maps.Clone(labels)
	more["one more"] = ""
	for want, c := range map[string]lock.Contender{
		`Address: "éééééééééééééééééééé..." has 2048 bytes, the limit is 1024`:                          {Address: long},
		"Labels: there are 33, the limit is 32":                                                         {Labels: more},
		`Labels: the key "éééééééééééééééééééé..." has 2048 bytes, the limit is 256`:                    {Labels: map[string]string{long: ""}},
		`Labels: the value "` + strings.Repeat("x", 40) + `..." of "k" has 300 bytes, the limit is 256`: {Labels: map[string]string{"k": strings.Repeat("x", 300)}},
	} {
		c.ID, c.Session = "a", "a-1"
		if err := lock.CheckContender(c); err == nil || err.Error() != want || !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%v, want %s, for good", err, want)
		}
	}
}
