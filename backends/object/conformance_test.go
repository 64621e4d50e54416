package object_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/conformance"
	"github.com/understudy-ha/understudy/conformance/conformancetest"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is that of the objects here.
const limit = 1 << 20

// TestSuite runs the whole suite in virtual time, on an object in memory.
func TestSuite(t *testing.T) { conformancetest.Run(t, suite()) }

// TestSuiteFar runs it at the distances that docs/backend.md names: every write of one that another
// did not know of costs that one a trip more, or two where the store does not tell what is there.
func TestSuiteFar(t *testing.T) {
	for name, far := range map[string]float64{"Told": 0.3, "Untold": 0.15} {
		s := suite()
		s.Far = far
		s.New = func(context.Context) (*conformance.Store, error) {
			return inMemory(objectmem.New(), name == "Untold"), nil
		}
		t.Run(name, func(t *testing.T) { conformancetest.Run(t, s) })
	}
}

// near is a round trip where nothing is far. It makes virtual time go on in the histories, which end by it.
const near = 20 * time.Microsecond

func suite() conformance.Suite {
	return conformance.Suite{
		New: func(context.Context) (*conformance.Store, error) { return inMemory(objectmem.New(), false), nil },
		Lacks: map[conformance.Fault]string{
			conformance.KillLeader:  "the store has no leader",
			conformance.LoseNode:    "the store has no machines",
			conformance.Values:      "the store keeps no values",
			conformance.Compact:     "an object has no history",
			conformance.Restart:     "the object ends with this process",
			conformance.Pause:       "the object is in this process",
			conformance.RevokeLease: "an object has no leases",
			conformance.Leftovers:   "an object has no leases: who stands by evicts the silent",
			conformance.DeleteRole:  "a role has no record of its own that could be deleted: see TestDeletedByHand",
			conformance.Overwrite:   "a role has no record of its own that could be overwritten: see TestForeign",
		},
		Virtual: true, Slack: time.Millisecond, History: 400 * time.Millisecond,
	}
}

func inMemory(server *objectmem.Server, dumb bool) *conformance.Store {
	return &conformance.Store{
		Open: func(context.Context) (*conformance.Client, error) {
			w := &wire{client: server.Open(), dumb: dumb}
			w.far(near, 0)
			return &conformance.Client{
				Locker: object.Open(w.client, limit), Far: w.far, Heal: w.heal, Refuse: w.refuse,
				Cut:         func() error { return w.hold(true, true) },
				CutRequests: func() error { return w.hold(true, false) },
				CutReplies:  func() error { return w.hold(false, true) },
			}, nil
		},
		Save: func(context.Context) (conformance.Backup, error) {
			back := server.Save()
			return func(context.Context) error { back(); return nil }, nil
		},
		DeleteSession: func(ctx context.Context, id lock.SessionID) error {
			c := server.Open()
			return errors.Join(object.DeleteSession(ctx, c, id), c.Close())
		},
	}
}

// A wire is the network between one process and the store.
type wire struct {
	client *objectmem.Client
	dumb   bool
	heals  []func()
}

var errRefused = errors.New("connection refused")

// hold keeps requests, replies or both until the network is healed.
func (w *wire) hold(requests, replies bool) error {
	healed := make(chan struct{})
	w.heals = append(w.heals, func() { close(healed) })
	w.fault(func(c objectmem.Call) (f kvmem.Fault) {
		if requests && c.Name != "News" {
			f.Before = kvmem.Hold(healed).Before
		}
		if replies {
			f.After = kvmem.HoldReply(healed).After
		}
		return f
	})
	return nil
}

func (w *wire) fault(f func(objectmem.Call) kvmem.Fault) {
	w.client.On(func(c objectmem.Call) objectmem.Fault { return objectmem.Fault{Fault: f(c), Dumb: w.dumb} })
}

func (w *wire) refuse() error {
	w.fault(func(objectmem.Call) kvmem.Fault { return kvmem.Fail(errRefused) })
	return nil
}

func (w *wire) far(trip, _ time.Duration) {
	w.fault(func(c objectmem.Call) kvmem.Fault {
		switch c.Name {
		case "Changed": // its reply is the news
			return kvmem.Delay(trip/2, 0)
		case "News":
			return kvmem.Delay(0, trip/2)
		}
		return kvmem.Delay(trip/2, trip/2)
	})
}

func (w *wire) heal() error {
	w.far(near, 0)
	for _, heal := range w.heals {
		heal()
	}
	w.heals = nil
	return nil
}
