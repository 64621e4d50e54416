package fencing_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var must = lab.Must

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantStale fails unless err is a *StaleError of role r with these tokens.
func wantStale(t testing.TB, err error, token, current lock.Token) {
	t.Helper()
	var stale *fencing.StaleError
	if !errors.As(err, &stale) || *stale != (fencing.StaleError{Role: "r", Token: token, Current: current}) || !errors.Is(err, fencing.ErrStale) {
		t.Fatalf("got %v, want token %d refused for %d", err, token, current)
	}
}

// TestGateOvertakes: a request that was let in and stalls does not act after one under a
// greater token has begun.
func TestGateOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fencing.NewGate(&fencing.Memory{}, "r")
		old, leaveOld, err := gate.Enter(t.Context(), "r", 5)
		must(t, err)
		also, leaveAlso, err := gate.Enter(t.Context(), "r", 5) // its own term's run side by side
		must(t, err)
		entered := make(chan func())
		go func() {
			_, leave, err := gate.Enter(t.Context(), "r", 6)
			if err != nil {
				t.Error(err)
			}
			entered <- leave
		}()
		synctest.Wait()
		wantStale(t, context.Cause(old), 5, 6)
		wantStale(t, context.Cause(also), 5, 6)
		_, _, err = gate.Enter(t.Context(), "r", 5)
		wantStale(t, err, 5, 6)
		leaveOld()
		leaveOld() // may be repeated
		synctest.Wait()
		select {
		case <-entered:
			t.Fatal("the greater token entered while a request under a smaller one was inside")
		default:
		}
		leaveAlso()
		(<-entered)()
		_, _, err = gate.Enter(t.Context(), "r", 5)
		wantStale(t, err, 5, 6)
	})
}

// TestGateWaitsNoLongerThanItsContext: the smaller token stays refused all the same.
func TestGateWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fencing.NewGate(&fencing.Memory{})
		_, leave, err := gate.Enter(t.Context(), "r", 5)
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err = gate.Enter(ctx, "r", 6); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the deadline", err)
		}
		leave()
		_, _, err = gate.Enter(t.Context(), "r", 5)
		wantStale(t, err, 5, 6)
		_, leave, err = gate.Enter(t.Context(), "r", 6)
		must(t, err)
		leave()
	})
}

// slow Tokens answer only when they are told to.
type slow struct {
	fencing.Memory
	hold chan struct{}
}

func (s *slow) Raise(ctx context.Context, role string, t lock.Token) error {
	err := s.Memory.Raise(ctx, role, t)
	if t == 5 {
		<-s.hold
	}
	return err
}

// TestGateAsksThenLooksAgain: the Tokens said yes, and a greater token came before the
// request was inside.
func TestGateAsksThenLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := &slow{hold: make(chan struct{})}
		gate := fencing.NewGate(tokens)
		got := make(chan error)
		go func() {
			_, _, err := gate.Enter(t.Context(), "r", 5)
			got <- err
		}()
		synctest.Wait()
		_, leave, err := gate.Enter(t.Context(), "r", 6)
		must(t, err)
		close(tokens.hold)
		wantStale(t, <-got, 5, 6)
		leave()
	})
}

// TestGateRefuses what it does not guard, and what is none. Roles do not meet.
func TestGateRefuses(t *testing.T) {
	gate := fencing.NewGate(&fencing.Memory{}, "r", "s")
	for _, c := range []struct {
		role  string
		token lock.Token
		want  error
	}{{"other", 1, fencing.ErrRole}, {"", 1, lock.ErrPermanent}, {"r", 0, lock.ErrPermanent}} {
		if _, _, err := gate.Enter(t.Context(), c.role, c.token); !errors.Is(err, c.want) {
			t.Errorf("%q, %d: %v, want %v", c.role, c.token, err, c.want)
		}
	}
	_, leave, err := gate.Enter(t.Context(), "r", 9)
	must(t, err)
	defer leave()
	_, leave, err = gate.Enter(t.Context(), "s", 1)
	must(t, err)
	leave()
}

func TestStaleErrorSaysWhatStands(t *testing.T) {
	for current, want := range map[lock.Token]string{0: "has no record", 7: "its term is over", 9: "the current one is 9"} {
		err := &fencing.StaleError{Role: "r", Token: 7, Current: current}
		if text := err.Error(); !strings.Contains(text, want) || !strings.Contains(text, `role "r", token 7`) {
			t.Errorf("current %d: %s", current, text)
		}
	}
}

func TestParse(t *testing.T) {
	role, token, err := fencing.Parse(fencing.FormatRole("Ablösung/ 1%"), fencing.FormatToken(1<<63))
	if err != nil || role != "Ablösung/ 1%" || token != 1<<63 {
		t.Fatalf("%q, %d, %v", role, token, err)
	}
	for field, long := range map[string][2]string{
		fencing.RoleHeader: {strings.Repeat("x", 1<<20), "1"}, fencing.TokenHeader: {"r", strings.Repeat("0", 1<<20) + "1"},
	} { // nothing of it is repeated
		if _, _, err := fencing.Parse(long[0], long[1]); !errors.Is(err, lock.ErrPermanent) || !strings.HasPrefix(err.Error(), field) || len(err.Error()) > 100 {
			t.Errorf("%.200v", err)
		}
	}
	if role, _, err := fencing.Parse(fencing.FormatRole(strings.Repeat("%", lock.MaxName)), "00000000000000000001"); err != nil || len(role) != lock.MaxName {
		t.Errorf("%q, %v", role, err)
	}
	for _, bad := range [][2]string{{"%", "1"}, {"", "1"}, {"r", ""}, {"r", "0"}, {"r", "-1"}, {"r", "1.0"}, {"%00", "1"}} {
		if _, _, err := fencing.Parse(bad[0], bad[1]); !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%q: %v, want ErrPermanent", bad, err)
		}
	}
}

func TestContext(t *testing.T) {
	if role, token := fencing.FromContext(t.Context()); role != "" || token != 0 {
		t.Fatal(role, token)
	}
	if role, token := fencing.FromContext(fencing.NewContext(t.Context(), "r", 3)); role != "r" || token != 3 {
		t.Fatal(role, token)
	}
}

// TestContextOfAWork looks for the token of the work that a context was made for.
func TestContextOfAWork(t *testing.T) {
	l := memory.New().Open()
	defer l.Close()
	c := coordinator.Config{ID: "a", Roles: []lock.Bid{{Role: "r"}}, Logger: slog.New(slog.DiscardHandler)}
	err := coordinator.Run(t.Context(), l, c, func(ctx context.Context, term coordinator.Term) error {
		if role, token := fencing.FromContext(ctx); role != "r" || token != term.Token {
			t.Errorf("role %q, token %d; want %d", role, token, term.Token)
		}
		return nil
	})
	must(t, err)
}
