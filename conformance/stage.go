package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// open opens another process's way to the store, which ends with the case.
func (t *trial) open() *Client {
	var c *Client
	t.must("open", func(ctx context.Context) (err error) { c, err = t.store.Open(ctx); return err })
	t.after(func() {
		if err := c.Close(); err != nil {
			t.errorf("close a Locker: %v", err)
		}
	})
	t.away(c)
	return c
}

// named is a name that no other case uses.
func (t *trial) named(name string) string { return t.name + " " + name }

// nonce is a session ID that was never used.
func nonce() lock.SessionID { return lock.SessionID(rand.Text()) }

// promise is the promise of cases that do not choose their own.
func (t *trial) promise() lock.Promise { return promiseOf(t.TTL) }

func promiseOf(ttl time.Duration) lock.Promise {
	return lock.Promise{TTL: ttl, Skew: ttl/100 + min(50*time.Millisecond, ttl/10)}
}

// contender is a contender with a name that no other case uses.
func (t *trial) contender(id string) lock.Contender {
	return lock.Contender{
		ID: t.named(id), Address: id + ".example:1", Labels: map[string]string{"zone": "eu-1", "ключ": "a/b \"c\""},
		Session: nonce(),
	}
}

// join registers a contender that bids for the roles.
func (t *trial) join(l lock.Locker, id string, roles ...string) lock.Session {
	var bids []lock.Bid
	for _, r := range roles {
		bids = append(bids, lock.Bid{Role: r})
	}
	return t.register(l, t.contender(id), bids...)
}

func (t *trial) register(l lock.Locker, c lock.Contender, bids ...lock.Bid) (s lock.Session) {
	t.must("register "+c.ID, func(ctx context.Context) (err error) { s, err = l.Register(ctx, c, t.promise(), bids...); return err })
	if s.ID() != c.Session {
		t.fatalf("the session's ID is %q, want the one that was given: %q", s.ID(), c.Session)
	}
	return s
}

// acquire takes a role that is vacant or the session's own.
func (t *trial) acquire(s lock.Session, role string) lock.Token {
	token, err := t.tryAcquire(s, role)
	t.expect(err, nil, "acquire "+role)
	if token == 0 {
		t.fatalf("acquire %s: the token is zero", role)
	}
	return token
}

// refused is why a session cannot take a role.
func (t *trial) refused(s lock.Session, role string) error {
	token, err := t.tryAcquire(s, role)
	if err != nil && token != 0 {
		t.errorf("acquire %s: token %d and the error %v", role, token, err)
	}
	return err
}

// tryAcquire looks again for as long as the role moved on: a Locker that did not write may read
// old data.
func (t *trial) tryAcquire(s lock.Session, role string) (token lock.Token, err error) {
	for end := time.Now().Add(t.patience()); time.Now().Before(end); t.pause(10 * time.Millisecond) {
		err = t.known("acquire "+role, func(ctx context.Context) (err error) { token, err = s.TryAcquire(ctx, role); return err })
		if !errors.Is(err, lock.ErrMoved) {
			break
		}
	}
	return token, err
}

func (t *trial) release(s lock.Session, role string, token lock.Token) {
	t.must("release "+role, func(ctx context.Context) error { return s.Release(ctx, role, token) })
}

func (t *trial) beat(s lock.Session) {
	t.must("beat", func(ctx context.Context) error { return s.Beat(ctx) })
}

func (t *trial) end(s lock.Session) {
	t.must("close the session", s.Close)
}

// evict ends a session on its current beat.
func (t *trial) evict(l lock.Locker, role string, id lock.SessionID) lock.End {
	why := lock.End{By: "the suite", Why: "to see what follows"}
	for end := time.Now().Add(t.patience()); time.Now().Before(end); {
		seen := lock.AnyBeat // far away the next beat overtakes it
		if t.Far == 0 {
			seen = beatOf(t.look(l, role), id)
		}
		err := t.known("evict", func(ctx context.Context) error { return l.Evict(ctx, id, seen, why) })
		if !errors.Is(err, lock.ErrMoved) { // the standing may be old
			t.expect(err, nil, "evict")
			return why
		}
	}
	t.fatalf("evict: ErrMoved on every beat that was seen for %v", t.patience())
	return why
}

// beatOf is the beat of a session in a standing; Absent if it is not there.
func beatOf(st lock.Standing, id lock.SessionID) lock.Beat {
	for _, m := range append(st.Line, st.Term.Holder) {
		if m.Session == id {
			return m.Beat
		}
	}
	return lock.Absent
}

// isKnown reports whether an outcome is known.
func isKnown(err error) bool { return lock.OutcomeOf(err) != lock.Unknown }

// patience is how long to wait for something that has no limit of its own.
func (t *trial) patience() time.Duration { return 15*time.Second + 5*t.TTL }

// known repeats a call until its outcome is known.
func (t *trial) known(what string, call func(ctx context.Context) error) error {
	var err error
	for end := time.Now().Add(t.patience()); time.Now().Before(end) && t.ctx.Err() == nil; t.pause(20 * time.Millisecond) {
		if err = t.one(call); isKnown(err) {
			return err
		}
	}
	t.fatalf("%s: no known outcome within %v, the last error: %v", what, t.patience(), err)
	return err
}

// must repeats a call until its outcome is known, and expects that to be nil.
func (t *trial) must(what string, call func(ctx context.Context) error) { t.want(nil, what, call) }

// network does something to a client's network.
func (t *trial) network(what string, how func() error) {
	t.must(what, func(context.Context) error { return how() })
}

// disturb does something to the store, once: a server takes its time to start.
func (t *trial) disturb(what string, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(t.ctx, 90*time.Second)
	defer cancel()
	if err := do(ctx); err != nil {
		t.fatalf("%s: %v", what, err)
	}
}

// want repeats a call until its outcome is known, and expects that to be target.
func (t *trial) want(target error, what string, call func(ctx context.Context) error) {
	t.expect(t.known(what, call), target, what)
}

// expect fails the case unless err is target.
func (t *trial) expect(err, target error, what string) {
	if !errors.Is(err, target) {
		t.fatalf("%s: %s, want %s", what, outcome(err), outcome(target))
	}
}

func outcome(err error) string {
	if err == nil {
		return "nil"
	}
	return "the error \"" + err.Error() + "\""
}

// pause waits for d, or for the end of the case.
func (t *trial) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
	}
}

// look returns the first standing of a role that a Locker yields.
func (t *trial) look(l lock.Locker, role string) lock.Standing {
	return t.await(l, role, "any standing", func(lock.Standing) bool { return true })
}

// await returns the first standing of a role for which ok.
func (t *trial) await(l lock.Locker, role, what string, ok func(lock.Standing) bool) lock.Standing {
	ctx, cancel := context.WithTimeout(t.ctx, t.patience())
	defer cancel()
	var last lock.Standing
	var failed error
	for st, err := range l.Watch(ctx, role) {
		if failed = err; err != nil {
			t.pause(10 * time.Millisecond)
			continue
		}
		if st.Role != role {
			t.fatalf("a watch of %q yields the standing of %q", role, st.Role)
		}
		if last = st; ok(st) {
			return st
		}
	}
	t.fatalf("waited %v in vain for a standing of %q: %s; the last: %+v, the last error: %v", t.patience(), role, what, last, failed)
	return last
}

// holds reports whether the term goes on.
func holds(token lock.Token) func(lock.Standing) bool {
	return func(st lock.Standing) bool { return st.Term.Token == token && !st.Term.Vacant() }
}

func vacant(st lock.Standing) bool { return st.Term.Vacant() }

// A follower keeps what one watch yields.
type follower struct {
	t    *trial
	stop context.CancelFunc

	mu      sync.Mutex
	seen    []lock.Standing
	errs    []error
	over    bool
	changed chan struct{} // closed with every change of the above
}

// follow starts a watch that ends with the case.
func (t *trial) follow(l lock.Locker, roles ...string) *follower {
	ctx, cancel := context.WithCancel(t.ctx)
	f := &follower{t: t, stop: cancel, changed: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer f.note(func() { f.over = true })
		for st, err := range l.Watch(ctx, roles...) {
			f.note(func() {
				if err != nil {
					f.errs = append(f.errs, err)
				} else {
					f.seen = append(f.seen, st)
				}
			})
			if err != nil {
				t.pause(10 * time.Millisecond)
			}
		}
	}()
	t.after(func() {
		cancel()
		if !within(done, t.slack()+time.Second) {
			t.errorf("a watch does not end with its context")
		}
	})
	return f
}

func (f *follower) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// await waits until ok says so of what was yielded.
func (f *follower) await(what string, ok func(f *follower) bool) {
	f.t.until("a watch shows "+what, func() (bool, <-chan struct{}) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok(f), f.changed
	}, func() string {
		f.mu.Lock()
		defer f.mu.Unlock()
		last := f.seen[max(0, len(f.seen)-1):]
		return fmt.Sprintf("the last standing: %+v; the watch has ended: %v; its errors: %v", last, f.over, f.errs)
	})
}

// until waits until look says yes. The channel that look returns is closed when that may have
// changed; tell describes the state when a wait fails.
func (t *trial) until(what string, look func() (bool, <-chan struct{}), tell func() string) {
	timer := time.NewTimer(t.patience())
	defer timer.Stop()
	for {
		good, changed := look()
		if good {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.fatalf("waited %v in vain until %s; %s", t.patience(), what, tell())
		case <-t.ctx.Done():
			t.fatalf("told to end while waiting until %s", what)
		}
	}
}

// until waits until ok accepts the last standing of the role.
func (f *follower) until(what, role string, ok func(lock.Standing) bool) {
	f.await(what, func(f *follower) bool {
		for _, st := range slices.Backward(f.seen) {
			if st.Role == role {
				return ok(st)
			}
		}
		return false
	})
}
