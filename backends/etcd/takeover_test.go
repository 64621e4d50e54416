package etcd

import (
	"testing"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvtest"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

func opener(t testing.TB) func() kv.Store {
	c, err := servers.StartEtcd(t.Context(), t.TempDir(), 1, servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return func() kv.Store { return newStore(Config{Endpoints: []string{c.Members[0].Addr()}}) }
}

func TestTakeover(t *testing.T) { kvtest.TakesOver(t, opener(t)) }

func TestEvicts(t *testing.T) { kvtest.Evicts(t, opener(t)) }

func BenchmarkTakeover(b *testing.B) { kvtest.BenchTakeover(b, opener(b)) }

func BenchmarkIdle(b *testing.B) { kvtest.BenchIdle(b, opener(b)) }

func TestOtherStore(t *testing.T) { kvtest.OtherStore(t, opener(t)) }

func TestIdentityIsDrawnOnce(t *testing.T) { kvtest.DrawnOnce(t, opener(t)) }

func TestAProofOutlivesItsEnd(t *testing.T) { kvtest.ProofOutlivesItsEnd(t, opener(t)) }

func TestDeletedByHand(t *testing.T) { kvtest.DeletedByHand(t, opener(t)) }

func TestForeignValueIsQuiet(t *testing.T) { kvtest.ForeignValueIsQuiet(t, opener(t)) }

func TestRequestIsSeenAtOnce(t *testing.T) { kvtest.RequestIsSeenAtOnce(t, opener(t)) }
