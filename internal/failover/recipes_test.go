//go:build baselines

package failover

import (
	"testing"
	"time"
)

// TestRecipes measures what is commonly written on etcd, on Consul and on a group of hashicorp/raft: the role moves after a
// clean stop and after a crash. A holder that hangs, or is cut off, is followed, and what both did at once is counted.
func TestRecipes(t *testing.T) {
	for _, c := range []struct {
		kind, store string
		ttl         time.Duration
	}{
		{"etcd-election", "etcd", 2 * time.Second},
		{"milvus", "etcd", 2 * time.Second},
		{"consul-lock", "consul", 10 * time.Second},
		{"raft-leadership", "raft", time.Second},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			all := measured(t, c.store, c.ttl, time.Minute, c.kind, nil)
			outcomes(t, all, map[string]string{"clean": Moved, "crash": Moved, "hang": Moved, "partition": Moved})
		})
	}
}
