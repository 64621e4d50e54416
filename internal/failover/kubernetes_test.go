//go:build kubernetes

package failover

import (
	"testing"
	"time"
)

// TestKubernetes measures client-go's leaderelection on a real API server: the role moves, whatever ends or silences
// its holder.
func TestKubernetes(t *testing.T) {
	all := measured(t, "kubernetes", 2*time.Second, 20*time.Second, "client-go", func(c Contender) []string {
		return []string{"--kubeconfig", c.Servers.Members[0].Kubeconfig()}
	})
	outcomes(t, all, map[string]string{"clean": Moved, "crash": Moved, "hang": Moved, "partition": Moved})
}
