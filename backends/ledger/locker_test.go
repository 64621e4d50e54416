package ledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// A swapped store keeps one ledger, and then another.
type swapped struct {
	mu      sync.Mutex
	ledger  *ledger.Ledger
	changed chan struct{}
}

func (s *swapped) put(l *ledger.Ledger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger = l
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *swapped) Propose(_ context.Context, c ledger.Command) (ledger.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.ledger.Apply(s.ledger.Revision+1, c)
	r.Revision = s.ledger.Revision
	close(s.changed)
	s.changed = make(chan struct{})
	return r, nil
}

func (s *swapped) Look(ctx context.Context, after ledger.Mark, roles ...string) (ledger.View, error) {
	for {
		s.mu.Lock()
		v, changed := s.ledger.View(roles...), s.changed
		s.mu.Unlock()
		if v.After(after) || after.Revision == 0 {
			return v, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ledger.View{}, ctx.Err()
		}
	}
}

func (s *swapped) Close() error { return nil }

// TestOtherLedger puts another ledger in the place of the one that a Locker has seen, with
// a smaller revision: a Watch says so and shows nothing, the calls change nothing, and all
// go on when the old one is back, or the other one was adopted.
func TestOtherLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, other := ledger.New(), ledger.New()
		other.Apply(1, ledger.Command{Op: ledger.Begin, Name: "other"})
		s := &swapped{ledger: first, changed: make(chan struct{})}
		l := ledger.NewLocker(s)
		a, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "a-1"}, lock.Promise{}, lock.Bid{Role: "r"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.TryAcquire(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var last lock.Standing
		var failed error
		said, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			for st, err := range l.Watch(ctx, "r") {
				said++
				if failed = err; err == nil {
					last = st
				}
			}
		}()
		sees := func(what, store string, other bool) {
			t.Helper()
			synctest.Wait()
			if errors.Is(failed, lock.ErrOtherStore) != other || last.Store != store {
				t.Errorf("%s: a watch says %v, and shows store %q, want %q", what, failed, last.Store, store)
			}
		}
		sees("at first", first.Identity, false)
		s.put(other)
		sees("another", first.Identity, true)
		before, count := state(other), said
		_, err = l.Register(t.Context(), lock.Contender{ID: "c", Session: "c-1"}, lock.Promise{})
		for what, err := range map[string]error{
			"register": err, "beat": a.Beat(t.Context()), "close": a.Close(t.Context()), "raise": l.Raise(t.Context(), 9),
			"evict": l.Evict(t.Context(), "a-1", lock.AnyBeat, lock.End{By: "t"}), "ask": l.Ask(t.Context(), "r", lock.Request{}),
			"pause":     l.(lock.Operator).Pause(t.Context(), "r", lock.Pause{By: "t"}),
			"configure": l.(lock.Operator).Configure(t.Context(), "a", lock.Settings{By: "t", Drained: true}),
			"record":    l.(lock.Operator).Record(t.Context(), "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Began}),
		} {
			if !errors.Is(err, lock.ErrOtherStore) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if after := state(other); after != before {
			t.Errorf("it was changed: %s", after)
		}
		synctest.Wait()
		if said > count+10 {
			t.Errorf("a watch spins: it said the same %d times", said-count)
		}
		s.put(first)
		sees("the old one", first.Identity, false)
		s.put(other)
		sees("another again", first.Identity, true)
		if err := ledger.NewLocker(s).Adopt(t.Context(), first.Identity); err != nil {
			t.Fatal(err)
		}
		sees("it was adopted", "other", false)
		s.put(first)
		sees("the one that was replaced", "other", true)
		cancel()
		<-ended
	})
}

// A lagging store applies commands at once, and shows a copy of its ledger, where each arrives
// when the test says so.
type lagging struct {
	swapped
	leader *ledger.Ledger
	log    []ledger.Command
}

func (s *lagging) Propose(_ context.Context, c ledger.Command) (ledger.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, c)
	r := s.leader.Apply(s.leader.Revision+1, c)
	r.Revision = s.leader.Revision
	return r, nil
}

// arrive has the next n commands arrive.
func (s *lagging) arrive(t *testing.T, n int) {
	s.mu.Lock()
	now := s.log[:n]
	s.log = s.log[n:]
	s.mu.Unlock()
	for _, c := range now {
		_, err := s.swapped.Propose(t.Context(), c)
		lab.Must(t, err)
	}
	synctest.Wait()
}

// TestNeverOlder: what a call has had acknowledged is what a Watch shows, and what an
// acquisition goes by, even where the copy that is read is late.
func TestNeverOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &lagging{swapped: swapped{ledger: ledger.New(), changed: make(chan struct{})}, leader: ledger.New()}
		l := ledger.NewLocker(s)
		a, b := lab.Join(t.Context(), t, l, "a"), lab.Join(t.Context(), t, ledger.NewLocker(s), "b")
		s.arrive(t, 2)
		first := lab.Acquire(t.Context(), t, a)
		lab.Must(t, a.Release(t.Context(), "r", first))
		var second lock.Token
		go func() { second, _ = a.TryAcquire(t.Context(), "r") }()
		s.arrive(t, 1)
		if second != 0 {
			t.Error("it acquires by what was before its release")
		}
		s.arrive(t, 1)
		if second <= first {
			t.Fatalf("acquired token %d after %d", second, first)
		}
		s.arrive(t, 1)
		var shown []lock.Standing
		cancel, ended := lab.Watch(t.Context(), t, l, func(st lock.Standing, _ error) { shown = append(shown, st) })
		synctest.Wait()
		lab.Must(t, b.Beat(t.Context(), lock.Bid{Role: "r", Priority: 7}))
		lab.Must(t, a.Release(t.Context(), "r", second))
		s.arrive(t, 1)
		if len(shown) != 1 || shown[0].Term.Vacant() {
			t.Errorf("before the release arrives the watch shows %+v", shown)
		}
		s.arrive(t, 1)
		if len(shown) != 2 || !shown[1].Term.Vacant() {
			t.Errorf("when the release has arrived the watch shows %+v", shown)
		}
		for priority := range 2 {
			lab.Must(t, b.Beat(t.Context(), lock.Bid{Role: "r", Priority: priority}))
		}
		if err := a.Release(t.Context(), "r", second); err != nil { // it is released, and nothing changes
			t.Error(err)
		}
		s.arrive(t, 1) // the watch may have been looking for this before
		if s.arrive(t, 1); len(shown) != 3 {
			t.Errorf("before the second release arrives the watch shows %+v", shown)
		}
		if s.arrive(t, 1); len(shown) != 4 {
			t.Errorf("when it has arrived the watch shows %+v", shown)
		}
		lab.Must(t, a.Release(t.Context(), "r", second))
		if s.arrive(t, 1); len(shown) != 4 {
			t.Errorf("when nothing has changed the watch shows %+v", shown)
		}
		cancel()
		<-ended
	})
}

// TestWatchEndsWithClose although its consumer goes on after errors.
func TestWatchEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		errs, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			for _, err := range l.Watch(t.Context(), "r") {
				if err != nil {
					errs++
				}
			}
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-ended // or the bubble is stuck, and the test fails
		if errs != 1 {
			t.Errorf("%d errors, want one that says why", errs)
		}
	})
}

// A nameless store takes no identity, as one does that is broken.
type nameless struct{ swapped }

func (s *nameless) Propose(ctx context.Context, c ledger.Command) (ledger.Result, error) {
	c.Name = ""
	return s.swapped.Propose(ctx, c)
}

// TestLedgerWithoutAnIdentity: what a call changes there is shown all the same.
func TestLedgerWithoutAnIdentity(t *testing.T) {
	s := &nameless{swapped{ledger: ledger.New(), changed: make(chan struct{})}}
	l := ledger.NewLocker(s)
	defer l.Close()
	lab.Must(t, l.(lock.Operator).Pause(t.Context(), "r", lock.Pause{By: "op"}))
	for st, err := range l.Watch(t.Context(), "r") {
		if err != nil || st.Pause.By != "op" {
			t.Errorf("%+v, %v", st, err)
		}
		break
	}
}
