package failover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A Floor is what no failover on a store can be faster than.
type Floor struct {
	Commit   []time.Duration // one write, acknowledged
	Delivery []time.Duration // one write, and its delivery to somebody else who watches
}

// floorRole is the role whose watch is timed.
const floorRole = "floor"

// probe is a session of the bench's own.
func probe(ctx context.Context, l lock.Locker) (lock.Session, error) {
	c := lock.Contender{ID: "probe-" + rand.Text(), Session: lock.SessionID(rand.Text())}
	p := coordinator.Config{TTL: time.Minute}.Defaults()
	return l.Register(ctx, c, lock.Promise{TTL: p.TTL, Skew: p.Skew}, lock.Bid{Role: floorRole})
}

// measureFloor writes n times, and n times under the eyes of a watch. All connections are
// warm.
func (s *stage) measureFloor(ctx context.Context, n int) (f Floor, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	session, err := probe(ctx, s.client)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	warm := false
	for len(f.Commit) < n {
		began := time.Now()
		err := session.Beat(ctx)
		if ctx.Err() != nil {
			return f, errors.Join(err, context.Cause(ctx))
		}
		if err == nil && warm { // a store that elects a leader meanwhile is asked again
			f.Commit = append(f.Commit, time.Since(began))
		}
		warm = warm || err == nil
	}
	f.Delivery, err = s.deliveries(ctx, session, n)
	return f, err
}

// deliveries acquires a role that the session's own watch shows vacant, as a standby does,
// which is one write, until somebody else's watch shows it.
func (s *stage) deliveries(ctx context.Context, session lock.Session, n int) (all []time.Duration, err error) {
	watcher, err := s.site.backend.Dial(ctx, s.name, s.network.outside)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, watcher.Close()) }()
	var watches sync.WaitGroup
	defer watches.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	vacant, held := make(chan lock.Token, 100), make(chan lock.Token, 100)
	watches.Go(func() { watchFloor(ctx, s.client, vacant, lock.Term.Vacant) })
	watches.Go(func() { watchFloor(ctx, watcher, held, func(t lock.Term) bool { return !t.Vacant() }) })
	await := func(from chan lock.Token, token lock.Token) error {
		for {
			select {
			case told := <-from:
				if told >= token {
					return nil
				}
			case <-ctx.Done():
				return fmt.Errorf("waiting for a watch: %w", context.Cause(ctx))
			}
		}
	}
	if err := await(vacant, 0); err != nil {
		return nil, err
	}
	for warm := false; len(all) < n; warm = true {
		began := time.Now()
		token, err := session.TryAcquire(ctx, floorRole)
		for err != nil && ctx.Err() == nil {
			warm = false
			token, err = session.TryAcquire(ctx, floorRole)
		}
		if err := await(held, token); err != nil {
			return all, err
		}
		if warm {
			all = append(all, time.Since(began))
		}
		for session.Release(ctx, floorRole, token) != nil && ctx.Err() == nil { // the reply may have been lost
		}
		if err := await(vacant, token); err != nil {
			return all, err
		}
	}
	return all, nil
}

// watchFloor tells the tokens of the terms of the floor's role that are of one kind.
func watchFloor(ctx context.Context, l lock.Locker, to chan<- lock.Token, ofKind func(lock.Term) bool) {
	for st, err := range l.Watch(ctx, floorRole) {
		if err != nil || !ofKind(st.Term) {
			continue
		}
		select {
		case to <- st.Term.Token:
		case <-ctx.Done():
		}
	}
}

// How the store is asked whether it takes a write again: how often, for how long,
// and how often at once.
const (
	askEvery = 20 * time.Millisecond
	askFor   = time.Second
	askMost  = 32
)

// loseLeader kills the leader of the store, and measures when it takes a write
// again, and whether the role moves. The active lives by another member.
func (s *stage) loseLeader(ctx context.Context, f Fault, old term, r *Sample) error {
	leader, outside, kill, restart, err := s.storeLeader(ctx)
	if err != nil {
		return err
	}
	l, err := s.site.backend.Dial(ctx, s.name, outside)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	session, err := probe(ctx, l)
	if err != nil {
		return err
	}
	at := coordinator.Clocks().Mono
	kill()
	r.Outcome = Late
	stall, err := s.writes(ctx, session, at)
	if err != nil {
		return fmt.Errorf("the leader %s was killed: %w", leader, err)
	}
	r.Stall = Moment(stall)
	// Whoever takes the role has by then seen the active silent for its promise.
	patience := s.config.TTL + s.config.Skew + s.config.Try() + s.site.backend.Patience - stall
	if err := s.awaitNext(ctx, old, patience); err == nil {
		r.Outcome = Moved
	} else if ctx.Err() == nil && s.active().end == 0 {
		r.Outcome = Stayed
	}
	if err := restart(); err != nil {
		return err
	}
	err = s.ready(ctx)
	s.judge(f, at, old, r)
	if r.Outcome == Late && r.Started != Unknown {
		r.Outcome = Moved
	}
	_ = session.Close(ctx) // if it fails the session is silent, and of no role
	return err
}

// storeLeader says who leads the store, how one reaches the others, and how it is
// killed and started again.
func (s *stage) storeLeader(ctx context.Context) (name string, outside []string, kill func(), restart func() error, err error) {
	if s.site.backend.Inside {
		name, err = s.leader(ctx)
		kill = func() { s.end(name) }
		restart = func() error { return s.start(name) }
		return name, s.network.outside, kill, restart, err
	}
	i, err := s.site.cluster.Leader(ctx)
	if err != nil {
		return "", nil, nil, nil, err
	}
	m := s.site.cluster.Members[i]
	outside = slices.Concat(s.network.outside[i+1:], s.network.outside[:i+1])
	return m.Addr(), outside, m.Kill, func() error { return m.Restart(ctx) }, nil
}

// writes waits until a write that began after the moment at is acknowledged, and
// returns how long after that was.
func (s *stage) writes(ctx context.Context, session lock.Session, at time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan time.Duration, 1)
	slots := make(chan struct{}, askMost)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case slots <- struct{}{}:
			group.Go(func() {
				defer func() { <-slots }()
				call, stop := context.WithTimeout(ctx, askFor)
				defer stop()
				if session.Beat(call) == nil {
					select {
					case done <- coordinator.Clocks().Mono - at:
					default:
					}
				}
			})
		default: // all are out
		}
		select {
		case took := <-done:
			return took, nil
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("the store takes no write: %w", context.Cause(ctx))
		}
	}
}
