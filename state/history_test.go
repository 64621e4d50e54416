package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

var rounds = flag.Int("rounds", map[bool]int{false: 40, true: 8}[lab.Race], "histories of TestHistory")

// A scroll is a machine that keeps every command, in order.
type scroll struct{ All []string }

func (s *scroll) Apply(command []byte)       { s.All = append(s.All, string(command)) }
func (s *scroll) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(s) }
func (s *scroll) Restore(r io.Reader) error  { return json.NewDecoder(r).Decode(s) }

// TestHistory has clients append and read while processes are killed between any two calls, calls
// fail, are late, or lose their replies, and operators evict the active. Then it judges.
func TestHistory(t *testing.T) {
	t.Parallel()
	first := rand.Uint64()
	for i := range *rounds {
		seed := first + uint64(i)
		var h *history
		synctest.Test(t, func(t *testing.T) { h = play(t, seed) })
		h.judge(t)
		if t.Failed() {
			t.Fatalf("history %d of seed %d", i, seed)
		}
	}
}

type op struct {
	client    int
	command   string // "": a read
	token     lock.Token
	began     time.Duration
	ended     time.Duration
	err       error
	seen, age int // of a read: how many commands, and how old in ns
}

type history struct {
	mu      sync.Mutex
	seed    uint64
	evicts  bool
	begun   time.Time
	ops     []op
	granted map[lock.Token]time.Duration // when a watch had shown the term at the latest
	final   []string
	left    map[string][]byte
	terms   int
	kills   int
}

func (h *history) now() time.Duration { return time.Since(h.begun) }

func (h *history) add(o op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// A stage is what a history plays on.
type stage struct {
	*rig
	h     *history
	mu    sync.Mutex
	rng   *rand.Rand
	rough bool
	all   []*actor
	made  int

	hand   *kvmem.Client // by which late commits arrive
	strays sync.WaitGroup
}

// An actor is a process of the stage, and its latest term.
type actor struct {
	*process[*scroll]
	dieAt int
	last  tenure
	dead  chan struct{}
	once  sync.Once
}

func (s *stage) random(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

var errLost = errors.New("lost on the way")

// spoil makes the calls of an actor fail, and kills it before or after one of them.
func (s *stage) spoil(c *kvmem.Client, a *actor) {
	c.On(func(c kvmem.Call) kvmem.Fault {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.Number >= a.dieAt {
			a.once.Do(func() { close(a.dead) })
			if c.Number == a.dieAt && s.rng.IntN(2) == 0 {
				return kvmem.Lose(errLost)
			}
			return kvmem.Fail(errLost)
		}
		odds, d := s.rng.IntN(100), time.Duration(s.rng.IntN(int(3*time.Second)))
		if c.Name == "Commit" && odds >= 60 && odds < 64 {
			return s.late(c.Txn, 2*d)
		}
		switch {
		case !s.rough && odds >= 6:
			return kvmem.Delay(d/3000, d/3000)
		case odds < 2:
			return kvmem.Delay(d, 0)
		case odds < 4:
			return kvmem.Delay(0, d)
		case odds < 12:
			return kvmem.Lose(errLost)
		case odds < 20:
			return kvmem.Fail(errLost)
		case odds < 30:
			return kvmem.Delay(d/10, d/10)
		}
		return kvmem.Delay(d/3000, d/3000)
	})
}

// late has a commit arrive when its caller has long given up.
func (s *stage) late(t kv.Txn, d time.Duration) kvmem.Fault {
	return kvmem.Fault{Before: func(context.Context) error {
		s.strays.Go(func() {
			time.Sleep(d)                        // of virtual time
			_, _ = s.hand.Commit(s.Context(), t) // it has no caller any more
		})
		return errLost
	}}
}

func (s *stage) enter() *actor {
	s.made++
	a := &actor{dieAt: math.MaxInt, dead: make(chan struct{})}
	if s.random(3) > 0 {
		a.dieAt = 20 + s.random(400)
	}
	a.process = start(s.rig, fmt.Sprint("p", s.made), options[*scroll]{
		Options: state.Options{Every: 400, Try: 300 * time.Millisecond}, fresh: func() *scroll { return &scroll{} }, ttl: 2 * time.Second,
		wired: func(c *kvmem.Client) { s.spoil(c, a) },
	})
	return a
}

// play plays one history, in virtual time.
func play(t *testing.T, seed uint64) *history {
	h := &history{seed: seed, begun: time.Now(), granted: map[lock.Token]time.Duration{}, evicts: seed%2 == 0}
	s := &stage{rig: &rig{T: t, server: kvmem.New(), memory: memory.New()}, h: h, rng: rand.New(rand.NewPCG(seed, 1))}
	s.hand = s.server.Open()
	defer s.strays.Wait()
	for range 3 {
		s.all = append(s.all, s.enter())
	}
	ctx, stop := context.WithTimeout(t.Context(), 40*time.Second)
	defer stop()
	var group sync.WaitGroup
	group.Go(func() { s.observe(ctx) })
	group.Go(func() { s.trouble(ctx) })
	for i := range 4 {
		group.Go(func() { s.client(ctx, i) })
	}
	group.Wait()
	for _, a := range s.all { // they may be in the middle of anything
		a.kill()
	}
	last := start(s.rig, "last", options[*scroll]{Options: state.Options{Every: 400}, fresh: func() *scroll { return &scroll{} }})
	term := last.term()
	for i := range 3 { // what is left half done is ended beside appends
		if err := last.log.Append(t.Context(), term.Term, fmt.Appendf(nil, "last %d", i)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // of virtual time
	}
	if age, err := last.log.Read(func(m *scroll) { h.final = slices.Clone(m.All) }); age != 0 || err != nil {
		t.Errorf("the last state: age %v, %v", age, err)
	}
	h.left = s.keys()
	last.halt()
	return h
}

// observe records the latest time at which each term can have been granted, and evicts the holder.
func (s *stage) observe(ctx context.Context) {
	l, _ := s.open()
	defer l.Close()
	for st, err := range l.Watch(ctx, "r") {
		if err != nil {
			continue
		}
		s.h.mu.Lock()
		if _, known := s.h.granted[st.Term.Token]; !known {
			s.h.granted[st.Term.Token] = s.h.now()
			s.h.terms++
		}
		s.h.mu.Unlock()
		if s.h.evicts && !st.Term.Vacant() && s.random(2) == 0 {
			pause := time.Duration(s.random(int(4 * time.Second)))
			time.Sleep(pause)                                                            // of virtual time
			_ = l.Evict(ctx, st.Term.Holder.Session, lock.AnyBeat, lock.End{By: "test"}) // it may be over
		}
	}
}

// trouble comes and goes, and the dead are replaced.
func (s *stage) trouble(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(s.random(int(3 * time.Second)))) // of virtual time
		s.mu.Lock()
		s.rough = s.rng.IntN(3) == 0
		all := slices.Clone(s.all)
		s.mu.Unlock()
		for i, a := range all {
			select {
			case <-a.dead:
				a.kill()
				s.mu.Lock()
				s.h.kills++
				s.mu.Unlock()
				next := s.enter()
				s.mu.Lock()
				s.all[i] = next
				s.mu.Unlock()
			default:
			}
		}
	}
}

// client appends and reads, at any process.
func (s *stage) client(ctx context.Context, id int) {
	for n := 0; ctx.Err() == nil; n++ {
		s.mu.Lock()
		a := s.all[s.rng.IntN(len(s.all))]
		for range 2 { // rather at one that has had a term
			if a.last.Token == 0 {
				a = s.all[s.rng.IntN(len(s.all))]
			}
		}
		select {
		case a.last = <-a.terms:
		default:
		}
		t := a.last
		s.mu.Unlock()
		o := op{client: id, began: s.h.now(), token: t.Token}
		if t.Token != 0 && s.random(2) == 0 {
			o.command = fmt.Sprintf("%d-%d", id, n)
			call, cancel := context.WithTimeout(ctx, time.Duration(s.random(int(3*time.Second))))
			o.err = a.log.Append(call, t.Term, []byte(o.command))
			cancel()
		} else {
			var age time.Duration
			age, o.err = a.log.Read(func(m *scroll) { o.seen = len(m.All) })
			o.age = int(age)
		}
		o.ended = s.h.now()
		s.h.add(o)
		time.Sleep(time.Duration(s.random(int(60 * time.Millisecond)))) // of virtual time
	}
}
