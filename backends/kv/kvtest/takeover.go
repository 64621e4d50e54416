package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/takeover"
	"github.com/understudy-ha/understudy/lock"
)

var must = lab.Must

// long is a promise that no test waits for.
var long = lock.Promise{TTL: time.Hour, Skew: time.Minute}

// join registers a contender under a session ID of its own.
func join(ctx context.Context, t testing.TB, l lock.Locker, id string) lock.Session {
	t.Helper()
	s, err := l.Register(ctx, lock.Contender{ID: id, Session: lock.SessionID(rand.Text())}, long, lock.Bid{Role: "r"})
	must(t, err)
	return s
}

// see has a Locker read the line, in which the session stands.
func see(ctx context.Context, t testing.TB, l lock.Locker, id lock.SessionID) {
	t.Helper()
	for st, err := range l.Watch(ctx, "r") {
		if err == nil && slices.ContainsFunc(st.Line, func(m lock.Member) bool { return m.Session == id }) {
			return
		}
	}
	t.Fatal("the session is not in line")
}

// takesOver expects a takeover to read nothing: what is followed says all. So it is
// after a stop and after an eviction.
func takesOver(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p := takeover.New(ctx, t, open)
	stop := func(ctx context.Context) error { return p.Holder.Close(ctx) } // whoever holds it by then
	evict := func(ctx context.Context) error {
		return p.Active.Evict(ctx, p.Holder.ID(), lock.AnyBeat, lock.End{By: "the test"})
	}
	for i := range 10 {
		what, end := "stop", stop
		if i%2 == 1 {
			what, end = "eviction", evict
		}
		if i == 5 { // also when the role was paused once: the first pause in a store is read by all
			for _, pause := range []lock.Pause{{By: "the test"}, {}} {
				must(t, p.Active.(lock.Operator).Pause(ctx, "r", pause))
			}
		}
		token := p.Stage()
		m := p.Move(token, end)
		if m.Whole != 0 || m.OfOneRole != 0 {
			t.Errorf("%s: the standby read everything %d times until it saw the end, and the role %d times to take it, want none", what, m.Whole, m.OfOneRole)
		}
		if m.Token <= token {
			t.Errorf("%s: token %d after %d", what, m.Token, token)
		}
		p.Over()
	}
}

// evicts expects a Locker that has read the line to end a session without reading
// anything, whichever beat is there by then; and where what it read no longer holds, to
// end the session all the same.
func evicts(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	prefix := "evicts/" + rand.Text()
	var reads takeover.Reads
	own, witness, hand := kv.NewLocker(open(), prefix), kv.NewLocker(reads.Through(open()), prefix), kv.NewHand(open(), prefix)
	t.Cleanup(func() { must(t, own.Close()); must(t, witness.Close()); must(t, hand.Close()) })
	nothing := func(context.Context, lock.SessionID) error { return nil }
	for what, change := range map[string]func(context.Context, lock.SessionID) error{
		"":                   nothing,
		"its record is gone": hand.DeleteSession,
		"its lease is gone":  hand.RevokeLease,
		"it has ended": func(ctx context.Context, id lock.SessionID) error {
			return own.Evict(ctx, id, lock.AnyBeat, lock.End{By: "another"})
		},
	} {
		s := join(ctx, t, own, "a")
		see(ctx, t, witness, s.ID())
		must(t, s.Beat(ctx))
		must(t, change(ctx, s.ID()))
		before := reads.Whole.Load() + reads.OfOneRole.Load()
		must(t, witness.Evict(ctx, s.ID(), lock.AnyBeat, lock.End{By: "the witness"}))
		if n := reads.Whole.Load() + reads.OfOneRole.Load() - before; what == "" && n != 0 {
			t.Errorf("an eviction by one who had read the session read %d times more", n)
		}
		if err := s.Beat(ctx); !errors.Is(err, lock.ErrLost) {
			t.Errorf("a beat after an eviction (%s) says %v, want ErrLost", what, err)
		}
		if _, err := own.Register(ctx, lock.Contender{ID: "a", Session: s.ID()}, long, lock.Bid{Role: "r"}); !errors.Is(err, lock.ErrLost) {
			t.Errorf("a registration that comes after the eviction (%s) says %v, want ErrLost: the end is not there", what, err)
		}
	}
}
