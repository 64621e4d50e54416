package consul

import (
	"testing"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvtest"
)

// opener opens stores that whoever asks for them closes.
func opener(t testing.TB) func() kv.Store {
	return func() kv.Store {
		s, err := newStore(Config{Address: shared.Members[0].Addr()})
		must(t, err)
		return s
	}
}

func TestTakeover(t *testing.T) { kvtest.TakesOver(t, opener(t)) }

func TestEvicts(t *testing.T) { kvtest.Evicts(t, opener(t)) }

func BenchmarkTakeover(b *testing.B) { kvtest.BenchTakeover(b, opener(b)) }

func TestOtherStore(t *testing.T) { kvtest.OtherStore(t, opener(t)) }

func TestIdentityIsDrawnOnce(t *testing.T) { kvtest.DrawnOnce(t, opener(t)) }

func TestAProofOutlivesItsEnd(t *testing.T) { kvtest.ProofOutlivesItsEnd(t, opener(t)) }

func TestDeletedByHand(t *testing.T) { kvtest.DeletedByHand(t, opener(t)) }

func TestForeignValueIsQuiet(t *testing.T) { kvtest.ForeignValueIsQuiet(t, opener(t)) }

func TestRequestIsSeenAtOnce(t *testing.T) { kvtest.RequestIsSeenAtOnce(t, opener(t)) }
