package main

import (
	"context"
	"errors"
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
