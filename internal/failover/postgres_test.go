//go:build postgres

package failover

import (
	"testing"
	"time"
)

// TestPostgres measures the advisory lock on a real server: it moves when its holder ends, and not while the server
// has its connection. River's election moves at its ttl.
func TestPostgres(t *testing.T) {
	t.Run("advisory lock", func(t *testing.T) {
		t.Parallel()
		all := measured(t, "postgres", 0, 5*time.Second, "postgres-lock", nil)
		outcomes(t, all, map[string]string{"clean": Moved, "crash": Moved, "hang": Late, "partition": Late})
		for _, samples := range all {
			for _, s := range samples {
				if s.Overlap != 0 || s.Stale != 0 || s.TTL != 0 {
					t.Errorf("%+v", s)
				}
			}
		}
	})
	t.Run("River", func(t *testing.T) {
		t.Parallel()
		all := measured(t, "postgres", 15*time.Second, 20*time.Second, "river", nil)
		outcomes(t, all, map[string]string{"clean": Moved, "crash": Moved})
	})
}
