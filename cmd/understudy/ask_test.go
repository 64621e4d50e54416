package main

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/lock"
)

// A mute store does not answer its first wish, whether or not it has heard it.
type mute struct {
	lock.Locker
	hear  func() // nil: it has not
	asked int
}

func (m *mute) Ask(ctx context.Context, role string, r lock.Request) error {
	if m.asked++; m.asked > 1 {
		return m.Locker.Ask(ctx, role, r)
	}
	if m.hear != nil {
		if err := m.Locker.Ask(ctx, role, r); err != nil {
			return err
		}
		m.hear()
	}
	return errors.New("EOF")
}

// TestAskThatGetsNoAnswer is made again: it may have been heard or not, and the role may have moved since.
func TestAskThatGetsNoAnswer(t *testing.T) {
	for name, moves := range map[string]bool{"not heard": false, "heard, and the role has moved": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				m := &mute{Locker: memory.New().Open()}
				defer m.Close()
				sessions := map[string]lock.Session{}
				for _, id := range []string{"a", "b"} {
					s, err := m.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(id)}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
					must(t, err)
					sessions[id] = s
				}
				token, err := sessions["a"].TryAcquire(ctx, "r")
				must(t, err)
				if moves {
					m.hear = func() {
						must(t, sessions["a"].Release(ctx, "r", token))
						_, err := sessions["b"].TryAcquire(ctx, "r")
						must(t, err)
					}
				}
				before, target, err := askFor(ctx, m, "r", func(st lock.Standing) (lock.Member, error) { return st.Line[0], nil })
				if err != nil || before.Token != token || target.ID != "b" || m.asked != 2 {
					t.Errorf("term %d, asked for %q with %d calls: %v", before.Token, target.ID, m.asked, err)
				}
			})
		})
	}
}

// A reader is a store whose user may not write.
type reader struct{ lock.Locker }

func (reader) Ask(context.Context, string, lock.Request) error {
	return lock.Refusal(errors.New("permission denied"))
}

// TestAskThatIsRefused is over at once: the store has answered.
func TestAskThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := reader{memory.New().Open()}
		defer l.Close()
		s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "a"}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
		must(t, err)
		_, err = s.TryAcquire(t.Context(), "r")
		must(t, err)
		began := time.Now()
		_, _, err = askFor(t.Context(), l, "r", func(st lock.Standing) (lock.Member, error) { return st.Term.Holder, nil })
		if !errors.Is(err, lock.ErrRefused) || time.Since(began) > 0 {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// TestHandoffThatWentElsewhere: who asked for a handoff is told why another has the role now, and the standby is blamed
// only where nothing else explains it.
func TestHandoffThatWentElsewhere(t *testing.T) {
	for want, move := range map[string]func(ctx context.Context, l lock.Locker, s sessions, term lock.Term) error{
		"c is active instead of b: h2 asked for another handoff meanwhile": func(ctx context.Context, l lock.Locker, s sessions, term lock.Term) error {
			err := l.Ask(ctx, "r", lock.Request{Token: term.Token, To: "c", By: "h2"})
			time.Sleep(time.Second) // until that is seen
			return errors.Join(err, s["a"].Release(ctx, "r", term.Token))
		},
		"c is active instead of b: a did not hand over, or ended right after that; see understudy why": func(ctx context.Context, _ lock.Locker, s sessions, _ lock.Term) error {
			return s["a"].Close(ctx)
		},
		"c is active instead of b, which is gone: it ended before it could take the role, or gave it up at once; see understudy why": func(ctx context.Context, _ lock.Locker, s sessions, term lock.Term) error {
			err := s["a"].Release(ctx, "r", term.Token)
			time.Sleep(time.Second) // until that is seen
			err = errors.Join(err, s["b"].Close(ctx))
			time.Sleep(time.Second) // until that is, too
			return err
		},
		"c is active instead of b, which stands by: it did not take the role, or gave it up at once, as where its command cannot start; its log says why": func(ctx context.Context, _ lock.Locker, s sessions, term lock.Term) error {
			return s["a"].Release(ctx, "r", term.Token)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			l := memory.New().Open()
			defer l.Close()
			s := inLineOf(ctx, t, l, "a", "b", "c")
			before, target, err := askFor(ctx, l, "r", func(st lock.Standing) (lock.Member, error) { return choose(st, "b") })
			must(t, err)
			moved := make(chan error, 1)
			go func() {
				time.Sleep(time.Second) // until the request is seen
				err := move(ctx, l, s, before)
				_, err2 := s["c"].TryAcquire(ctx, "r")
				moved <- errors.Join(err, err2)
			}()
			_, err = follow(ctx, l, before, "r", target)
			must(t, <-moved)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// TestHandoffThatNobodyTook: of an active that has given the role up nobody says that it has not.
func TestHandoffThatNobodyTook(t *testing.T) {
	l := memory.New().Open()
	defer l.Close()
	a, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "a"}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
	must(t, err)
	_, err = a.TryAcquire(t.Context(), "r")
	must(t, err)
	st, err := standing(t.Context(), l, "r")
	must(t, err)
	h := handing{l: l, role: "r", before: st.Term, target: lock.Member{Contender: lock.Contender{ID: "b", Session: "b"}}, began: time.Now()}
	_, err = l.Register(t.Context(), h.target.Contender, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
	must(t, err)
	if _, err := h.late(t.Context()); !strings.HasPrefix(err.Error(), "a has not handed over: its work may take longer to stop") {
		t.Errorf("while it works: %v", err)
	}
	must(t, a.Release(t.Context(), "r", st.Term.Token))
	if _, err := h.late(t.Context()); err.Error() != "a has given the role up, and nobody has taken it: see understudy why" {
		t.Errorf("after that: %v", err)
	}
}

type sessions map[string]lock.Session

// inLineOf registers contenders for a role, which the first of them takes.
func inLineOf(ctx context.Context, t *testing.T, l lock.Locker, ids ...string) sessions {
	t.Helper()
	s := sessions{}
	for _, id := range ids {
		one, err := l.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(id)}, lock.Promise{TTL: time.Hour}, lock.Bid{Role: "r"})
		must(t, err)
		s[id] = one
	}
	_, err := s[ids[0]].TryAcquire(ctx, "r")
	must(t, err)
	return s
}

// A deaf Locker shows a role as it is, once in each Watch, and in no more than some.
type deaf struct {
	lock.Locker
	watches int
}

func (d *deaf) Watch(ctx context.Context, roles ...string) iter.Seq2[lock.Standing, error] {
	return func(yield func(lock.Standing, error) bool) {
		for st, err := range d.Locker.Watch(ctx, roles...) {
			if d.watches == 0 || !yield(st, err) {
				break
			}
			d.watches--
			<-ctx.Done()
		}
		<-ctx.Done()
	}
}

// TestWaitHearsNothing: where the way to the store is slow or hangs, a command that waits looks once more, and says of the
// others only what it has read.
func TestWaitHearsNothing(t *testing.T) {
	for want, watches := range map[string]int{
		"": 2,
		"the store does not answer here any more, so it is not known whether b has the role now": 1,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			l := memory.New().Open()
			defer l.Close()
			s := inLineOf(ctx, t, l, "a", "b")
			st, err := standing(ctx, l, "r")
			must(t, err)
			time.AfterFunc(time.Second, func() {
				_ = s["a"].Release(t.Context(), "r", st.Term.Token)
				_, _ = s["b"].TryAcquire(t.Context(), "r")
			})
			after, err := follow(ctx, &deaf{l, watches}, st.Term, "r", st.Line[0])
			if want == "" && (err != nil || after.Holder.ID != "b") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("handoff: %s, %v, want %q", after.Holder.ID, err, want)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			time.AfterFunc(time.Second, func() { _ = s["b"].Release(t.Context(), "r", after.Token) })
			_, err = await(ctx, &deaf{l, watches}, "r", "it has not", func(st lock.Standing) bool { return st.Term.Vacant() })
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "it is not known what came of it")) {
				t.Errorf("await: %v, want %q", err, want)
			}
		})
	}
}
