package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/understudy-ha/understudy/lock"
)

func registerAgain(t *trial) {
	l, role, c := t.open(), t.named("r"), t.contender("a")
	t.register(l, c, lock.Bid{Role: role})
	before := beatOf(t.look(l, role), c.Session)
	s := t.register(l, c, lock.Bid{Role: role})
	st := t.look(l, role)
	if after := beatOf(st, c.Session); after == before || after == lock.Absent {
		t.errorf("the beat was %d before the second registration of one session, and is %d", before, after)
	}
	if len(st.Line) != 1 {
		t.errorf("the line is %+v, want one session", st.Line)
	}
	t.acquire(s, role)
}

func registerClaimed(t *trial) {
	l, role, c := t.open(), t.named("r"), t.contender("a")
	first := t.register(l, c, lock.Bid{Role: role})
	second := c
	second.Session, second.Address = nonce(), "second.example:2"
	far := t.open()
	err := t.known("register", func(ctx context.Context) error {
		_, err := far.Register(ctx, second, t.promise(), lock.Bid{Role: role})
		return err
	})
	var held *lock.HeldError
	if !errors.As(err, &held) {
		t.fatalf("register an ID that another uses: %s, want a *lock.HeldError", outcome(err))
	}
	if held.Name != c.ID || held.Holder.Session != c.Session || held.Holder.Address != c.Address || held.Token != 0 ||
		held.Holder.Promise != t.promise() || held.Holder.Beat != beatOf(t.look(l, role), c.Session) {
		t.errorf("the error says %+v, want session %q at %s, its promise and its beat", held, c.Session, c.Address)
	}
	t.beat(first)
	if st := t.look(far, role); len(st.Line) != 1 || st.Line[0].Session != c.Session {
		t.errorf("the line is %+v, want the first registration alone", st.Line)
	}
	t.end(first)
	t.register(far, second, lock.Bid{Role: role})
	if st := t.look(far, role); len(st.Line) != 1 || st.Line[0].Session != second.Session {
		t.errorf("the line is %+v, want the second registration alone, after the end of the first", st.Line)
	}
}

func registerClaimGone(t *trial) {
	l, role, c := t.open(), t.named("r"), t.contender("a")
	first := t.register(l, c, lock.Bid{Role: role})
	t.must("delete the session's record", func(ctx context.Context) error { return t.store.DeleteSession(ctx, c.Session) })
	c.Session = nonce()
	second := t.register(l, c, lock.Bid{Role: role})
	t.want(lock.ErrLost, "beat of the first session", func(ctx context.Context) error { return first.Beat(ctx) })
	t.end(first) // and its end leaves the claim to the second
	t.beat(second)
	c.Session = nonce()
	t.want(lock.ErrHeld, "register a third time", func(ctx context.Context) error {
		_, err := l.Register(ctx, c, t.promise(), lock.Bid{Role: role})
		return err
	})
}

// registerEnded lets registrations arrive when their session's end is written: they were in
// flight for long, and bring nothing back.
func registerEnded(t *trial) {
	role := t.named("r")
	l := t.open()
	late := t.contender("a")
	t.must("evict a session that nobody knows", func(ctx context.Context) error {
		return l.Evict(ctx, late.Session, lock.Absent, lock.End{By: "the suite", Why: "never seen"})
	})
	evicted, closed := t.contender("b"), t.contender("c")
	t.register(l, evicted, lock.Bid{Role: role})
	t.evict(l, role, evicted.Session)
	t.end(t.register(l, closed, lock.Bid{Role: role}))
	for _, c := range []lock.Contender{late, evicted, closed} {
		t.want(lock.ErrLost, "register a session whose end is written", func(ctx context.Context) error {
			_, err := l.Register(ctx, c, t.promise(), lock.Bid{Role: role})
			return err
		})
		if st := t.look(l, role); len(st.Line) != 0 {
			t.errorf("a session that has ended is in line: %+v", st.Line)
		}
		c.Session = nonce()
		t.end(t.register(l, c, lock.Bid{Role: role})) // and its ID is free
	}
}

// registerRace has ten processes register one ID at once.
func registerRace(t *trial) {
	role := t.named("r")
	l := t.open()
	for range 5 {
		var mu sync.Mutex
		var in []lock.Session
		t.together(10, func(int) {
			c := t.contender("a")
			var s lock.Session
			err := t.known("register", func(ctx context.Context) (err error) {
				s, err = l.Register(ctx, c, t.promise(), lock.Bid{Role: role})
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in = append(in, s)
			case !errors.Is(err, lock.ErrHeld):
				t.errorf("register beside others: %v", err)
			}
		})
		if st := t.look(l, role); len(in) != 1 || len(st.Line) != 1 {
			t.fatalf("%d of ten processes with one ID were registered, and the line is %+v; want one", len(in), st.Line)
		}
		t.end(in[0])
	}
}

func lineOrder(t *trial) {
	role, other := t.named("r"), t.named("s")
	l := t.open()
	want := func(when string, ids ...string) {
		var got, wanted []string
		for _, m := range t.look(l, role).Line {
			got = append(got, m.ID)
		}
		for _, id := range ids {
			wanted = append(wanted, t.named(id))
		}
		if fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.errorf("%s the line is %q, want %q", when, got, wanted)
		}
	}
	sessions := map[string]lock.Session{}
	for _, m := range []lock.Member{{Contender: t.contender("low")}, {Contender: t.contender("x"), Priority: 5}, {Contender: t.contender("high"), Priority: 9}, {Contender: t.contender("y"), Priority: 5}, {Contender: t.contender("below"), Priority: -1}} {
		sessions[m.Address] = t.register(l, m.Contender, lock.Bid{Role: role, Priority: m.Priority})
	}
	t.join(l, "elsewhere", other)
	want("at first", "high", "x", "y", "low", "below")
	for _, s := range sessions {
		t.beat(s)
	}
	want("after beats", "high", "x", "y", "low", "below")
	x := sessions["x.example:1"]
	t.must("bid more", func(ctx context.Context) error { return x.Beat(ctx, lock.Bid{Role: role, Priority: 10}) })
	want("after x bids more", "x", "high", "y", "low", "below")
	t.must("bid elsewhere", func(ctx context.Context) error { return sessions["y.example:1"].Beat(ctx, lock.Bid{Role: other}) })
	want("after y left", "x", "high", "low", "below")
	t.acquire(sessions["low.example:1"], role)
	want("behind a holder", "x", "high", "below")
	t.end(sessions["high.example:1"])
	want("after one closed", "x", "below")
}

func beatDiffers(t *trial) {
	l, role := t.open(), t.named("r")
	s := t.join(l, "a", role)
	seen := map[lock.Beat]bool{lock.Absent: true, beatOf(t.look(l, role), s.ID()): true}
	for i := range 30 {
		if i%3 == 0 { // others write in between
			t.beat(t.join(l, fmt.Sprint(i), role))
		}
		if err := t.one(func(ctx context.Context) error { return s.Beat(ctx) }); err != nil {
			continue // it may have taken effect
		}
		b := beatOf(t.look(l, role), s.ID())
		if seen[b] {
			t.fatalf("beat %d was there before", b)
		}
		seen[b] = true
	}
}

// beatReplyLost lets a beat be committed whose caller never hears of it, unless the beat awaits
// another reply first. What the next one reports must be its own.
func beatReplyLost(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	s := t.join(near, "a", role)
	for range 3 {
		before := beatOf(t.look(far, role), s.ID())
		t.network("cut replies", near.CutReplies)
		ctx, cancel := context.WithTimeout(t.ctx, t.TTL/2)
		err := s.Beat(ctx)
		cancel()
		if isKnown(err) {
			t.errorf("a beat without a reply: %s, want an error without a name", outcome(err))
		}
		t.pause(t.passing())
		lost := beatOf(t.look(far, role), s.ID()) // the old one, if a beat reads first and so was not sent
		t.network("heal", near.Heal)
		t.beat(s)
		if after := beatOf(t.look(near, role), s.ID()); after == lost || after == before {
			t.errorf("a beat was acknowledged, and the record still stands at %d", after)
		}
	}
}

func beatLost(t *trial) {
	l, role := t.open(), t.named("r")
	for _, end := range []func(s lock.Session){
		func(s lock.Session) { t.evict(t.open(), role, s.ID()) },
		t.end,
	} {
		s := t.join(l, "a", role)
		end(s)
		for i := range 6 {
			var bids []lock.Bid
			if i%2 == 1 {
				bids = []lock.Bid{{Role: role, Priority: i}}
			}
			t.want(lock.ErrLost, "beat after the end", func(ctx context.Context) error { return s.Beat(ctx, bids...) })
			if st := t.look(l, role); beatOf(st, s.ID()) != lock.Absent {
				t.fatalf("a late beat brought a session back: %+v", st)
			}
		}
		again := t.join(l, "a", role) // a late beat does not hit the next session of the contender
		before := beatOf(t.look(l, role), again.ID())
		t.want(lock.ErrLost, "beat after the next registration", func(ctx context.Context) error { return s.Beat(ctx) })
		if after := beatOf(t.look(l, role), again.ID()); after != before {
			t.errorf("a beat of a session that has ended moved that of its contender's next one")
		}
		t.end(again)
	}
}

// beatWhileEvicted lets beats and evictions of one session race: one of them wins.
func beatWhileEvicted(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	for range 20 {
		s := t.join(near, "a", role)
		beaten, evicted := t.beside(far, s, beatOf(t.look(near, role), s.ID()), func() error {
			return t.one(func(ctx context.Context) error { return s.Beat(ctx) })
		})
		switch {
		case evicted != nil && !errors.Is(evicted, lock.ErrMoved):
			t.errorf("evict beside a beat: %v, want nil or ErrMoved", evicted)
		case evicted != nil && errors.Is(beaten, lock.ErrLost):
			t.errorf("neither the beat nor the eviction won: %v, %v", beaten, evicted)
		case evicted == nil && beaten == nil:
			t.errorf("a beat was acknowledged, and the beat before it was evicted")
		case evicted == nil:
			t.want(lock.ErrLost, "beat after the eviction", func(ctx context.Context) error { return s.Beat(ctx) })
		}
		t.end(s)
	}
}
