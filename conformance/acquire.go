package conformance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

func acquireFree(t *trial) {
	l, role, c := t.open(), t.named("r"), t.contender("a")
	s := t.register(l, c, lock.Bid{Role: role, Priority: 7})
	token := t.acquire(s, role)
	for _, other := range []lock.Locker{l, t.open()} {
		st := t.await(other, role, "the term that was acquired", holds(token))
		h := st.Term.Holder
		if h.Session != s.ID() || h.ID != c.ID || h.Address != c.Address || fmt.Sprint(h.Labels) != fmt.Sprint(c.Labels) {
			t.errorf("the holder is %+v, want %+v", h.Contender, c)
		}
		if h.Promise != t.promise() || h.Beat == lock.Absent {
			t.errorf("the holder's promise is %+v and its beat %d, want %+v and any", h.Promise, h.Beat, t.promise())
		}
		if len(st.Line) != 0 {
			t.errorf("the line is %+v, want nobody beside the holder", st.Line)
		}
		if st.Floor < token {
			t.errorf("the floor is %d below the token %d", st.Floor, token)
		}
	}
}

func acquireHeld(t *trial) {
	role := t.named("r")
	a, b := t.join(t.open(), "a", role), t.join(t.open(), "b", role)
	token := t.acquire(a, role)
	err := t.refused(b, role)
	var held *lock.HeldError
	if !errors.As(err, &held) {
		t.fatalf("acquire a held role: %s, want a *lock.HeldError", outcome(err))
	}
	if held.Name != role || held.Holder.Session != a.ID() || held.Holder.ID != t.named("a") || held.Token != token {
		t.errorf("the error says %+v, want session %q and token %d", held, a.ID(), token)
	}
	if again := t.acquire(a, role); again != token {
		t.errorf("the holder's token was %d and is %d", token, again)
	}
}

func acquireAgain(t *trial) {
	l, role := t.open(), t.named("r")
	a, b := t.join(l, "a", role), t.join(l, "b", role)
	token := t.acquire(a, role)
	t.together(10, func(int) {
		if again := t.acquire(a, role); again != token {
			t.errorf("the token of the term that the session holds is %d and now %d", token, again)
		}
	})
	t.must("hand off", func(ctx context.Context) error { return a.Handoff(ctx, role, token, b.ID()) })
	if named := t.acquire(b, role); named <= token {
		t.errorf("the successor's token is %d, want more than %d", named, token)
	}
}

// acquireRace has 5 contenders try 10 times each at once, over and over.
func acquireRace(t *trial) {
	role := t.named("r")
	var sessions []lock.Session
	for i := range 5 {
		sessions = append(sessions, t.join(t.open(), fmt.Sprint(i), role))
	}
	var last lock.Token
	for range 5 {
		var mu sync.Mutex
		won := map[int]lock.Token{}
		t.together(50, func(i int) {
			s := sessions[i%5]
			var token lock.Token
			err := t.known("acquire", func(ctx context.Context) (err error) { token, err = s.TryAcquire(ctx, role); return err })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && won[i%5] != 0 && won[i%5] != token:
				t.errorf("one session holds two terms: %d and %d", won[i%5], token)
			case err == nil:
				won[i%5] = token
			case !errors.Is(err, lock.ErrHeld) && !errors.Is(err, lock.ErrMoved):
				t.errorf("acquire beside others: %v", err)
			}
		})
		if len(won) > 1 {
			t.fatalf("two contenders hold one role: %v", won)
		}
		for i, token := range won {
			if token <= last {
				t.errorf("token %d after %d", token, last)
			}
			last = token
			t.release(sessions[i], role, token)
		}
	}
	if last == 0 {
		t.errorf("of 250 tries to acquire a role that nobody held none won")
	}
}

// acquireEnded tests the store alone: if a session without a record is granted a role, still no
// two work at once, because every work checks its deadline.
func acquireEnded(t *trial) {
	role := t.named("r")
	l := t.open()
	ends := map[string]func(s lock.Session){
		"evicted": func(s lock.Session) { t.evict(t.open(), role, s.ID()) },
		"closed":  t.end,
	}
	for how, end := range ends {
		before := t.look(l, role).Term.Token
		s := t.join(l, how, role)
		end(s)
		token, err := lock.Token(0), error(nil)
		err = t.known("acquire", func(ctx context.Context) (err error) { token, err = s.TryAcquire(ctx, role); return err })
		if !errors.Is(err, lock.ErrLost) {
			t.errorf("a session that was %s acquires: token %d and %s, want ErrLost", how, token, outcome(err))
		}
		if now := t.look(l, role).Term; now.Token != before || now.Holder.Session == s.ID() {
			t.errorf("a session that was %s was granted the term %+v", how, now)
		}
	}
}

// acquireCancelled gives up in the middle of acquisitions: what is left can always be settled,
// and blocks nobody.
func acquireCancelled(t *trial) {
	role := t.named("r")
	l := t.open()
	a, b := t.join(l, "a", role), t.join(t.open(), "b", role)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.ctx, time.Duration(i)*50*time.Microsecond)
		token, err := a.TryAcquire(ctx, role)
		cancel()
		if err != nil && token != 0 {
			t.errorf("a token and an error: %d, %v", token, err)
		}
		if err != nil && isKnown(err) && !errors.Is(err, lock.ErrMoved) {
			t.errorf("an acquisition that was given up: %v", err)
		}
		t.settle(a, role)
		t.release(b, role, t.acquire(b, role))
	}
}

// settle learns how an acquisition ended, and gives the role back.
func (t *trial) settle(s lock.Session, role string) { t.release(s, role, t.acquire(s, role)) }

func acquireReplyLost(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	t.network("cut replies", near.CutReplies)
	ctx, cancel := context.WithTimeout(t.ctx, t.TTL/2)
	_, err := a.TryAcquire(ctx, role)
	cancel()
	if isKnown(err) {
		t.errorf("acquire without a reply: %s, want an error without a name", outcome(err))
	}
	t.network("heal", near.Heal)
	token := t.acquire(a, role)
	if again := t.acquire(a, role); again != token {
		t.errorf("two grants: %d and %d", token, again)
	}
	t.await(far, role, "the grant", holds(token))
	t.release(a, role, token)
	t.settle(b, role)
}

// acquireWhileEvicted lets acquisitions and evictions of one session meet.
func acquireWhileEvicted(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	var last lock.Token
	for range 20 {
		s := t.join(near, "a", role)
		var token lock.Token
		acquired, evicted := t.beside(far, s, beatOf(t.look(near, role), s.ID()), func() error {
			return t.known("acquire", func(ctx context.Context) (err error) { token, err = s.TryAcquire(ctx, role); return err })
		})
		t.expect(evicted, nil, "evict beside an acquisition")
		st := t.look(far, role)
		switch {
		case acquired != nil && !errors.Is(acquired, lock.ErrLost):
			t.errorf("acquire beside an eviction: %v, want nil or ErrLost", acquired)
		case acquired == nil && token <= last:
			t.errorf("token %d after %d", token, last)
		case !st.Term.Vacant():
			t.errorf("a session that has ended holds the term %+v", st.Term)
		}
		last = max(last, token)
	}
}

// beside does something with a session while another Locker evicts it.
func (t *trial) beside(far lock.Locker, s lock.Session, seen lock.Beat, do func() error) (done, evicted error) {
	t.together(2, func(i int) {
		if i == 0 {
			done = do()
			return
		}
		evicted = t.known("evict", func(ctx context.Context) error {
			return far.Evict(ctx, s.ID(), seen, lock.End{By: "the suite", Why: "a race"})
		})
	})
	return done, evicted
}

// touching are names that are prefixes of each other, and names with characters that mean
// something in paths, URLs, globs and keys.
func touching() []string {
	return []string{
		"a", "ab", "a/b", "a/", "/a", "a b", "A", ".", "..", "../a", "a%2Fb", "a%2fb", "%", "a\\b", "a?b", "a#b", "a*", "a,b", "роль", "役割/主", "a+b",
		strings.Repeat("x", lock.MaxName), strings.Repeat("x", lock.MaxName-1), strings.Repeat("é", lock.MaxName/2),
	}
}

func namesApart(t *trial) {
	l := t.open()
	tokens, holders := map[string]lock.Token{}, map[string]lock.Session{}
	for _, name := range touching() { // one contender of each name, for the role of each name
		c := lock.Contender{ID: name, Session: nonce()}
		s := t.register(l, c, lock.Bid{Role: name})
		t.after(func() { _ = t.one(s.Close) })
		if st := t.look(l, name); st.Term.Token != 0 && !st.Term.Vacant() || len(st.Line) != 1 || st.Line[0].ID != name {
			t.errorf("role %q before anybody took it: %+v", name, st)
		}
		tokens[name], holders[name] = t.acquire(s, name), s
	}
	for _, name := range touching() {
		s := holders[name]
		for other, token := range tokens {
			st := t.look(l, other)
			if st.Term.Token != token || st.Term.Vacant() || st.Term.Holder.ID != other || len(st.Line) != 0 {
				t.fatalf("role %q: %+v, want token %d", other, st, token)
			}
		}
		t.end(s)
		if st := t.look(l, name); !st.Term.Vacant() {
			t.errorf("role %q after its holder was closed: %+v", name, st)
		}
		delete(tokens, name)
	}
}

func namesRefused(t *trial) {
	l, good := t.open(), t.named("r")
	s := t.join(l, "a", good)
	for _, name := range []string{"", "a\x00b", "a\nb", "\xff", "a\u200bb", strings.Repeat("x", lock.MaxName+1)} {
		t.want(lock.ErrPermanent, fmt.Sprintf("register the ID %q", name), func(ctx context.Context) error {
			_, err := l.Register(ctx, lock.Contender{ID: name, Session: nonce()}, t.promise(), lock.Bid{Role: good})
			return err
		})
		t.want(lock.ErrPermanent, fmt.Sprintf("bid for the role %q", name), func(ctx context.Context) error {
			c := lock.Contender{ID: t.named("b"), Session: nonce()}
			_, err := l.Register(ctx, c, t.promise(), lock.Bid{Role: name})
			return err
		})
		t.want(lock.ErrPermanent, fmt.Sprintf("acquire the role %q", name), func(ctx context.Context) error {
			_, err := s.TryAcquire(ctx, name)
			return err
		})
	}
	many := map[string]string{}
	for i := range lock.MaxLabels + 1 {
		many[strconv.Itoa(i)] = ""
	}
	long := strings.Repeat("x", lock.MaxName+1)
	for what, c := range map[string]lock.Contender{
		"an address too long": {Address: strings.Repeat("x", lock.MaxAddress+1)}, "too many labels": {Labels: many},
		"a label's key too long": {Labels: map[string]string{long: ""}}, "a label's value too long": {Labels: map[string]string{"x": long}},
	} {
		t.want(lock.ErrPermanent, "register with "+what, func(ctx context.Context) error {
			c.ID, c.Session = t.named("c"), nonce()
			_, err := l.Register(ctx, c, t.promise(), lock.Bid{Role: good})
			return err
		})
	}
	if st := t.look(l, good); len(st.Line) != 1 || st.Line[0].Session != s.ID() {
		t.errorf("the line is %+v, want only the one that was registered", st.Line)
	}
}
