package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/lock"
)

// A moving Locker has something happen before its history is read.
type moving struct {
	lock.Locker
	lock.Operator
	first func()
}

func (m *moving) History(ctx context.Context, role string) ([]lock.Event, error) {
	if first := m.first; first != nil {
		m.first = nil
		first()
	}
	return m.Operator.History(ctx, role)
}

func (m *moving) Close() error { return m.Locker.Close() }

// TestWhyRightAfterAMove: why tells the last move, and none before it, also where it has not been written yet, or was
// made while why reads. One that is never written keeps nobody waiting for long.
func TestWhyRightAfterAMove(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := memory.New().Open()
		operator := l.(lock.Operator)
		sessions := map[string]lock.Session{}
		for _, id := range []string{"a", "b"} {
			s, err := l.Register(t.Context(), lock.Contender{ID: id, Session: lock.SessionID("s" + id)}, lock.Promise{TTL: 10 * time.Second}, lock.Bid{Role: "r"})
			must(t, err)
			go func() {
				for t.Context().Err() == nil {
					if err := s.Beat(t.Context()); err != nil && t.Context().Err() == nil {
						t.Error(err)
					}
					cli.Pause(t.Context())
				}
			}()
			sessions[id] = s
		}
		take := func(id string) lock.Token {
			token, err := sessions[id].TryAcquire(t.Context(), "r")
			must(t, err)
			return token
		}
		record := func(by string, token, previous lock.Token, from, cause string) {
			must(t, operator.Record(t.Context(), "r", lock.Event{At: time.Now(), By: by, Kind: lock.Began, Token: token, From: from, Previous: previous, Cause: cause}))
		}
		move := func(from, to string, token lock.Token) lock.Token {
			must(t, sessions[from].Handoff(t.Context(), "r", token, sessions[to].ID()))
			return take(to)
		}
		ask := func(l lock.Locker) string {
			all, err := stories(t.Context(), l, "r")
			must(t, err)
			return all[0].Text
		}
		first := take("a")
		record("a", first, 0, "", lock.CauseFirst)
		second := move("a", "b", first)
		left := func(by string, token lock.Token, cause string) {
			must(t, operator.Record(t.Context(), "r", lock.Event{At: time.Now(), By: by, Kind: lock.Ended, Token: token, Cause: cause, Detail: "its own word"}))
		}
		time.AfterFunc(2*time.Second, func() { record("b", second, first, "a", lock.CauseAsked) })
		time.AfterFunc(2500*time.Millisecond, func() { left("a", first, lock.CauseAsked) })
		if text := ask(l); !strings.Contains(text, "It took over from a") || !strings.Contains(text, "its own word") {
			t.Errorf("a move that is written later: %s", text)
		}
		third := lock.Token(0)
		during := &moving{l, operator, func() {
			third = move("b", "a", second)
			record("a", third, second, "b", lock.CauseDrained)
		}}
		if text := ask(during); !strings.Contains(text, "It took over from b") {
			t.Errorf("a move between two reads: %s", text)
		}
		must(t, sessions["a"].Release(t.Context(), "r", third))
		time.AfterFunc(time.Second, func() { left("a", third, lock.CausePaused) })
		if text := ask(l); !strings.Contains(text, "Nobody is active. a was the last") || !strings.Contains(text, "its own word") {
			t.Errorf("a role that was given back, whose owner says why later: %s", text)
		}
		move("a", "b", take("a"))
		began := time.Now()
		if text := ask(l); !strings.Contains(text, "b is active with token") || !strings.Contains(text, "has not written why yet") {
			t.Errorf("a move that is never written: %s", text)
		}
		if waited := time.Since(began); waited > 2*untoldFor {
			t.Errorf("it was waited for for %v", waited)
		}
	})
}
