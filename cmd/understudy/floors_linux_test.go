//go:build chaos

package main

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// Floors is a history of a group's floor: clients raise it, and read it at one node each, while machines fail.
type floors struct {
	f      *fleet
	apart  sync.RWMutex // each call reads; written while a part is judged
	mu     sync.Mutex
	begun  uint64 // the floor with which this part began
	last   uint64 // the greatest that was asked for
	calls  []porcupine.Operation
	raised raiser
	judged int
}

type raiser interface {
	Raise(ctx context.Context, above lock.Token) error
}

// A floorCall raises the floor, or reads it.
type floorCall struct{ raise uint64 }

// A floorSeen is what a reading shows: the floor, or the role's token where that is greater.
type floorSeen struct{ floor, token uint64 }

// floorStep is how much greater each floor is than the one before: so it is greater than the tokens that were granted since.
const floorStep = 1 << 20

// callTime bounds each call.
const callTime = 2 * time.Second

// newFloors begins a history, with clients that call until the test ends.
func newFloors(f *fleet) *floors {
	f.t.Helper()
	h := &floors{f: f, last: 1 << 32} // above every index, so that raising it is always a change
	client, err := raft.Dial(f.store.Raft)
	must(f.t, err)
	h.raised = client
	h.part()
	ctx, stop := context.WithCancel(f.t.Context())
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() { h.loop(ctx, h.raise) })
	}
	for _, p := range f.store.Raft.Peers {
		alone := f.store.Raft
		alone.Peers = []raft.Peer{p}
		reader, err := raft.Dial(alone)
		must(f.t, err)
		running.Go(func() {
			h.loop(ctx, func(ctx context.Context) { h.read(ctx, reader) })
			must(f.t, reader.Close())
		})
	}
	f.t.Cleanup(func() { stop(); running.Wait(); must(f.t, client.Close()) })
	return h
}

// loop makes a call again and again. The pause bounds how long a part is, and with it what judging it costs.
func (h *floors) loop(ctx context.Context, call func(context.Context)) {
	for ctx.Err() == nil {
		h.apart.RLock()
		short, cancel := context.WithTimeout(ctx, callTime)
		call(short)
		cancel()
		h.apart.RUnlock()
		select {
		case <-time.After(time.Duration(10+rand.IntN(30)) * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// raise asks for a floor that is greater than any before. Without an answer it may still be raised later.
func (h *floors) raise(ctx context.Context) {
	h.mu.Lock()
	h.last += floorStep
	next := h.last
	h.mu.Unlock()
	began := coordinator.Clocks().Mono
	err := h.raised.Raise(ctx, lock.Token(next))
	ended := int64(coordinator.Clocks().Mono)
	if err != nil {
		ended = math.MaxInt64
	} else {
		h.f.acknowledge(next)
	}
	h.note(porcupine.Operation{Input: floorCall{raise: next}, Call: int64(began), Return: ended})
}

func (h *floors) read(ctx context.Context, from lock.Locker) {
	began := coordinator.Clocks().Mono
	st, err := standing(ctx, from, "r")
	if err != nil {
		return
	}
	h.note(porcupine.Operation{Input: floorCall{}, Output: floorSeen{uint64(st.Floor), uint64(st.Term.Token)}, Call: int64(began), Return: int64(coordinator.Clocks().Mono)})
}

func (h *floors) note(o porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.ClientId = len(h.calls) // calls without an answer never end, so each counts as a client
	h.calls = append(h.calls, o)
}

// part ends the part before, and begins the next one with a floor that is acknowledged: whatever had no answer before has
// no effect any more, because it is smaller.
func (h *floors) part() {
	h.f.t.Helper()
	h.apart.Lock()
	defer h.apart.Unlock()
	h.judge()
	h.calls = nil
	h.f.eventually("a floor is acknowledged", func() bool {
		h.last += floorStep
		ctx, cancel := context.WithTimeout(h.f.t.Context(), callTime)
		defer cancel()
		return h.raised.Raise(ctx, lock.Token(h.last)) == nil
	})
	h.begun = h.last
	h.f.acknowledge(h.begun)
}

// judge asks whether there is an order of the calls, each within its time, that explains every answer.
func (h *floors) judge() {
	h.f.t.Helper()
	switch porcupine.CheckOperationsTimeout(floorModel(h.begun), h.calls, time.Minute) {
	case porcupine.Illegal:
		h.f.t.Errorf("a promise is broken: no order of %d calls explains the floors that were read", len(h.calls))
	case porcupine.Unknown:
		h.f.t.Errorf("%d calls were not judged in time", len(h.calls))
	case porcupine.Ok:
		h.judged += len(h.calls)
	}
}

// floorModel is a floor that is only raised.
func floorModel(begun uint64) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return begun },
		Step: func(state, in, out any) (bool, any) {
			floor, call := state.(uint64), in.(floorCall)
			if call.raise > 0 {
				return true, max(floor, call.raise)
			}
			seen := out.(floorSeen)
			return seen.floor == max(floor, seen.token), floor
		},
	}
}

// TestFloorsAreJudged: the judge refuses a floor that was read before it was asked for, one that falls, and one that was
// acknowledged and is not read.
func TestFloorsAreJudged(t *testing.T) {
	call := func(raise, read uint64, began, ended int64) porcupine.Operation {
		return porcupine.Operation{ClientId: int(began), Input: floorCall{raise}, Output: floorSeen{floor: read}, Call: began, Return: ended}
	}
	for name, test := range map[string]struct {
		calls []porcupine.Operation
		ok    bool
	}{
		"in order":                {[]porcupine.Operation{call(0, 5, 1, 2), call(7, 0, 3, 4), call(0, 7, 5, 6)}, true},
		"at once":                 {[]porcupine.Operation{call(7, 0, 1, 9), call(0, 5, 2, 3), call(0, 7, 4, 5)}, true},
		"without an answer":       {[]porcupine.Operation{call(7, 0, 1, math.MaxInt64), call(0, 5, 2, 3), call(0, 7, 4, 5)}, true},
		"before it was asked for": {[]porcupine.Operation{call(0, 7, 1, 2), call(7, 0, 3, 4)}, false},
		"falls":                   {[]porcupine.Operation{call(7, 0, 1, math.MaxInt64), call(0, 7, 2, 3), call(0, 5, 4, 5)}, false},
		"is not read":             {[]porcupine.Operation{call(7, 0, 1, 2), call(0, 5, 3, 4)}, false},
	} {
		if got := porcupine.CheckOperations(floorModel(5), test.calls); got != test.ok {
			t.Errorf("%s: %v", name, got)
		}
	}
}
