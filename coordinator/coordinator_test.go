package coordinator

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var must = lab.Must

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func config(id string) Config {
	return Config{ID: id, Roles: []lock.Bid{{Role: "r"}}, TTL: 10 * time.Second, Logger: quiet, Now: Virtual}
}

// A stage is a store and the contenders on it, with what their works did.
type stage struct {
	t     *testing.T
	store *memory.Store

	forced bool // a living session is evicted by an operator's word: overlap is theirs

	mu    sync.Mutex
	terms []Term
	ids   []string
	now   map[string]int
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, store: memory.New(), now: map[string]int{}}
}

// contend runs one contender until stop is called, which returns Run's error.
func (s *stage) contend(c Config, work Work) (stop func() error) {
	return s.contendOver(s.store.Open(), c, work)
}

func (s *stage) contendOver(l lock.Locker, c Config, work Work) (stop func() error) {
	ctx, cancel := context.WithCancel(s.t.Context())
	result := make(chan error, 1)
	go func() { result <- Run(ctx, l, c, s.judged(c.ID, work)) }()
	return func() error { cancel(); return <-result }
}

// judged fails the test when two works of a role run at once, or a token does
// not grow.
func (s *stage) judged(id string, work Work) Work {
	return func(ctx context.Context, t Term) error {
		s.mu.Lock()
		if s.now[t.Role]++; s.now[t.Role] > 1 && !s.forced {
			s.t.Errorf("a promise is broken: %s: two active in %s", id, t.Role)
		}
		for _, before := range s.terms {
			if before.Role == t.Role && before.Token >= t.Token {
				s.t.Errorf("a promise is broken: %s: token %d after %d", id, t.Token, before.Token)
			}
		}
		s.terms, s.ids = append(s.terms, t), append(s.ids, id)
		s.mu.Unlock()
		if !t.Valid() {
			s.t.Errorf("a promise is broken: %s: started on a term that is not valid", id)
		}
		err := work(ctx, t)
		s.mu.Lock()
		s.now[t.Role]--
		s.mu.Unlock()
		return err
	}
}

func (s *stage) active() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.ids...)
}

// want fails unless these have been active until now, one after the other.
func (s *stage) want(ids ...string) {
	s.t.Helper()
	if got := s.active(); !slices.Equal(got, ids) {
		s.t.Fatalf("active: %v, want %v", got, ids)
	}
}

func untilTold(ctx context.Context, _ Term) error { <-ctx.Done(); return nil }

// TestHandover stops the active and expects the standby to take over at once.
func TestHandover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		stopA := s.contend(config("a"), untilTold)
		synctest.Wait()
		stopB := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		if got := s.active(); len(got) != 1 || got[0] != "a" {
			t.Fatalf("active: %v, want a alone to have stayed", got)
		}
		at := time.Now()
		if err := stopA(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.want("a", "b")
		if d := time.Since(at); d != 0 {
			t.Errorf("the takeover took %v", d)
		}
		if err := stopB(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCause says why the work's context ended.
func TestCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		causes := make(chan error, 1)
		stop := s.contend(config("a"), func(ctx context.Context, term Term) error {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return nil
		})
		time.Sleep(time.Second)
		stop()
		if cause := <-causes; !errors.Is(cause, ErrStopping) {
			t.Errorf("cause: %v", cause)
		}
	})
}

// TestWorkThatEndsItsGoroutine: work that does not return, and is over all the same, has failed.
func TestWorkThatEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, s.store.Open(), config("a"), func(context.Context, Term) error {
				runtime.Goexit()
				return nil
			})
		}()
		synctest.Wait()
		stop := s.contend(config("b"), untilTold)
		time.Sleep(time.Minute)
		s.want("b")
		must(t, stop())
		cancel()
		must(t, <-ended)
	})
}
