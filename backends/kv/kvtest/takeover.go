package kvtest

import (
	"context"
	"crypto/rand"
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
	if strings.HasSuffix(keys[0], "/") {
		r.p.whole.Add(1)
	} else {
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

// stage puts two new sessions in line, one of which holds the role, and waits until
// both processes have seen all of it.
func (p *pair) stage() lock.Token {
	join := func(l lock.Locker, id string) lock.Session {
		c := lock.Contender{ID: id, Session: lock.SessionID(rand.Text())}
		s, err := l.Register(p.ctx, c, lock.Promise{TTL: time.Hour, Skew: time.Minute}, lock.Bid{Role: "r"})
		must(p.t, err)
		return s
	}
	p.holder = join(p.active, "a")
	token, err := p.holder.TryAcquire(p.ctx, "r")
	must(p.t, err)
	p.next = join(p.standby, "b")
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

// move stops the holder, and returns the token of its successor, and when that had it.
func (p *pair) move(token lock.Token) (next lock.Token, took time.Duration) {
	begin := time.Now()
	closed := make(chan error, 1)
	go func() { closed <- p.holder.Close(p.ctx) }()
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
	must(p.t, <-closed)
	return next, took
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TakesOver expects a takeover to read nothing: what is followed says all.
func TakesOver(t *testing.T, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p := newPair(t, ctx, open)
	token := p.stage()
	whole, ofOneRole := p.whole.Load(), p.ofOneRole.Load()
	next, _ := p.move(token)
	if whole = p.untilSeen - whole; whole != 0 || p.ofOneRole.Load() != ofOneRole {
		t.Errorf("the standby read everything %d times until it saw the end, and the role %d times to take it, want none", whole, p.ofOneRole.Load()-ofOneRole)
	}
	if next <= token {
		t.Errorf("token %d after %d", next, token)
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
		_, took := p.move(token)
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
