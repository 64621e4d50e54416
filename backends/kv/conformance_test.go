package kv_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
)

// TestSuite runs the whole suite in virtual time, on a store in memory.
func TestSuite(t *testing.T) {
	conformancetest.Run(t, conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) { return inMemory(), nil },
		Lacks: map[conformance.Fault]string{
			conformance.Restart:    "the store ends with this process",
			conformance.Pause:      "the store stops with this process",
			conformance.KillLeader: "the store has no leader",
			conformance.LoseNode:   "the store has no machines",
		},
		Virtual: true, Slack: time.Millisecond, History: 10 * time.Minute,
	})
}

// TestSuiteFar runs it far away from the store.
func TestSuiteFar(t *testing.T) {
	conformancetest.Run(t, conformance.Suite{
		New:     func(context.Context) (*conformance.Store, error) { return inMemory(), nil },
		Lacks:   map[conformance.Fault]string{conformance.LoseNode: "the store has no machines"},
		Virtual: true, Slack: time.Millisecond, History: 10 * time.Minute, Far: 0.9,
	})
}

func inMemory() *conformance.Store {
	server := kvmem.New()
	hand := kv.NewHand(server.Open(), "")
	return &conformance.Store{
		Open: func(context.Context) (*conformance.Client, error) {
			w := &wire{client: server.Open()}
			return &conformance.Client{
				Locker: kv.NewLocker(w.client, ""), Far: w.far,
				Cut: w.cut(true, true), CutRequests: w.cut(true, false), CutReplies: w.cut(false, true),
				Refuse: w.refuse, Heal: w.heal,
			}, nil
		},
		Save: func(context.Context) (conformance.Backup, error) {
			restore := server.Save()
			return func(context.Context) error { restore(); return nil }, nil
		},
		Compact:       func(context.Context) error { server.Forget(); return nil },
		DeleteSession: hand.DeleteSession,
		DeleteRole:    hand.DeleteRole,
		Overwrite:     hand.Overwrite,
		RevokeLease:   hand.RevokeLease,
		Leftovers: func(ctx context.Context) (all []string, err error) {
			c := server.Open()
			defer c.Close()
			v, err := c.Read(ctx, kv.DefaultPrefix)
			for _, r := range v.Records {
				if r.Lease != "" {
					all = append(all, r.Key)
				}
			}
			return all, err
		},
	}
}

// A wire is the network between one process and the store.
type wire struct {
	client *kvmem.Client
	mu     sync.Mutex
	healed chan struct{} // closed by heal; nil: nothing is cut
}

var errRefused = errors.New("connection refused")

func (w *wire) cut(requests, replies bool) func() error {
	return func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.healed == nil {
			w.healed = make(chan struct{})
		}
		healed := w.healed
		w.client.On(func(c kvmem.Call) kvmem.Fault {
			switch {
			case c.Name == "Step" && replies:
				return kvmem.Hold(healed)
			case c.Name == "Step":
				return kvmem.Fault{}
			case requests:
				return kvmem.Hold(healed)
			}
			return kvmem.HoldReply(healed)
		})
		return nil
	}
}

func (w *wire) refuse() error {
	w.client.On(func(kvmem.Call) kvmem.Fault { return kvmem.Fail(errRefused) })
	w.client.Break(errRefused)
	return nil
}

func (w *wire) far(trip, _ time.Duration) {
	w.client.On(func(c kvmem.Call) kvmem.Fault {
		if c.Name == "Step" {
			return kvmem.Delay(trip/2, 0)
		}
		return kvmem.Delay(trip/2, trip/2)
	})
}

func (w *wire) heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.client.On(nil)
	if w.healed != nil {
		close(w.healed)
		w.healed = nil
	}
	return nil
}
