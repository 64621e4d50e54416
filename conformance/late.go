package conformance

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// passing is the longest that a message takes if nothing holds it up.
func (t *trial) passing() time.Duration { return t.Slack/10 + 50*time.Millisecond }

// delayed makes a call whose last request is held back on the way, runs meanwhile, and returns
// the call's result. The call knows nothing of meanwhile. split: a first request of the call and
// its reply have passed by then, which is what the call compares if it reads that. Nothing says
// that it does: a call of one request has already taken effect by then.
func (t *trial) delayed(near *Client, split bool, call func(ctx context.Context) error, meanwhile func()) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	returned := make(chan error, 1)
	if split { // its read passes, and held comes when its next request is held
		t.network("cut replies", near.CutReplies)
		go func() { returned <- call(ctx) }()
		t.pause(t.passing())
		t.network("cut requests", near.CutRequests)
	} else {
		t.network("cut requests", near.CutRequests)
		go func() { returned <- call(ctx) }()
	}
	t.pause(t.passing())
	meanwhile()
	t.network("heal", near.Heal)
	select {
	case err := <-returned:
		return err
	case <-t.ctx.Done():
		t.fatalf("told to end while a call was late")
		return nil
	}
}

func acquireLateEnded(t *trial) {
	for _, split := range []bool{false, true} {
		role := t.named("r")
		near, far := t.open(), t.open()
		a := t.join(near, "a", role)
		before := t.look(far, role).Term.Token
		var token, atOnce lock.Token
		err := t.delayed(near, split, func(ctx context.Context) (err error) { token, err = a.TryAcquire(ctx, role); return err }, func() {
			t.evict(far, role, a.ID())
			if now := t.look(far, role).Term.Token; split && now != before {
				atOnce = now
			}
		})
		switch st := t.look(far, role); {
		case atOnce != 0: // the acquisition is one request, which arrived before the end
			if err == nil && token != atOnce || isKnown(err) && err != nil && !errors.Is(err, lock.ErrLost) {
				t.errorf("an acquisition that arrived before its session's end: token %d and %s, want token %d, or ErrLost", token, outcome(err), atOnce)
			}
			if st.Term.Token != atOnce || !vacant(st) {
				t.errorf("the term %d, whose session was ended, has become %+v", atOnce, st.Term)
			}
		case isKnown(err) && !errors.Is(err, lock.ErrLost):
			t.errorf("an acquisition that arrives after its session's end: %s, want ErrLost", outcome(err))
		case st.Term.Token != before:
			t.errorf("an acquisition that arrived after its session's end began the term %+v", st.Term)
		}
	}
}

func acquireLateMoved(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a, b := t.join(near, "a", role), t.join(far, "b", role)
	t.settle(a, role)
	var token, last lock.Token
	var held *lock.HeldError
	err := t.delayed(near, true, func(ctx context.Context) (err error) { token, err = a.TryAcquire(ctx, role); return err }, func() {
		var err error
		if last, err = t.tryAcquire(b, role); !errors.As(err, &held) || held.Holder.Session != a.ID() {
			t.expect(err, nil, "acquire")
			t.release(b, role, last)
		}
	})
	if held != nil { // the acquisition is one request, which arrived before all else
		if isKnown(err) && (err != nil || token != held.Token) {
			t.errorf("an acquisition that arrived while the role was vacant: token %d and %s, want token %d", token, outcome(err), held.Token)
		}
		return
	}
	if isKnown(err) && !errors.Is(err, lock.ErrMoved) {
		t.errorf("an acquisition that arrives after another term: %s, want ErrMoved", outcome(err))
	}
	if st := t.look(far, role); st.Term.Token != last || !vacant(st) {
		t.errorf("an acquisition that arrived after the term %d changed it to %+v", last, st.Term)
	}
	t.settle(a, role)
}

func beatLate(t *trial) {
	role := t.named("r")
	near, far := t.open(), t.open()
	a := t.join(near, "a", role)
	token := t.acquire(a, role)
	err := t.delayed(near, false, func(ctx context.Context) error { return a.Beat(ctx) }, func() { t.evict(far, role, a.ID()) })
	if isKnown(err) && !errors.Is(err, lock.ErrLost) {
		t.errorf("a beat that arrives after the eviction: %s, want ErrLost", outcome(err))
	}
	if st := t.look(far, role); beatOf(st, a.ID()) != lock.Absent || st.Term.Token != token || !vacant(st) {
		t.errorf("a beat that arrived after the eviction brought its session back: %+v", st)
	}
}

func registerLate(t *trial) {
	for _, split := range []bool{false, true} {
		role := t.named("r")
		near, far := t.open(), t.open()
		c := t.contender("a")
		err := t.delayed(near, split, func(ctx context.Context) error {
			_, err := near.Register(ctx, c, t.promise(), lock.Bid{Role: role})
			return err
		}, func() { t.evict(far, role, c.Session) })
		if isKnown(err) && !errors.Is(err, lock.ErrLost) && !split { // otherwise it may have been registered at once
			t.errorf("a registration that arrives after its session's end: %s, want ErrLost", outcome(err))
		}
		if st := t.look(far, role); len(st.Line) != 0 {
			t.errorf("a registration that arrived after its session's end is in line: %+v", st.Line)
		}
		c.Session = nonce()
		t.end(t.register(far, c, lock.Bid{Role: role})) // and its ID is free
	}
}

// twice returns a session as another process reaches it, and a function that ends the session's
// term and begins the next one.
func (t *trial) twice(far lock.Locker, c lock.Contender, role string) (s lock.Session, next func() lock.Token) {
	s = t.register(far, c, lock.Bid{Role: role})
	return s, func() lock.Token {
		t.release(s, role, t.acquire(s, role))
		return t.acquire(s, role)
	}
}

func releaseLateSent(t *trial) {
	for i, split := range []bool{false, true} {
		role, c := t.named("r"), t.contender([]string{"a", "b"}[i])
		near, far := t.open(), t.open()
		a := t.register(near, c, lock.Bid{Role: role})
		again, next := t.twice(far, c, role)
		first := t.acquire(a, role)
		var second lock.Token
		err := t.delayed(near, split, func(ctx context.Context) error { return a.Release(ctx, role, first) }, func() { second = next() })
		if isKnown(err) && err != nil {
			t.errorf("a release that arrives after its term: %s, want nil", outcome(err))
		}
		if st := t.look(far, role); !holds(second)(st) {
			t.errorf("a late release of term %d ended term %d of the same session: %+v", first, second, st.Term)
		}
		t.end(again)
	}
}

func handoffLateSent(t *trial) {
	role, c := t.named("r"), t.contender("a")
	near, far := t.open(), t.open()
	a, b := t.register(near, c, lock.Bid{Role: role}), t.join(far, "b", role)
	_, next := t.twice(far, c, role)
	first := t.acquire(a, role)
	var second lock.Token
	err := t.delayed(near, false, func(ctx context.Context) error { return a.Handoff(ctx, role, first, b.ID()) }, func() { second = next() })
	if isKnown(err) && !errors.Is(err, lock.ErrMoved) {
		t.errorf("a handoff that arrives after its term: %s, want ErrMoved", outcome(err))
	}
	if st := t.look(far, role); !holds(second)(st) || st.Term.Holder.Session != a.ID() {
		t.errorf("a late handoff of term %d ended term %d of the same session: %+v", first, second, st.Term)
	}
}
