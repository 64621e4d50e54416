package coordinator

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// A fenced stage has an active a that can be cut off, and two standbys with a fence command.
type fencedStage struct {
	*stage
	link  *link
	dead  chan struct{} // closed when a's host is dead
	calls atomic.Int64
	b, c  *Monitor
	stops []func() error
}

func newFencedStage(t *testing.T, fence func(s *fencedStage, ctx context.Context) error) *fencedStage {
	s := &fencedStage{stage: newStage(t), dead: make(chan struct{}), b: &Monitor{}, c: &Monitor{}}
	s.link = &link{Locker: s.store.Open()}
	s.stops = append(s.stops, s.contendOver(s.link, config("a"), func(ctx context.Context, _ Term) error {
		select {
		case <-ctx.Done():
		case <-s.dead:
		}
		return nil
	}))
	synctest.Wait()
	for id, m := range map[string]*Monitor{"b": s.b, "c": s.c} {
		c := config(id)
		c.Monitor = m
		c.Fence = func(ctx context.Context, holder lock.Contender) error {
			if s.calls.Add(1); holder.ID != "a" || holder.Session == "" {
				t.Errorf("the host of %+v is fenced", holder)
			}
			return fence(s, ctx)
		}
		s.stops = append(s.stops, s.contend(c, untilTold))
	}
	time.Sleep(30 * time.Second) // virtual time
	s.link.cut.Store(true)
	return s
}

// successor expects that the role was a's, and is another's now.
func (s *fencedStage) successor() string {
	s.t.Helper()
	ids := s.active()
	if len(ids) != 2 || ids[0] != "a" {
		s.t.Fatalf("active: %v, want a and then another one", ids)
	}
	return ids[1]
}

// counts are how the fence commands of both ended.
func (s *fencedStage) counts(outcome string) uint64 {
	return s.b.Process().Fences[outcome] + s.c.Process().Fences[outcome]
}

func (s *fencedStage) end() {
	s.link.cut.Store(false)
	for _, stop := range s.stops {
		_ = stop()
	}
}

// TestFence: one standby has the host of a silent active killed, and the role moves at once.
func TestFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFencedStage(t, func(s *fencedStage, _ context.Context) error {
			time.Sleep(300 * time.Millisecond) // until the host is dead
			close(s.dead)
			return nil
		})
		ttl := config("a").Defaults().TTL
		time.Sleep(ttl * 3 / 4)
		by := s.successor()
		if s.calls.Load() != 1 || s.counts("dead") != 1 {
			t.Errorf("the fence command ran %d times, and %d were counted", s.calls.Load(), s.counts("dead"))
		}
		time.Sleep(time.Minute)
		if story := told(t, operator(s.stage)); !strings.Contains(story, by+" began ") || !strings.Contains(story, " fenced (by ") || !strings.Contains(story, ") silent fence notice grant start\n") {
			t.Errorf("the history is %s", story)
		}
		s.end()
	})
}

// TestFenceFails, and a fence command that takes too long: the promise counts, and nothing waits.
func TestFenceFails(t *testing.T) {
	for outcome, fence := range map[string]func(s *fencedStage, ctx context.Context) error{
		"failed": func(*fencedStage, context.Context) error { return errors.New("no such machine") },
		"late":   func(_ *fencedStage, ctx context.Context) error { <-ctx.Done(); return nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newFencedStage(t, fence)
			c := config("a").Defaults()
			time.Sleep(c.TTL * 3 / 4)
			s.want("a")
			time.Sleep(c.TTL / 2)
			s.successor()
			if s.calls.Load() != 1 || s.counts(outcome) != 1 {
				t.Errorf("%s: the fence command ran %d times, and %d were counted", outcome, s.calls.Load(), s.counts(outcome))
			}
			s.end()
		})
	}
}

// TestFenceMoved: who beats again while the fence command runs keeps the role, whatever that says.
func TestFenceMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFencedStage(t, func(s *fencedStage, _ context.Context) error {
			s.link.cut.Store(false)
			time.Sleep(time.Second) // some beats
			return nil
		})
		time.Sleep(time.Minute)
		s.want("a")
		if s.calls.Load() != 1 || s.counts("moved") != 1 {
			t.Errorf("the fence command ran %d times, and %d were counted", s.calls.Load(), s.counts("moved"))
		}
		s.end()
	})
}

// TestFenceNeedsAStore that keeps intents: else nothing is written.
func TestFenceNeedsAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := newStage(t), config("a")
		c.Fence = func(context.Context, lock.Contender) error { return nil }
		l := struct{ lock.Locker }{s.store.Open()}
		if err := Run(t.Context(), l, c, untilTold); err == nil || !strings.Contains(err.Error(), "keeps no intents") {
			t.Errorf("Run: %v", err)
		}
		for st, err := range l.Watch(t.Context(), "r") {
			if err != nil || len(st.Line) != 0 {
				t.Errorf("there is %+v, %v", st.Line, err)
			}
			break
		}
	})
}
