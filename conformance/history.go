package conformance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-ha/understudy/lock"
)

// Limits of one round, which is judged by itself.
const (
	historians = 5  // clients at once
	calledEach = 25 // calls of each
	openEach   = 2  // of these, those that may still take effect when the round is over
)

// history makes random calls from several clients at once. Replies are lost now and then, and
// requests arrive late. Each round is judged: is there an order of the calls, each within its
// time, that explains every answer?
func history(t *trial) { t.rounds(nil) }

// historyCut also cuts the clients' own connections.
func historyCut(t *trial) {
	t.rounds(func(r *rand.Rand, all []*Client) {
		c := all[r.IntN(len(all))]
		spoil := c.Cut
		if r.IntN(2) == 0 {
			spoil = c.CutReplies
		}
		if err := spoil(); err != nil {
			t.errorf("cut: %v", err)
		}
		t.pause(time.Duration(r.Int64N(int64(t.TTL / 2))))
		if err := c.Heal(); err != nil {
			t.errorf("heal: %v", err)
		}
	})
}

// historyRestart also restarts the servers.
func historyRestart(t *trial) {
	t.rounds(func(r *rand.Rand, _ []*Client) {
		t.pause(time.Duration(r.Int64N(int64(t.TTL / 2))))
		if err := t.store.Restart(t.ctx); err != nil {
			t.errorf("restart: %v", err)
		}
	})
}

// rounds plays rounds for the length of a history.
func (t *trial) rounds(spoil func(r *rand.Rand, all []*Client)) {
	var all []*Client
	for range historians {
		all = append(all, t.open())
	}
	n, most := 0, math.MaxInt
	if t.Virtual { // where calls take no time
		most = 60
	}
	for end := time.Now().Add(t.History); n < most && time.Now().Before(end) && t.ctx.Err() == nil && !t.hasFailed(); n++ {
		h := &chronicle{t: t, role: t.named(fmt.Sprint("role ", n))}
		h.play(uint64(n), all, spoil)
		h.judge()
	}
	if n == 0 {
		t.errorf("no round was played")
	}
}

// A chronicle is one round: the calls and their outcomes.
type chronicle struct {
	t     *trial
	role  string
	clock atomic.Int64 // counts the beginnings and the ends of calls: a virtual clock would stand still

	mu       sync.Mutex
	sessions []lock.Session
	last     lock.Token // the latest that was granted
	calls    []porcupine.Operation
}

// play has every client make its calls.
func (h *chronicle) play(seed uint64, all []*Client, spoil func(r *rand.Rand, all []*Client)) {
	var spoiling sync.WaitGroup
	if spoil != nil {
		spoiling.Go(func() { spoil(rand.New(rand.NewPCG(seed, 99)), all) })
	}
	h.t.together(len(all), func(i int) {
		c := &historian{chronicle: h, id: i, l: all[i], r: rand.New(rand.NewPCG(seed, uint64(i)))}
		for n := 0; n < calledEach && c.open < openEach; n++ {
			if c.s == nil {
				c.register()
				continue
			}
			c.call()
		}
	})
	spoiling.Wait()
}

// A historian is one client in a round.
type historian struct {
	*chronicle
	id     int
	l      *Client
	r      *rand.Rand
	s      lock.Session // nil: it must register
	number int          // of that session in the chronicle
	token  lock.Token   // of its last term
	open   int          // calls that may still take effect
}

// does makes one call, with a short time, and keeps it. A call may be made twice in a row, as
// after a lost reply; then its first answer is not known.
func (h *historian) does(in input, call func(ctx context.Context) (output, error)) output {
	in.client = h.id
	if h.r.IntN(6) == 0 {
		h.record(in, func(ctx context.Context) (output, error) {
			if _, err := call(ctx); codeOf(err) == lock.Unknown {
				return output{}, err
			}
			return output{}, errNoReply
		})
	}
	return h.record(in, call)
}

func (h *historian) record(in input, call func(ctx context.Context) (output, error)) output {
	ctx, cancel := context.WithTimeout(h.t.ctx, h.t.TTL/2)
	defer cancel()
	begun := h.clock.Add(1)
	out, err := call(ctx)
	ended := h.clock.Add(1)
	out.code = codeOf(err)
	var held *lock.HeldError
	if errors.As(err, &held) {
		out.token = held.Token
	}
	if out.code == lock.Unknown && !errors.Is(err, errNoReply) {
		ended = math.MaxInt64 // it may take effect at any time
		h.open++
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, porcupine.Operation{ClientId: h.id, Input: in, Call: begun, Output: out, Return: ended})
	if in.op == opClose {
		in.op = opFree
		h.calls = append(h.calls, porcupine.Operation{ClientId: h.id, Input: in, Call: begun, Output: out, Return: ended})
	}
	return out
}

// register registers a new session, which counts even if the outcome is unknown.
func (h *historian) register() {
	h.mu.Lock()
	number := len(h.sessions)
	if number >= maxSessions {
		h.mu.Unlock()
		h.t.pause(time.Millisecond)
		return
	}
	h.sessions = append(h.sessions, nil)
	h.mu.Unlock()
	c := lock.Contender{ID: fmt.Sprint(h.role, " ", number), Session: nonce()}
	var s lock.Session
	out := h.record(input{op: opRegister, session: number, client: h.id}, func(ctx context.Context) (output, error) {
		made, err := h.l.Register(ctx, c, h.t.promise(), lock.Bid{Role: h.role})
		s = made
		return output{}, err
	})
	if out.code == lock.OK {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sessions[number], h.s, h.number = s, s, number
	}
}

// call makes a random call.
func (h *historian) call() {
	s, n := h.s, h.number
	h.mu.Lock()
	other, last := h.r.IntN(len(h.sessions)), h.last
	to := h.sessions[other]
	h.mu.Unlock()
	if h.r.IntN(8) != 0 {
		last = h.token // else: another's, which it should not use
	}
	var out output
	switch k := h.r.IntN(20); {
	case k < 9:
		out = h.does(input{op: opAcquire, session: n}, func(ctx context.Context) (output, error) {
			token, err := s.TryAcquire(ctx, h.role)
			return output{token: token}, err
		})
		if out.code == lock.OK {
			h.mu.Lock()
			h.token, h.last = out.token, max(h.last, out.token)
			h.mu.Unlock()
		}
	case k < 13:
		out = h.does(input{op: opRelease, session: n, token: last}, func(ctx context.Context) (output, error) {
			return output{}, s.Release(ctx, h.role, last)
		})
	case k < 15 && to != nil && other != n:
		out = h.does(input{op: opHandoff, session: n, token: last, to: other}, func(ctx context.Context) (output, error) {
			return output{}, s.Handoff(ctx, h.role, last, to.ID())
		})
	case k < 16 && to != nil:
		seen := h.beatOf(to.ID())
		out = h.does(input{op: opEvict, session: other}, func(ctx context.Context) (output, error) {
			return output{}, h.l.Evict(ctx, to.ID(), seen, lock.End{By: "the suite", Why: "by chance"})
		})
		return
	case k < 17:
		out = h.does(input{op: opClose, session: n}, func(ctx context.Context) (output, error) { return output{}, s.Close(ctx) })
		h.s = nil
	default:
		out = h.does(input{op: opBeat, session: n}, func(ctx context.Context) (output, error) { return output{}, s.Beat(ctx) })
	}
	if out.code == lock.Lost {
		h.s = nil
	}
}

// beatOf is the beat of a session as this client sees it now.
func (h *historian) beatOf(id lock.SessionID) lock.Beat {
	ctx, cancel := context.WithTimeout(h.t.ctx, h.t.TTL/2)
	defer cancel()
	for st, err := range h.l.Watch(ctx, h.role) {
		if err == nil {
			return beatOf(st, id)
		}
		break
	}
	return lock.Absent
}

// judge fails the case unless some order explains the round. If none was found in time that is a
// failure too.
func (h *chronicle) judge() {
	nondeterministic := model()
	m := nondeterministic.ToModel()
	result, info := porcupine.CheckOperationsVerbose(m, h.calls, 30*time.Second)
	if result == porcupine.Ok {
		return
	}
	path, err := keep(m, info)
	h.t.errorf("%d calls, whose order is %s; drawn in %s %v", len(h.calls), result, path, err)
}

// keep draws a history for people.
func keep(m porcupine.Model, info porcupine.LinearizationInfo) (string, error) {
	dir, err := os.MkdirTemp("", "understudy-history-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "history.html")
	return path, porcupine.VisualizePath(m, info, path)
}
