// Package takeover has one process take a role over from another, on a store of package kv,
// for who proves that and for who times it.
package takeover

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

// Reads counts what is read through a store.
type Reads struct {
	Whole, OfOneRole atomic.Int64
}

// Through returns s, what is read through which is counted.
func (r *Reads) Through(s kv.Store) kv.Store { return reading{s, r} }

type reading struct {
	kv.Store
	count *Reads
}

func (r reading) Read(ctx context.Context, keys ...string) (kv.View, error) {
	switch {
	case strings.HasSuffix(keys[0], "/state/"): // what an eviction reads when the end is written
	case strings.HasSuffix(keys[0], "/"):
		r.count.Whole.Add(1)
	default:
		r.count.OfOneRole.Add(1)
	}
	return r.Store.Read(ctx, keys...)
}

// A Pair is two processes of one role: one that holds it, and one that watches.
type Pair struct {
	Active       lock.Locker
	Holder, Next lock.Session // of Active and of the other

	t         testing.TB
	ctx       context.Context
	standby   lock.Locker
	reads     Reads           // of the standby
	vacant    chan lock.Token // the token of each term that the standby sees to be over
	untilSeen int64           // readings of everything, when it saw a term to be over
}

// New opens both, and closes them when the test is over.
func New(ctx context.Context, t testing.TB, open func() kv.Store) *Pair {
	prefix := "takeover/" + rand.Text()
	p := &Pair{t: t, ctx: ctx, vacant: make(chan lock.Token)}
	p.Active, p.standby = kv.NewLocker(open(), prefix), kv.NewLocker(p.reads.Through(open()), prefix)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{}, 2)
	go watch(ctx, p.Active, func(lock.Standing) {}, done)
	var last lock.Token
	go watch(ctx, p.standby, func(st lock.Standing) {
		if st.Term.Vacant() && st.Term.Token > last {
			last, p.untilSeen = st.Term.Token, p.reads.Whole.Load()
			p.vacant <- last
		}
	}, done)
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		p.must(p.Active.Close())
		p.must(p.standby.Close())
	})
	return p
}

func watch(ctx context.Context, l lock.Locker, show func(lock.Standing), done chan<- struct{}) {
	for ctx.Err() == nil {
		for st, err := range l.Watch(ctx, "r") {
			if err == nil {
				show(st)
			}
		}
	}
	done <- struct{}{}
}

func (p *Pair) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// join registers a contender under a session ID of its own.
func (p *Pair) join(l lock.Locker, id string) lock.Session {
	s, err := l.Register(p.ctx, lock.Contender{ID: id, Session: lock.SessionID(rand.Text())}, lock.Promise{TTL: time.Hour, Skew: time.Minute}, lock.Bid{Role: "r"})
	p.must(err)
	return s
}

// Stage puts two new sessions in line, one of which holds the role, and waits until
// both processes have seen all of it.
func (p *Pair) Stage() lock.Token {
	p.Holder = p.join(p.Active, "a")
	token, err := p.Holder.TryAcquire(p.ctx, "r")
	p.must(err)
	p.Next = p.join(p.standby, "b")
	for _, l := range []lock.Locker{p.Active, p.standby} {
		for st, err := range l.Watch(p.ctx, "r") {
			if err == nil && st.Term.Token == token && !st.Term.Vacant() {
				break
			}
		}
	}
	for before := int64(-1); before != p.reads.Whole.Load(); time.Sleep(50 * time.Millisecond) { // until nothing more is asked for
		before = p.reads.Whole.Load()
	}
	return token
}

// A Move is a takeover.
type Move struct {
	Token     lock.Token    // the successor's
	Took      time.Duration // from the end to that
	Whole     int64         // how often the standby read everything until it saw the end
	OfOneRole int64         // how often it read the role until it had it
}

// Move has the holder's session ended, whose term has a token, and the next one take the role.
func (p *Pair) Move(token lock.Token, end func(context.Context) error) Move {
	whole, ofOneRole, begin := p.reads.Whole.Load(), p.reads.OfOneRole.Load(), time.Now()
	ended := make(chan error, 1)
	go func() { ended <- end(p.ctx) }()
	for seen := lock.Token(0); seen != token; {
		select {
		case seen = <-p.vacant:
		case <-p.ctx.Done():
			p.t.Fatal("the end of the term is not seen")
		}
	}
	next, err := p.Next.TryAcquire(p.ctx, "r")
	m := Move{next, time.Since(begin), p.untilSeen - whole, p.reads.OfOneRole.Load() - ofOneRole}
	p.must(err)
	p.must(<-ended)
	return m
}

// Over ends the successor's term.
func (p *Pair) Over() {
	p.must(p.Next.Close(p.ctx))
	<-p.vacant
}
