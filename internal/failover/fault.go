package failover

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// Latency is what the fault of that name adds, each way; MinLatencyTTL the ttl from
// which a beat's try lasts longer than a call's round trips then take.
const (
	Latency       = 100 * time.Millisecond
	MinLatencyTTL = 5 * time.Second
)

// A Fault is what is done to a role's active, or to its store.
type Fault struct {
	Name  string
	About string

	silence bool // the active falls silent: the failover waits for the promise
	spoils  bool // needs a proxy on the way to the store
	servers bool // needs a store whose leader can be killed; nothing but that is done
	inside  bool // needs a store that lives in the contenders
	witness bool // needs a witness beside every contender

	pauses bool // the active may finish late what it began: only its stamps count
	leads  lead
	before func(ctx context.Context, s *stage) error
	inject func(ctx context.Context, s *stage, old term) (at time.Duration, err error)
	heal   func(ctx context.Context, s *stage, old term) error
}

// lead says whether the active lives by the store's leader, where that can be.
type lead int

const (
	maybe lead = iota
	never
	always
)

// Faults are all there are, in the order in which they are shown: what a witness makes of a
// fault comes first.
var Faults = []Fault{
	{Name: "crash-witness", About: "the active gets SIGKILL, with a witness", witness: true, leads: never, inject: kill, heal: again},
	{Name: "crash-leader-witness", About: "as crash-witness, where the active leads embedded Raft too", witness: true, inside: true, leads: always, inject: kill, heal: again},
	{Name: "hang-witness", About: "the active gets SIGSTOP, with a witness that waits for half the ttl", silence: true, pauses: true, witness: true, inject: freeze, heal: thaw},
	{Name: "clean", About: "the active gets SIGTERM", inject: stop, heal: again},
	{Name: "handoff", About: "the role is handed to a named standby", inject: handOver, heal: still},
	{Name: "crash", About: "the active gets SIGKILL, without a witness", silence: true, leads: never, inject: kill, heal: again},
	{Name: "crash-leader", About: "as crash, where the active leads embedded Raft too", silence: true, inside: true, leads: always, inject: kill, heal: again},
	{Name: "hang", About: "the active gets SIGSTOP, without a witness", silence: true, pauses: true, inject: freeze, heal: thaw},
	{Name: "partition", About: "nothing passes between the active and the store, either way", silence: true, spoils: true, inject: cut, heal: mend},
	{Name: "store-leader", About: "the leader of the store is killed", servers: true, leads: never},
	{Name: "latency", About: "as clean, where everything takes 100 ms longer, each way", spoils: true, before: slow, inject: stop, heal: quick},
}

func stop(_ context.Context, s *stage, old term) (time.Duration, error) {
	return s.signal(old.id, syscall.SIGTERM), nil
}

func kill(_ context.Context, s *stage, old term) (time.Duration, error) {
	return s.signal(old.id, syscall.SIGKILL), nil
}

// again starts the contender that ended; one that was asked to may finish first.
func again(ctx context.Context, s *stage, old term) error {
	select {
	case <-s.procs[old.id].done:
	case <-time.After(s.config.TTL + 5*time.Second):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.revive(ctx, old.id)
}

func still(ctx context.Context, s *stage, _ term) error { return s.ready(ctx) }

// gone expects the contender to say anew that it is in line.
func (s *stage) gone(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inLine, id)
}

func freeze(_ context.Context, s *stage, old term) (time.Duration, error) {
	s.gone(old.id)
	return s.signal(old.id, syscall.SIGSTOP), nil
}

// thaw lets the old active go on, which must notice that its time is over: it ends
// its work or itself.
func thaw(ctx context.Context, s *stage, old term) error {
	s.signal(old.id, syscall.SIGCONT)
	return s.back(ctx, old)
}

// back waits until the old active is in line again, or starts it anew if it ends.
func (s *stage) back(ctx context.Context, old term) error {
	err := s.ready(ctx)
	s.mu.Lock()
	ended := s.ended[old.id]
	s.mu.Unlock()
	if ended {
		return s.revive(ctx, old.id)
	}
	return err
}

func cut(_ context.Context, s *stage, old term) (time.Duration, error) {
	s.gone(old.id)
	at := coordinator.Clocks().Mono
	s.network.cut(old.id, true)
	return at, nil
}

// staysCut is how much longer the network is away once the next one works: time enough to
// see that an old work goes on which nobody told.
const staysCut = 500 * time.Millisecond

func mend(ctx context.Context, s *stage, old term) error {
	select {
	case <-time.After(staysCut):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.network.cut(old.id, false)
	return s.back(ctx, old)
}

func slow(ctx context.Context, s *stage) error {
	s.network.delay(Latency)
	timer := time.NewTimer(s.config.BeatEvery())
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.ready(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func quick(ctx context.Context, s *stage, old term) error {
	s.network.delay(0)
	return again(ctx, s, old)
}

// handOver asks for the role to go to a standby: the next contender in the order.
func handOver(ctx context.Context, s *stage, old term) (time.Duration, error) {
	to, r, err := s.successor(ctx, old, "")
	if err != nil {
		return 0, err
	}
	at := coordinator.Clocks().Mono
	return at, s.client.Ask(ctx, Role, lock.Request{Token: r.Token, To: to.Session, By: "bench"})
}

// successor finds a standby of the standing term: the one with the ID, or any.
func (s *stage) successor(ctx context.Context, old term, id string) (lock.Member, lock.Term, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for st, err := range s.client.Watch(ctx, Role) {
		if err != nil || st.Term.Token < old.token {
			continue
		}
		for _, m := range st.Line {
			if id == "" || m.ID == id {
				return m, st.Term, nil
			}
		}
	}
	return lock.Member{}, lock.Term{}, fmt.Errorf("%s: no standby in line to hand over to: %w", s.name, context.Cause(ctx))
}

// arrange makes sure that the active is where the fault wants it: by the store's
// leader, or not.
func (s *stage) arrange(ctx context.Context, f Fault) (old term, err error) {
	for range 20 {
		if err := s.ready(ctx); err != nil {
			return old, err
		}
		old = s.active()
		leader, err := s.leader(ctx)
		if err != nil {
			return old, err
		}
		if leader == "" || f.leads == maybe || (f.leads == always) == (leader == old.id) {
			return old, nil
		}
		to := ""
		if f.leads == always {
			to = leader
		}
		m, t, err := s.successor(ctx, old, to)
		if err != nil {
			return old, err
		}
		if err := s.client.Ask(ctx, Role, lock.Request{Token: t.Token, To: m.Session, By: "bench"}); err != nil && !errors.Is(err, lock.ErrMoved) {
			return old, err
		}
		if err := s.until(ctx, "a handoff", func() bool { return s.after(old.token) != nil }); err != nil {
			return old, err
		}
	}
	return old, fmt.Errorf("%s: the active could not be placed", s.name)
}

// leader is the contender with which the store's leader would die; "" where there
// is none.
func (s *stage) leader(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	switch {
	case s.client == nil: // a baseline, which cannot be placed
		return "", nil
	case s.site.backend.Inside:
		return s.site.backend.Leader(ctx, s.network.outside)
	case s.site.backend.One && s.site.backend.members() > 1:
		i, err := s.site.cluster.Leader(ctx)
		if err != nil {
			return "", err
		}
		if i < len(s.ids) {
			return s.ids[i], nil
		}
	}
	return "", nil
}
