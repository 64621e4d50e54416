package raft

import (
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab/storebench"
)

// BenchmarkCalls times each call of the contract at the leader, beside the library
// applying as many entries, as long. What others read first, the leader has in memory.
func BenchmarkCalls(b *testing.B) {
	g := newGroup(b, 3, nil).start()
	leader, _ := g.leader()
	entry, err := encode(ledger.Command{Op: ledger.Nothing, Role: strings.Repeat("x", 300)})
	must(b, err)
	storebench.Calls(b, g.lockers[leader], func(trip string) error {
		if trip != "put" && trip != "swap" {
			return nil
		}
		return g.nodes[leader].raft.Apply(entry, time.Second).Error()
	})
}
