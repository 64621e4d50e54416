package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// saved is a backup of a ledger in which all that outlives one was written.
func saved(t *testing.T) (*Ledger, Backup) {
	t.Helper()
	l, revision := New(), uint64(0)
	do := func(c Command) Result {
		revision++
		r := l.Apply(revision, c)
		if r.Code != OK {
			t.Fatalf("%+v: %+v", c, r)
		}
		return r
	}
	do(Command{Op: Begin, Name: "OLD"})
	do(Command{Op: Adopt, Adopt: "OLDER"})
	do(Command{Op: Register, Contender: lock.Contender{ID: "a", Session: "s"}, Promise: lock.Promise{TTL: time.Second}})
	token := do(Command{Op: Acquire, Session: "s", Role: "r"}).Token
	do(Command{Op: Write, Role: "r", Token: token, Values: map[string][]byte{"k": []byte("v"), "empty": {}}})
	do(Command{Op: Pause, Role: "p", Pause: lock.Pause{By: "op", Why: "trial", At: time.Unix(1, 0).UTC()}})
	do(Command{Op: Configure, Contender: lock.Contender{ID: "a"}, Settings: lock.Settings{By: "op", Drained: true, Priorities: map[string]int{"r": 7}}})
	do(Command{Op: Raise, Token: 1000})
	b := do(Command{Op: Save}).Backup
	if b.Identity != "OLD" || b.Last < 1000 || b.Revision != revision || len(b.Values) != 2 {
		t.Fatalf("%+v", b)
	}
	return l, *b
}

// TestRestore brings back in another ledger all that a backup has, through the JSON in which it is
// kept, and every token there is greater than any of the first ledger.
func TestRestore(t *testing.T) {
	_, b := saved(t)
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var read Backup
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	for _, above := range []lock.Token{0, 5000} {
		l := New()
		l.Apply(1, Command{Op: Begin, Name: "NEW"})
		l.Apply(2, Command{Op: Pause, Role: "other", Pause: lock.Pause{By: "op"}})
		for i := range 2 { // it may be repeated
			if r := l.Apply(uint64(3+i), Command{Op: Restore, Backup: &read, Token: above}); r.Code != OK || r.Identity != "NEW" {
				t.Fatalf("%+v", r)
			}
		}
		if !l.Is("OLD") || !l.Is("OLDER") || len(l.Paused) != 1 || l.Paused["p"].By != "op" || l.Settings["a"].Priorities["r"] != 7 || !l.Settings["a"].Drained ||
			!maps.EqualFunc(l.Values, b.Values, func(a, b []byte) bool { return string(a) == string(b) }) || l.Size != len("k")+len("v")+len("empty") {
			t.Errorf("%+v", l)
		}
		l.Apply(5, Command{Op: Register, Contender: lock.Contender{ID: "a", Session: "s"}, Promise: lock.Promise{TTL: time.Second}, Identity: "OLD"})
		if r := l.Apply(6, Command{Op: Acquire, Session: "s", Role: "r"}); r.Token <= max(above, b.Last) {
			t.Errorf("token %d after %d and %d", r.Token, above, b.Last)
		}
	}
}

// TestRestoreIsRefused with somebody registered, and of what is not a backup, and changes nothing.
func TestRestoreIsRefused(t *testing.T) {
	used, b := saved(t)
	long := strings.Repeat("x", 1<<20)
	bad := func(change func(*Backup)) *Backup { b := b; change(&b); return &b }
	for says, c := range map[string]Command{
		`1 contenders are registered, such as "a"`: {Op: Restore, Backup: &b},
		"without a backup":                         {Op: Restore},
		"must be at most":                          {Op: Restore, Backup: &b, Token: lock.MaxFloor + 1},
		"the limit is 4194304":                     {Op: Restore, Backup: bad(func(b *Backup) { b.Values = map[string][]byte{"k": make([]byte, MaxValues)} })},
		"must not end in a slash":                  {Op: Restore, Backup: bad(func(b *Backup) { b.Values = map[string][]byte{"k/": {}} })},
		"by":                                       {Op: Restore, Backup: bad(func(b *Backup) { b.Paused = map[string]lock.Pause{"r": {Why: "no name"}} })},
		"identity":                                 {Op: Restore, Backup: bad(func(b *Backup) { b.Identity = long })},
	} {
		before, err := json.Marshal(used)
		if err != nil {
			t.Fatal(err)
		}
		r := used.Apply(used.Revision, c)
		after, err := json.Marshal(used)
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(r.Err(), lock.ErrPermanent) || !strings.Contains(r.Why, says) || string(before) != string(after) {
			t.Errorf("want %q, got %+v", says, r)
		}
	}
}

// TestBackupIsBounded: the largest backup is restored, and one decision or byte more is not.
func TestBackupIsBounded(t *testing.T) {
	pauses := func(n int) (b Backup) {
		b.Paused = map[string]lock.Pause{}
		for i := range n {
			b.Paused[fmt.Sprint("r", i)] = lock.Pause{By: "op"}
		}
		return b
	}
	if err := pauses(MaxDecisions).Check(); err != nil {
		t.Errorf("as many decisions as there may be: %v", err)
	}
	if err := pauses(MaxDecisions + 1).Check(); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), fmt.Sprintf("%d decisions of one kind, the limit is %d", MaxDecisions+1, MaxDecisions)) {
		t.Errorf("one more: %v", err)
	}
	bytes := func(n int) Backup {
		b := Backup{Paused: map[string]lock.Pause{}}
		for i := 0; n > 0; i++ {
			role, p := fmt.Sprintf("%04d", i), lock.Pause{By: "o"}
			p.Why = strings.Repeat("x", max(0, min(lock.MaxText, n-len(role)-len(p.By))))
			b.Paused[role], n = p, n-len(role)-len(p.By)-len(p.Why)
		}
		return b
	}
	if err := bytes(MaxBackup).Check(); err != nil {
		t.Errorf("as many bytes as there may be: %v", err)
	}
	if err := bytes(MaxBackup + 1).Check(); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "bytes of decisions, the limit is") {
		t.Errorf("one more: %v", err)
	}
}

// An answering store has one answer to everything.
type answering struct {
	Store
	Result
}

func (a answering) Propose(context.Context, Command) (Result, error) { return a.Result, nil }

// TestSave returns the store's backup, or why there is none.
func TestSave(t *testing.T) {
	save := func(r Result) (Backup, error) { return NewLocker(answering{Result: r}).(Keeper).Save(t.Context()) }
	if b, err := save(Result{Backup: &Backup{Identity: "x", Last: 7}}); err != nil || b.Identity != "x" || b.Last != 7 {
		t.Errorf("%+v, %v", b, err)
	}
	if _, err := save(Result{}); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "without a backup") {
		t.Errorf("no backup: %v", err)
	}
	if _, err := save(Result{Code: Moved}); !errors.Is(err, lock.ErrMoved) {
		t.Errorf("a refusal: %v", err)
	}
}
