package object_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var errLost = errors.New("lost")

// A process is one that reaches the object.
type process struct {
	*testing.T
	lock.Locker
	client *objectmem.Client
}

func open(t *testing.T, s *objectmem.Server) process {
	c := s.Open()
	l := object.Open(c, limit)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return process{t, l, c}
}

// in runs a test in a bubble, with time for it.
func in(t *testing.T, test func(t *testing.T, ctx context.Context)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		test(t, ctx)
	})
}

func (p process) register(ctx context.Context, id string) lock.Session {
	p.Helper()
	s, err := p.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID("session of " + id)}, lock.Promise{TTL: 10 * time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
	if err != nil {
		p.Fatalf("register %s: %v", id, err)
	}
	return s
}

func (p process) acquire(ctx context.Context, s lock.Session, role string) lock.Token {
	p.Helper()
	token, err := s.TryAcquire(ctx, role)
	if err != nil {
		p.Fatalf("acquire %s: %v", role, err)
	}
	return token
}

// standing is the first that the process is shown.
func (p process) standing(ctx context.Context, role string) (lock.Standing, error) {
	for st, err := range p.Watch(ctx, role) {
		return st, err
	}
	return lock.Standing{}, ctx.Err()
}

// on has one call of a name fail, by its number.
func (p process) on(name string, number int, f kvmem.Fault) {
	p.client.On(func(c objectmem.Call) (all objectmem.Fault) {
		if c.Name == name && c.Number == number {
			all.Fault = f
		}
		return all
	})
}

// TestCallsThatWaitGoTogether: a hundred calls of one process, made at once, are few writes.
func TestCallsThatWaitGoTogether(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := open(t, server)
		p.client.On(func(objectmem.Call) objectmem.Fault {
			return objectmem.Fault{Fault: kvmem.Delay(5*time.Millisecond, 5*time.Millisecond)}
		})
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { p.register(ctx, fmt.Sprint(i)) })
		}
		all.Wait()
		if n := server.Puts(); n > 3 {
			t.Errorf("%d writes for 100 calls at once, want a few", n)
		}
	})
}

// TestManyWritersAtOnce: of twenty processes that write at once each is through within its time,
// and they do not get into each other's way again and again.
func TestManyWritersAtOnce(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server, begun := objectmem.New(), time.Now()
		var all sync.WaitGroup
		tries := make([]int, 20)
		for i := range tries {
			p := open(t, server)
			p.client.On(func(c objectmem.Call) objectmem.Fault {
				if c.Name == "Put" {
					tries[i] = c.Number
				}
				return objectmem.Fault{Fault: kvmem.Delay(time.Millisecond, time.Millisecond)}
			})
			all.Go(func() { p.register(ctx, fmt.Sprint(i)) })
		}
		all.Wait()
		n := 0
		for _, one := range tries {
			n += one
		}
		t.Logf("%d tries in %v", n, time.Since(begun))
		if took := time.Since(begun); server.Puts() != 20 || n > 120 || took > 250*time.Millisecond {
			t.Errorf("20 writers at once: %d writes, %d tries, %v, want 20, at most 120, at most 250ms", server.Puts(), n, took)
		}
	})
}

// TestLost loses one request or one reply after another: every call is answered all the same, and
// has taken effect once.
func TestLost(t *testing.T) {
	for what, fault := range map[string]kvmem.Fault{"request": kvmem.Fail(errLost), "reply": kvmem.Lose(errLost)} {
		for n := 1; n <= 7; n++ {
			in(t, func(t *testing.T, ctx context.Context) {
				server := objectmem.New()
				p := open(t, server)
				p.on("Put", n, fault)
				a, b := p.register(ctx, "a"), p.register(ctx, "b")
				first := p.acquire(ctx, a, "r")
				if err := a.Handoff(ctx, "r", first, b.ID()); err != nil {
					t.Fatal(err)
				}
				second := p.acquire(ctx, b, "r")
				if err := errors.Join(b.Beat(ctx), b.Release(ctx, "r", second)); err != nil {
					t.Fatal(err)
				}
				third := p.acquire(ctx, a, "r")
				if second != first+1 || third != second+4 || server.Puts() != 8 { // the acquire, the beat and the release are commands, too
					t.Errorf("%s %d is lost: tokens %d, %d, %d, %d writes; want one after the other, and 8", what, n, first, second, third, server.Puts())
				}
			})
		}
	}
}

// TestLostAmongMany: so many others write after a reply was lost that nobody can say what became
// of the call. Then it is unknown.
func TestLostAmongMany(t *testing.T) {
	for others, want := range map[int]lock.Outcome{5: lock.OK, 40: lock.Unknown} {
		in(t, func(t *testing.T, ctx context.Context) {
			server := objectmem.New()
			p, q := open(t, server), open(t, server)
			a, b := p.register(ctx, "a"), q.register(ctx, "b")
			p.on("Put", 2, kvmem.Fault{After: func(context.Context) error {
				for range others {
					if err := b.Beat(ctx); err != nil {
						return err
					}
				}
				return errLost
			}})
			if err := a.Beat(ctx); lock.OutcomeOf(err) != want {
				t.Errorf("%d others wrote after a reply was lost: %v, want %v", others, err, want)
			}
		})
	}
}

// TestLostAndStale: who asks an old copy what became of a call whose reply was lost learns nothing from it.
func TestLostAndStale(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := open(t, server)
		a := p.register(ctx, "a")
		if err := errors.Join(a.Beat(ctx), a.Beat(ctx)); err != nil {
			t.Fatal(err)
		}
		lost, stale := false, 3
		p.client.On(func(c objectmem.Call) (f objectmem.Fault) {
			switch {
			case c.Name == "Put" && !lost:
				f.Fault, lost = kvmem.Lose(errLost), true
			case c.Name == "Put":
				f.Dumb = true
			case c.Name == "Get" && lost && stale > 0:
				f.Stale, stale = 2, stale-1
			}
			return f
		})
		token := p.acquire(ctx, a, "r")
		if stale != 0 {
			t.Errorf("%d of the old copies were not read", stale)
		}
		if st, err := open(t, server).standing(ctx, "r"); err != nil || st.Term.Token != token {
			t.Errorf("acquired with token %d, and the term has %d, %v", token, st.Term.Token, err)
		}
	})
}

// TestStaleReads: a process that is shown what is old acts on nothing of it, and takes it for
// no store that was put back.
func TestStaleReads(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p, q := open(t, server), open(t, server)
		a := p.register(ctx, "a")
		first := p.acquire(ctx, a, "r")
		b := q.register(ctx, "b")
		q.client.On(func(objectmem.Call) objectmem.Fault { return objectmem.Fault{Stale: 5, Dumb: true} })
		if err := a.Release(ctx, "r", first); err != nil {
			t.Fatal(err)
		}
		second := p.acquire(ctx, a, "r")
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for st, err := range q.Watch(short, "r") {
			if err == nil && st.Term.Token != 0 && st.Term.Token < first {
				t.Errorf("a watch shows token %d", st.Term.Token)
			}
		}
		if _, err := b.TryAcquire(short, "r"); lock.OutcomeOf(err) != lock.Unknown {
			t.Errorf("an acquisition on what is old: %v, want an unknown outcome", err)
		}
		q.client.On(nil)
		var held *lock.HeldError
		for errors.Is(ctx.Err(), nil) {
			if _, err := b.TryAcquire(ctx, "r"); errors.As(err, &held) || !errors.Is(err, lock.ErrMoved) {
				break
			}
		}
		if held == nil || held.Token != second {
			t.Errorf("held: %+v, want token %d", held, second)
		}
	})
}

// TestDeletedByHand: tokens do not come back, and who has seen the old object refuses the new one.
func TestDeletedByHand(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := open(t, server)
		a := p.register(ctx, "a")
		first := p.acquire(ctx, a, "r")
		server.Edit(func([]byte) []byte { return nil })
		if err := a.Beat(ctx); !errors.Is(err, lock.ErrOtherStore) || server.Value().Version != "" {
			t.Errorf("a beat where the object is gone: %v, want ErrOtherStore and nothing written", err)
		}
		q := open(t, server)
		b := q.register(ctx, "b")
		if second := q.acquire(ctx, b, "r"); second <= first {
			t.Errorf("token %d of a new object after %d of the one that was deleted", second, first)
		}
		before := server.Puts()
		if err := a.Beat(ctx); !errors.Is(err, lock.ErrOtherStore) || server.Puts() != before {
			t.Errorf("a beat in another object: %v, want ErrOtherStore and nothing written", err)
		}
		for _, err := range p.Watch(ctx, "r") { // news may be on their way
			if err != nil {
				if !errors.Is(err, lock.ErrOtherStore) {
					t.Errorf("a watch of another object: %v, want ErrOtherStore", err)
				}
				break
			}
		}
		if ctx.Err() != nil {
			t.Error("a watch does not say that this is another object")
		}
	})
}

// TestForeign: what is not ours, or newer than we know, is named and left as it is.
func TestForeign(t *testing.T) {
	for text, want := range map[string]error{
		"hello":                  object.ErrForeign,
		`{"holder":"somebody"}`:  object.ErrForeign,
		`{"Store":"understudy"}`: object.ErrForeign,
		`{"Store":"understudy","Format":1,"Ledger":7}`:      object.ErrForeign,
		`{"Store":"understudy","Format":2,"Ledger":"what"}`: object.ErrNewer,
	} {
		in(t, func(t *testing.T, ctx context.Context) {
			server := objectmem.New()
			server.Edit(func([]byte) []byte { return []byte(text) })
			p := open(t, server)
			_, err := p.Register(ctx, lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second, Skew: time.Millisecond})
			_, seen := p.standing(ctx, "r")
			for _, err := range []error{err, seen} {
				if !errors.Is(err, want) || !errors.Is(err, lock.ErrPermanent) {
					t.Errorf("%s: %v, want %v", text, err, want)
				}
			}
			if string(server.Value().Data) != text {
				t.Errorf("%s was overwritten with %s", text, server.Value().Data)
			}
		})
	}
}

// TestTooLarge: what the store would not take is refused before it is sent, and whoever is there
// goes on and can end.
func TestTooLarge(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := process{t, object.Open(server.Open(), 8<<10), nil}
		defer p.Close()
		a := p.register(ctx, "a")
		token := p.acquire(ctx, a, "r")
		big := lock.Contender{ID: "b", Session: "session of b", Labels: lab.Labels(12)}
		var errs [3]error
		var all sync.WaitGroup
		for i := range errs { // two of them fit, made together or not
			all.Go(func() {
				c := big
				c.ID, c.Session = fmt.Sprint(i), lock.SessionID(fmt.Sprint("session ", i))
				_, errs[i] = p.Register(ctx, c, lock.Promise{TTL: time.Second, Skew: time.Millisecond})
			})
		}
		all.Wait()
		if err := errors.Join(errs[:]...); !errors.Is(err, object.ErrTooLarge) || !errors.Is(err, lock.ErrPermanent) || strings.Count(err.Error(), "too large") != 2 {
			t.Errorf("three that are too large together: %v, want two to be refused", err)
		}
		if n := len(server.Value().Data); n > 8<<10 {
			t.Errorf("the object has %d bytes", n)
		}
		if err := errors.Join(a.Beat(ctx), a.Release(ctx, "r", token), a.Close(ctx)); err != nil {
			t.Errorf("who is there already: %v", err)
		}
	})
}

// TestWhatIsOverIsBounded: ends and events take so many bytes, however many there are.
func TestWhatIsOverIsBounded(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p := open(t, server)
		long := strings.Repeat("y", 200)
		for i := range 400 {
			s := p.register(ctx, fmt.Sprint(i))
			event := lock.Event{At: time.Now(), By: "a", Kind: lock.Began, Token: lock.Token(i), Detail: long}
			if err := p.Locker.(lock.Operator).Record(ctx, fmt.Sprint("r", i%40), event); err != nil {
				t.Fatal(err)
			}
			if err := p.Evict(ctx, s.ID(), lock.AnyBeat, lock.End{By: "me", Why: long}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(server.Value().Data); n > 60<<10 {
			t.Errorf("the object has %d bytes", n)
		}
		if _, err := p.Register(ctx, lock.Contender{ID: "399", Session: "session of 399"}, lock.Promise{TTL: time.Second, Skew: time.Millisecond}); !errors.Is(err, lock.ErrLost) {
			t.Errorf("the session that was ended last registers again: %v, want ErrLost", err)
		}
		if !json.Valid(server.Value().Data) {
			t.Error("the object is not JSON")
		}
	})
}
