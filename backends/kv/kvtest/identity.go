package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// otherStore puts one store in the place of another, under a Locker that has seen the
// first: what it changes nothing in, what it accepts, and what an operator's word does.
func otherStore(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	bare := open()
	t.Cleanup(func() { must(t, bare.Close()) })
	s := &swapped{Store: open(), moved: make(chan struct{})}
	first, empty, other := "first/"+rand.Text()+"/", "empty/"+rand.Text()+"/", "other/"+rand.Text()+"/"
	s.put(first)
	l, theirs := kv.NewLocker(s, alias), kv.NewLocker(open(), other)
	t.Cleanup(func() { must(t, l.Close()); must(t, theirs.Close()) })
	register := func(l lock.Locker, id string) (lock.Session, error) {
		return l.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(rand.Text())}, long, lock.Bid{Role: "r"})
	}
	a, err := register(l, "a")
	must(t, err)
	token, err := a.TryAcquire(ctx, "r")
	must(t, err)
	_, err = register(theirs, "b")
	must(t, err)
	identity, their := shownBy(ctx, t, l).Store, shownBy(ctx, t, theirs).Store
	if identity == "" || their == "" || identity == their {
		t.Fatalf("identities %q and %q", identity, their)
	}

	refused := func(where, found string) {
		t.Helper()
		s.put(where)
		before := all(ctx, t, bare, where)
		_, registered := register(l, "c")
		errs := map[string]error{
			"register": registered, "evict": l.Evict(ctx, a.ID(), lock.Absent, lock.End{By: "t"}), "evict any": l.Evict(ctx, a.ID(), lock.AnyBeat, lock.End{By: "t"}),
			"ask": l.Ask(ctx, "r", lock.Request{Token: token, To: "x"}), "raise": l.Raise(ctx, 1<<40),
			"release": a.Release(ctx, "r", token), "close": a.Close(ctx), "watch": watched(ctx, l),
		}
		maps.Copy(errs, decisions(ctx, l))
		for what, err := range errs {
			var other *lock.OtherStoreError
			if !errors.As(err, &other) || *other != (lock.OtherStoreError{Seen: identity, Found: found}) || !strings.Contains(err.Error(), "understudy adopt --identity "+identity) {
				t.Errorf("%s on a store with the identity %q: %v", what, found, err)
			}
		}
		if a.Beat(ctx) == nil {
			t.Error("a beat was acknowledged by another store")
		}
		if after := all(ctx, t, bare, where); after != before {
			t.Errorf("another store was changed:\n%s\n%s", before, after)
		}
	}
	refused(empty, "")
	refused(other, their)

	s.put(first) // it is back, or was restored: all goes on
	must(t, a.Beat(ctx))
	if st := shownBy(ctx, t, l); st.Store != identity || st.Term.Token != token {
		t.Errorf("%+v", st)
	}

	s.put(other)
	must(t, theirs.Adopt(ctx, identity))
	must(t, theirs.Adopt(ctx, identity))
	if st := shownBy(ctx, t, l); st.Store != their {
		t.Errorf("store %q after it was adopted, want its own identity %q", st.Store, their)
	}
	must(t, join(ctx, t, l, "c").Close(ctx))
	s.put(first) // the one that was replaced is another one now
	if err := watched(ctx, l); !errors.Is(err, lock.ErrOtherStore) {
		t.Errorf("the store that was replaced: %v", err)
	}
}

// decisions are what becomes of each call of an operator.
func decisions(ctx context.Context, l lock.Locker) map[string]error {
	op := l.(lock.Operator)
	_, told := op.History(ctx, "r")
	_, configured := op.Configured(ctx)
	return map[string]error{
		"pause": op.Pause(ctx, "r", lock.Pause{By: "t"}), "resume": op.Pause(ctx, "r", lock.Pause{}),
		"configure": op.Configure(ctx, "a", lock.Settings{By: "t", Drained: true}), "configured": configured,
		"record": op.Record(ctx, "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Began}), "history": told,
	}
}

// drawnOnce has many Lockers write first, at once: they all hold to one identity.
func drawnOnce(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	prefix := "drawn/" + rand.Text()
	var group sync.WaitGroup
	drawn := make(chan string, 8)
	for range cap(drawn) {
		l := kv.NewLocker(open(), prefix)
		t.Cleanup(func() { must(t, l.Close()) })
		group.Go(func() {
			id := rand.Text()
			_, err := l.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(id)}, long, lock.Bid{Role: "r"})
			if err != nil {
				t.Error(err)
				return
			}
			drawn <- shownBy(ctx, t, l).Store
		})
	}
	group.Wait()
	close(drawn)
	first := <-drawn
	for one := range drawn {
		if one != first || one == "" {
			t.Errorf("identities %q and %q in one store", first, one)
		}
	}
}

func shownBy(ctx context.Context, t testing.TB, l lock.Locker) lock.Standing {
	for st, err := range l.Watch(ctx, "r") {
		if err == nil {
			return st
		}
	}
	t.Error("a watch shows nothing")
	return lock.Standing{}
}

// watched is the first that a watch says.
func watched(ctx context.Context, l lock.Locker) error {
	for _, err := range l.Watch(ctx, "r") {
		return err
	}
	return ctx.Err()
}

// all is everything under a prefix.
func all(ctx context.Context, t testing.TB, s kv.Store, prefix string) string {
	v, err := s.Read(ctx, prefix)
	must(t, err)
	var lines []string
	for _, r := range v.Records {
		lines = append(lines, r.Key+" "+string(r.Value))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// alias is the prefix that a swapped store shows whatever it stands for under.
const alias = "alias/"

// A swapped store is a part of another one, and then another part.
type swapped struct {
	kv.Store
	mu    sync.Mutex
	root  string
	moved chan struct{} // closed and replaced when root is
}

func (s *swapped) put(root string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root = root
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *swapped) now() (root string, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.root, s.moved
}

func under(root string, keys []string) (real []string) {
	for _, key := range keys {
		real = append(real, root+strings.TrimPrefix(key, alias))
	}
	return real
}

func shown(root string, records []kv.Record) (all []kv.Record) {
	for _, r := range records {
		r.Key = alias + strings.TrimPrefix(r.Key, root)
		all = append(all, r)
	}
	return all
}

func (s *swapped) Read(ctx context.Context, keys ...string) (kv.View, error) {
	root, _ := s.now()
	v, err := s.Store.Read(ctx, under(root, keys)...)
	v.Records = shown(root, v.Records)
	return v, err
}

func (s *swapped) Commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	root, _ := s.now()
	var real kv.Txn
	for _, g := range t.Guards {
		g.Key = under(root, []string{g.Key})[0]
		real.Guards = append(real.Guards, g)
	}
	for _, w := range t.Writes {
		w.Key = under(root, []string{w.Key})[0]
		real.Writes = append(real.Writes, w)
	}
	r, err := s.Store.Commit(ctx, real)
	r.Found.Records = shown(root, r.Found.Records)
	return r, err
}

// Follow ends, as a connection does, when another part stands there.
func (s *swapped) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		root, moved := s.now()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-moved:
				cancel()
			case <-ctx.Done():
			}
		}()
		since.Records = append([]kv.Record{}, since.Records...)
		for i := range since.Records {
			since.Records[i].Key = under(root, []string{since.Records[i].Key})[0]
		}
		for records, err := range s.Store.Follow(ctx, since, under(root, keys)...) {
			if !yield(shown(root, records), err) {
				return
			}
		}
	}
}
