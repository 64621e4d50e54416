// Package serve starts the servers of one test.
package serve

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// Start starts n servers of a store by its name. They end with the test.
func Start(t testing.TB, store string, n int, o servers.Options) *servers.Cluster {
	t.Helper()
	c, err := servers.Start(lab.Within(t, time.Minute), store, t.TempDir(), n, o)
	lab.Must(t, err)
	t.Cleanup(c.Stop)
	return c
}

// CA makes an authority, and the files of a server that last for an hour.
func CA(t testing.TB) (*servers.CA, servers.Files) {
	t.Helper()
	ca, err := servers.NewCA(t.TempDir())
	lab.Must(t, err)
	files, err := ca.Issue("server", time.Now().Add(time.Hour))
	lab.Must(t, err)
	return ca, files
}
