package kvtest

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// A pair is two processes of one role: one that holds it, and one that watches.
type pair struct {
	t                testing.TB
	ctx              context.Context
	active, standby  lock.Locker
	holder, next     lock.Session
	vacant           chan lock.Token // the token of each term that the standby sees to be over
	whole, ofOneRole atomic.Int64    // how often the standby has read everything, or a role
	untilSeen        int64           // whole, when it saw a term to be over
}

// reading counts what is read.
type reading struct {
	kv.Store
	p *pair
}

func (r reading) Read(ctx context.Context, keys ...string) (kv.View, error) {
	switch {
	case strings.HasSuffix(keys[0], "/state/"): // what an eviction reads when the end is written
	case strings.HasSuffix(keys[0], "/"):
		r.p.whole.Add(1)
	default:
		r.p.ofOneRole.Add(1)
	}
	return r.Store.Read(ctx, keys...)
}

func newPair(t testing.TB, ctx context.Context, open func() kv.Store) *pair {
	prefix := "takeover/" + rand.Text()
	p := &pair{t: t, ctx: ctx, vacant: make(chan lock.Token)}
	p.active, p.standby = kv.NewLocker(open(), prefix), kv.NewLocker(reading{open(), p}, prefix)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{}, 2)
	go p.watch(ctx, p.active, func(lock.Standing) {}, done)
	var last lock.Token
	go p.watch(ctx, p.standby, func(st lock.Standing) {
		if st.Term.Vacant() && st.Term.Token > last {
			last, p.untilSeen = st.Term.Token, p.whole.Load()
			p.vacant <- last
		}
	}, done)
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		must(t, p.active.Close())
		must(t, p.standby.Close())
	})
	return p
}

func (p *pair) watch(ctx context.Context, l lock.Locker, show func(lock.Standing), done chan<- struct{}) {
	for ctx.Err() == nil {
		for st, err := range l.Watch(ctx, "r") {
			if err == nil {
				show(st)
			}
		}
	}
	done <- struct{}{}
}

// long is a promise that no test waits for.
var long = lock.Promise{TTL: time.Hour, Skew: time.Minute}

// join registers a contender under a session ID of its own.
func (p *pair) join(l lock.Locker, id string) lock.Session {
	s, err := l.Register(p.ctx, lock.Contender{ID: id, Session: lock.SessionID(rand.Text())}, long, lock.Bid{Role: "r"})
	must(p.t, err)
	return s
}

// see has a Locker read the line, in which the session stands.
func (p *pair) see(l lock.Locker, id lock.SessionID) {
	for st, err := range l.Watch(p.ctx, "r") {
		if err == nil && slices.ContainsFunc(st.Line, func(m lock.Member) bool { return m.Session == id }) {
			return
		}
	}
	p.t.Fatal("the session is not in line")
}

// stage puts two new sessions in line, one of which holds the role, and waits until
// both processes have seen all of it.
func (p *pair) stage() lock.Token {
	p.holder = p.join(p.active, "a")
	token, err := p.holder.TryAcquire(p.ctx, "r")
	must(p.t, err)
	p.next = p.join(p.standby, "b")
	for _, l := range []lock.Locker{p.active, p.standby} {
		for st, err := range l.Watch(p.ctx, "r") {
			if err == nil && st.Term.Token == token && !st.Term.Vacant() {
				break
			}
		}
	}
	for before := int64(-1); before != p.whole.Load(); time.Sleep(50 * time.Millisecond) { // until nothing more is asked for
		before = p.whole.Load()
	}
	return token
}

// move has the holder's session ended, and returns the token of its successor, and when
// that had it.
func (p *pair) move(token lock.Token, end func(context.Context) error) (next lock.Token, took time.Duration) {
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- end(p.ctx) }()
	for seen := lock.Token(0); seen != token; {
		select {
		case seen = <-p.vacant:
		case <-p.ctx.Done():
			p.t.Fatal("the end of the term is not seen")
		}
	}
	next, err := p.next.TryAcquire(p.ctx, "r")
	took = time.Since(begin)
	must(p.t, err)
	must(p.t, <-ended)
	return next, took
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TakesOver expects a takeover to read nothing: what is followed says all. So it is
// after a stop and after an eviction.
func TakesOver(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p := newPair(t, ctx, open)
	stop := func(ctx context.Context) error { return p.holder.Close(ctx) } // whoever holds it by then
	evict := func(ctx context.Context) error {
		return p.active.Evict(ctx, p.holder.ID(), lock.AnyBeat, lock.End{By: "the test"})
	}
	for i := range 10 {
		what, end := "stop", stop
		if i%2 == 1 {
			what, end = "eviction", evict
		}
		token := p.stage()
		whole, ofOneRole := p.whole.Load(), p.ofOneRole.Load()
		next, _ := p.move(token, end)
		if whole = p.untilSeen - whole; whole != 0 || p.ofOneRole.Load() != ofOneRole {
			t.Errorf("%s: the standby read everything %d times until it saw the end, and the role %d times to take it, want none", what, whole, p.ofOneRole.Load()-ofOneRole)
		}
		if next <= token {
			t.Errorf("%s: token %d after %d", what, next, token)
		}
		must(t, p.next.Close(ctx))
		<-p.vacant
	}
}

// Evicts expects a Locker that has read the line to end a session without reading
// anything, whichever beat is there by then; and where what it read no longer holds, to
// end the session all the same.
func Evicts(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	prefix := "evicts/" + rand.Text()
	p := &pair{t: t, ctx: ctx}
	own, witness, hand := kv.NewLocker(open(), prefix), kv.NewLocker(reading{open(), p}, prefix), kv.NewHand(open(), prefix)
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
		s := p.join(own, "a")
		p.see(witness, s.ID())
		must(t, s.Beat(ctx))
		must(t, change(ctx, s.ID()))
		before := p.whole.Load() + p.ofOneRole.Load()
		must(t, witness.Evict(ctx, s.ID(), lock.AnyBeat, lock.End{By: "the witness"}))
		if n := p.whole.Load() + p.ofOneRole.Load() - before; what == "" && n != 0 {
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

// BenchTakeover times takeovers, from the holder's stop to the successor's token, and
// in turn with them what the store needs for two writes and the delivery of the
// first. x-floor is the ratio of the medians.
func BenchTakeover(b *testing.B, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	p := newPair(b, ctx, open)
	f := newFloor(b, ctx, open)
	var ours, floor []time.Duration
	for b.Loop() {
		token := p.stage()
		_, took := p.move(token, p.holder.Close)
		ours = append(ours, took)
		must(b, p.next.Close(ctx))
		<-p.vacant
		floor = append(floor, f.once())
	}
	reportRatio(b, ours, floor, "floor")
}

// A floor is one process that writes, and one that follows and writes then.
type floor struct {
	t        testing.TB
	ctx      context.Context
	one, two kv.Store
	key      string
	seen     chan struct{}
}

func newFloor(t testing.TB, ctx context.Context, open func() kv.Store) *floor {
	f := &floor{t: t, ctx: ctx, one: open(), two: open(), key: "floor/" + rand.Text(), seen: make(chan struct{})}
	f.write(f.one, f.key)
	v, err := f.two.Read(ctx, f.key)
	must(t, err)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range f.two.Follow(ctx, v, f.key) {
			if err == nil {
				f.seen <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		must(t, f.one.Close())
		must(t, f.two.Close())
	})
	return f
}

func (f *floor) write(s kv.Store, key string) {
	_, err := s.Commit(f.ctx, kv.Txn{Writes: []kv.Write{{Key: key, Value: []byte(strings.Repeat(rand.Text(), 16))}}})
	must(f.t, err)
}

func (f *floor) once() time.Duration {
	begin := time.Now()
	f.write(f.one, f.key)
	<-f.seen
	f.write(f.two, f.key+"2")
	return time.Since(begin)
}
