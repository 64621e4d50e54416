package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// TestReleaseOfWhatIsOver changes nothing, whoever asks, and whoever else holds the role is
// named.
func TestReleaseOfWhatIsOver(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "other"}})
	release := ledger.Command{Op: ledger.Release, Session: "other", Role: "r", Token: token}
	if r := apply(l, release); !errors.Is(r.Err(), lock.ErrHeld) || l.Roles["r"].Term.Over != "" {
		t.Errorf("another's term: %v", r.Err())
	}
	release.Session = "s"
	if r := apply(l, release); r.Err() != nil || !r.Changed {
		t.Errorf("its own term: %+v", r)
	}
	before := state(l)
	for _, session := range []lock.SessionID{"s", "other"} {
		release.Session = session
		if r := apply(l, release); r.Err() != nil || r.Changed || state(l) != before {
			t.Errorf("a term that is over, by %s: %+v", session, r)
		}
	}
	apply(l, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "q"})
	q := l.Roles["q"].Term.Token
	apply(l, ledger.Command{Op: ledger.Evict, Session: "s", Seen: lock.AnyBeat, End: lock.End{By: "b"}})
	before = state(l)
	if r := apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "q", Token: q}); r.Err() != nil || !r.Changed {
		t.Errorf("by the owner, whose end is written: %+v", r)
	}
	if state(l) == before {
		t.Error("the owner's release left no trace")
	}
}

// TestEndsChangeNothingElse: a session that closes, or is evicted, ends the terms that stand,
// and leaves alone what was over before, and what is another's.
func TestEndsChangeNothingElse(t *testing.T) {
	for _, op := range []ledger.Op{ledger.Close, ledger.Evict} {
		l, token := active()
		apply(l, ledger.Command{Op: ledger.Handoff, Session: "s", Role: "r", Token: token, To: "s"})
		apply(l, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "before"})
		apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "before", Token: l.Roles["before"].Term.Token})
		over := l.Roles["before"]
		apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "other"}})
		apply(l, ledger.Command{Op: ledger.Acquire, Session: "other", Role: "another's"})
		anothers := l.Roles["another's"]
		apply(l, ledger.Command{Op: op, Session: "s", Seen: lock.AnyBeat, End: lock.End{By: "a", Why: "closed"}})
		if !reflect.DeepEqual(l.Roles["before"], over) || !reflect.DeepEqual(l.Roles["another's"], anothers) || !l.Standing("r").Term.Vacant() {
			t.Errorf("%s: %+v", op, l.Roles)
		}
		if (op == ledger.Close) != (l.Roles["r"].Term.Over == "released") || (op == ledger.Evict) != (l.Roles["r"].Term.End != lock.End{}) {
			t.Errorf("%s: the term is over because %+v", op, l.Roles["r"].Term)
		}
	}
}

// TestEndsAreKept, as many as are promised, and no more.
func TestEndsAreKept(t *testing.T) {
	l := ledger.New()
	for i := range ledger.Ends + 3 {
		apply(l, ledger.Command{Op: ledger.Evict, Session: lock.SessionID(fmt.Sprint(i)), Seen: lock.AnyBeat, End: lock.End{By: "x"}})
		if want := min(i+1, ledger.Ends); len(l.Ended) != want || len(l.Swept) != want {
			t.Fatalf("after %d: %d and %d are kept, want %d", i+1, len(l.Ended), len(l.Swept), want)
		}
	}
}

// TestFloors: the floor of a role that had a term is its token, or what was raised; that of
// one that had none is all that was counted. A line has no holder in it, unless the term is
// over.
func TestFloors(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Beat, Session: "s", Bids: []lock.Bid{{Role: "r"}}})
	for range 5 {
		apply(l, ledger.Command{Op: ledger.Nothing})
	}
	if now := l.Standing("r"); now.Floor != token || len(now.Line) != 0 {
		t.Errorf("held: %+v, want the floor %d", now, token)
	}
	if now := l.Standing("never"); now.Floor != lock.Token(l.Revision) {
		t.Errorf("never held: %+v, want the floor %d", now, l.Revision)
	}
	apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "r", Token: token})
	if now := l.Standing("r"); len(now.Line) != 1 {
		t.Errorf("over: %+v, want who held it in line", now)
	}
}

// TestBeatKeepsTheBids, unless it brings others; only that is a change that others must see.
func TestBeatKeepsTheBids(t *testing.T) {
	l, _ := active()
	if r := apply(l, ledger.Command{Op: ledger.Beat, Session: "s", Bids: []lock.Bid{{Role: "r", Priority: 3}}}); !r.Changed {
		t.Error("new bids are not change")
	}
	if r := apply(l, ledger.Command{Op: ledger.Beat, Session: "s"}); r.Changed || len(l.Sessions["s"].Bids) != 1 {
		t.Errorf("a plain beat: %+v, %+v", r, l.Sessions["s"])
	}
}

// TestLimits are what is still allowed, and the first that is not.
func TestLimits(t *testing.T) {
	address := func(n int) ledger.Command {
		return ledger.Command{Op: ledger.Beat, Session: "s", Contender: lock.Contender{Address: strings.Repeat("x", n)}, Bids: []lock.Bid{{Role: "r"}}}
	}
	if err := address(ledger.MaxCommand - 1).Check(); err != nil {
		t.Errorf("the largest command: %v", err)
	}
	if err := address(ledger.MaxCommand).Check(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("address: %d bytes, and %d in the whole", ledger.MaxCommand, ledger.MaxCommand+1)) {
		t.Errorf("one byte more: %v", err)
	}
	deletes := map[string][]byte{}
	for i := range ledger.MaxValues/lock.MaxName + 2 {
		deletes[fmt.Sprintf("%0*d", lock.MaxName, i)] = nil
	}
	if err := (ledger.Command{Op: ledger.Write, Role: "r", Token: 2, Values: deletes}).Check(); err != nil {
		t.Errorf("what is deleted takes no room: %v", err)
	}
	l, token := active()
	l.Offset = uint64(lock.MaxFloor) // the greatest there is
	apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "r", Token: token})
	if r := apply(l, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "r", Token: token}); r.Err() != nil {
		t.Errorf("at the greatest offset: %v", r.Err())
	}
	for revision, want := range map[uint64]bool{uint64(lock.MaxFloor): true, uint64(lock.MaxFloor) + 1: false} {
		l, _ := active()
		if r := l.Apply(revision, ledger.Command{Op: ledger.Acquire, Session: "s", Role: "q"}); (r.Err() == nil) != want {
			t.Errorf("at revision %d: %v", revision, r.Err())
		}
	}
}

// TestRefusal says of a write what Apply would, and of all else nothing.
func TestRefusal(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Begin, Name: "mine"})
	l.Identity = "mine"
	good := ledger.Command{Op: ledger.Write, Role: "r", Token: token, Values: map[string][]byte{"k": {1}}}
	stale, other, wrong, read := good, good, good, ledger.Command{Op: ledger.Read}
	stale.Token--
	other.Identity, other.Token = "another's", token-1
	wrong.Values, wrong.Token = map[string][]byte{"": {1}}, token-1
	for what, c := range map[string]struct {
		ledger.Command
		ok bool
	}{
		"a write": {good, true}, "of its own ledger": {ledger.Command{Op: ledger.Write, Role: "r", Token: token, Identity: "mine"}, true},
		"a stale one": {stale, false}, "a stale one of its own ledger": {ledger.Command{Op: ledger.Write, Role: "r", Token: token - 1, Identity: "mine"}, false},
		"another ledger's": {other, true}, "a bad one": {wrong, true}, "a reading": {read, true},
	} {
		r, ok := l.Refusal(c.Command)
		if ok != c.ok || !ok && (!errors.Is(r.Err(), lock.ErrMoved) || r.Identity != "mine" || r.Token != token) {
			t.Errorf("%s: %+v, %v", what, r, ok)
		}
	}
	if _, ok := l.Refusal(ledger.Command{Op: ledger.Write, Role: "never"}); ok {
		t.Error("a write under no token, to a role that nobody ever held, would not be refused")
	}
}

// TestHandoffsAreOne: repeating a handoff changes nothing, and a term that is over cannot be handed on.
func TestHandoffsAreOne(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "to"}})
	give := ledger.Command{Op: ledger.Handoff, Session: "s", Role: "r", Token: token, To: "to"}
	first := apply(l, give)
	if again := apply(l, give); first.Err() != nil || again.Err() != nil || again.Changed {
		t.Errorf("%+v, and again %+v", first, again)
	}
	give.To = "third"
	if r := apply(l, give); !errors.Is(r.Err(), lock.ErrMoved) {
		t.Errorf("another handoff of the same term: %v", r.Err())
	}
}

// TestWatchOfABrokenStore: an error does not end a watch, and what stands is shown again after
// it; one that never saw anything yields why when it ends.
func TestWatchOfABrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &flaky{swapped: swapped{ledger: ledger.New(), changed: make(chan struct{})}}
		l := ledger.NewLocker(s)
		if _, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second}, lock.Bid{Role: "r"}); err != nil {
			t.Fatal(err)
		}
		for _, roles := range [][]string{{"r"}, nil} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s.fails = map[int]bool{s.looks + 2: true}
			var shown []string
			for st, err := range l.Watch(ctx, roles...) {
				if err != nil {
					shown = append(shown, "error")
					continue
				}
				shown = append(shown, fmt.Sprint(len(st.Line), " in line"))
			}
			if want := "1 in line, error, 1 in line"; strings.Join(shown, ", ") != want {
				t.Errorf("a watch of %q shows %q, want %q", roles, shown, want)
			}
		}
		s.fails = nil
		s.broken = true
		short, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var last error
		for _, err := range l.Watch(short, "r") {
			last = err
		}
		if !errors.Is(last, context.DeadlineExceeded) {
			t.Errorf("a watch that saw nothing ends with %v", last)
		}
	})
}

// A flaky store fails some of the looks, or answers none.
type flaky struct {
	swapped
	looks  int
	fails  map[int]bool
	broken bool
}

func (s *flaky) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	s.looks++
	if s.fails[s.looks] {
		return ledger.View{}, errors.New("no answer")
	}
	if s.broken {
		<-ctx.Done()
		return ledger.View{}, ctx.Err()
	}
	return s.swapped.Look(ctx, after, roles...)
}

// TestFirstWriteNames: whoever writes first to a ledger names it, and asking for something is no
// such write; whoever has seen one names no other.
func TestFirstWriteNames(t *testing.T) {
	ctx := t.Context()
	for what, c := range map[string]struct {
		call  func(lock.Locker) error
		names bool
	}{
		"register": {func(l lock.Locker) error {
			_, err := l.Register(ctx, lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second})
			return err
		}, true},
		"evict":   {func(l lock.Locker) error { return l.Evict(ctx, "s", lock.AnyBeat, lock.End{By: "b"}) }, true},
		"raise":   {func(l lock.Locker) error { return l.Raise(ctx, 7) }, true},
		"pause":   {func(l lock.Locker) error { return l.(lock.Operator).Pause(ctx, "r", lock.Pause{By: "a"}) }, true},
		"history": {func(l lock.Locker) error { _, err := l.(lock.Operator).History(ctx, "r"); return err }, false},
		"ask":     {func(l lock.Locker) error { return l.Ask(ctx, "r", lock.Request{Token: 1}) }, false},
	} {
		s := &swapped{ledger: ledger.New(), changed: make(chan struct{})}
		l := ledger.NewLocker(s)
		if err := c.call(l); c.names && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if s.ledger.Identity != "" != c.names {
			t.Errorf("after %s the ledger has the identity %q", what, s.ledger.Identity)
		}
	}
}

// TestWatchThatIsOver before it could show anything yields why, also where the store answers.
func TestWatchThatIsOver(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	s := &swapped{ledger: ledger.New(), changed: make(chan struct{})}
	s.ledger.Revision = 1
	var all []error
	for _, err := range ledger.NewLocker(s).Watch(ctx, "r") {
		all = append(all, err)
	}
	if len(all) != 1 || !errors.Is(all[0], why) {
		t.Errorf("it yields %v, want %v", all, why)
	}
}

// TestFencesEndWithTheirSession: the intent to fence one goes with it and leaves another's, and is
// not shown of a term that is over.
func TestFencesEndWithTheirSession(t *testing.T) {
	l, token := active()
	apply(l, ledger.Command{Op: ledger.Register, Contender: lock.Contender{ID: "b", Session: "other"}})
	apply(l, ledger.Command{Op: ledger.Acquire, Session: "other", Role: "q"})
	fence := func(role, session string) lock.Fence {
		t.Helper()
		f := lock.Fence{Token: l.Roles[role].Term.Token, Beat: l.Sessions[lock.SessionID(session)].Beat, By: "c", Session: "c-1", At: noon}
		if r := apply(l, ledger.Command{Op: ledger.Fence, Role: role, Fence: f}); r.Err() != nil || l.Standing(role).Fence != f {
			t.Fatalf("%v: %+v, want %+v", r.Err(), l.Standing(role).Fence, f)
		}
		return f
	}
	fence("r", "s")
	others := fence("q", "other")
	apply(l, ledger.Command{Op: ledger.Release, Session: "s", Role: "r", Token: token})
	if st := l.Standing("r"); st.Fence != (lock.Fence{}) {
		t.Errorf("of a term that is over: %+v", st.Fence)
	}
	apply(l, ledger.Command{Op: ledger.Evict, Session: "s", Seen: lock.AnyBeat, End: lock.End{By: "c"}})
	if st := l.Standing("q"); st.Fence != others || len(l.Fences) != 1 {
		t.Errorf("another's: %+v, want %+v", st.Fence, others)
	}
	apply(l, ledger.Command{Op: ledger.Close, Session: "other", End: lock.End{By: "b", Why: "closed"}})
	if l.Fences != nil {
		t.Errorf("left of nobody: %+v", l.Fences)
	}
}
