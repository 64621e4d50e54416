package state_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/state"
)

// judge says what is wrong with a history.
func (h *history) judge(t *testing.T) {
	t.Helper()
	at := map[string]int{}
	for i, c := range h.final {
		if _, twice := at[c]; twice {
			t.Errorf("a promise is broken: %q was appended twice", c)
		}
		at[c] = i + 1
	}
	var ops []porcupine.Operation
	acked, unknown, reads := 0, 0, 0
	for _, o := range h.ops {
		one := porcupine.Operation{ClientId: len(ops), Call: int64(o.began), Return: int64(o.ended)}
		switch index, there := at[o.command], at[o.command] > 0; {
		case o.command == "" && (o.err != nil || h.evicts): // by an operator's word two may believe that they are active
			continue
		case o.command == "" && o.age > 0: // it may also show what the active does not know yet
			h.old(t, o, at)
			continue
		case o.command == "":
			reads++
			one.Input, one.Output = 0, o.seen
		case o.err == nil && !there:
			t.Errorf("a promise is broken: %q was acknowledged, and is lost", o.command)
			continue
		case o.err == nil:
			acked++
			h.fenced(t, o)
			one.Input = index
		case errors.Is(o.err, state.ErrUnknown):
			unknown++
			if !there {
				continue
			}
			one.Input, one.Return = index, math.MaxInt64
		case there:
			t.Errorf("%q was refused, and is there: %v", o.command, o.err)
			continue
		default:
			if !errors.Is(o.err, fencing.ErrStale) && !errors.Is(o.err, context.DeadlineExceeded) && !errors.Is(o.err, context.Canceled) {
				t.Errorf("%q: %v", o.command, o.err)
			}
			continue
		}
		ops = append(ops, one)
	}
	if r := porcupine.CheckOperationsTimeout(model, ops, 20*time.Second); r == porcupine.Illegal {
		t.Errorf("a promise is broken: the history is not linearizable: %s", why(ops))
	} else if r == porcupine.Unknown {
		t.Log("porcupine gave up")
	}
	h.tidy(t)
	t.Logf("%d terms, %d kills, %d appended, %d unknown, %d reads", h.terms, h.kills, acked, unknown, reads)
}

// model is the length of the log: an append makes it what its place says, a read shows it.
var model = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		if index := input.(int); index > 0 {
			return index == state.(int)+1, index
		}
		return output == state, state
	},
}

// old: what a standby showed was all that had been acknowledged, but for its age.
func (h *history) old(t *testing.T, read op, at map[string]int) {
	for _, o := range h.ops {
		if o.command != "" && o.err == nil && o.ended < read.began-time.Duration(read.age) && at[o.command] > read.seen {
			t.Errorf("a promise is broken: a read at %v, which is %v old at most, lacks %q, which was acknowledged at %v", read.began, time.Duration(read.age), o.command, o.ended)
		}
	}
}

// why names two calls that cannot be in this order.
func why(ops []porcupine.Operation) string {
	place := func(o porcupine.Operation) int {
		if index := o.Input.(int); index > 0 {
			return index
		}
		return o.Output.(int)
	}
	for _, a := range ops {
		for _, b := range ops {
			if a.Return < b.Call && (place(a) > place(b) || place(a) == place(b) && b.Input != 0) {
				return fmt.Sprintf("%+v before %+v", a, b)
			}
		}
	}
	return "no two calls show it"
}

// fenced: what was acknowledged was appended while its term stood.
func (h *history) fenced(t *testing.T, o op) {
	for token, when := range h.granted {
		if token > o.token && when < o.began {
			t.Errorf("a promise is broken: %q was acknowledged in term %d, and asked for at %v, when term %d stood since %v at the latest", o.command, o.token, o.began, token, when)
		}
	}
}

// tidy: there is nothing but what the head names.
func (h *history) tidy(t *testing.T) {
	var head struct {
		First, Last uint64
		Snapshot    struct {
			Position uint64
			Chunks   int
		}
	}
	if err := json.Unmarshal(h.left["state/r/head"], &head); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"state/r/head": true}
	for i := head.First; i <= head.Last; i++ {
		want[fmt.Sprintf("state/r/entry/%020d", i)] = true
	}
	for i := range head.Snapshot.Chunks {
		want[fmt.Sprintf("state/r/snapshot/%020d/%06d", head.Snapshot.Position, i)] = true
	}
	var odd []string
	for key := range h.left {
		if !want[key] {
			odd = append(odd, "+"+key)
		}
		delete(want, key)
	}
	for key := range want {
		odd = append(odd, "-"+key)
	}
	if len(odd) > 0 {
		t.Errorf("the head says %+v, and there are: %s", head, strings.Join(odd, " "))
	}
}
