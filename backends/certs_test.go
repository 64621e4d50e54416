package backends

import (
	"log/slog"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestCertificateThatRunsOutIsSaid by who is a client of etcd or Consul, too. No server is
// there: a Locker connects when it is first used.
func TestCertificateThatRunsOutIsSaid(t *testing.T) {
	ca, err := servers.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := ca.Issue("client", time.Now().Add(5*time.Minute)) // of two hours
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etcd", "consul"} {
		var log lab.Said
		logger := slog.New(slog.NewTextHandler(&log, nil))
		l, err := Open(t.Context(), Config{
			Backend: name,
			Etcd:    etcd.Config{Endpoints: []string{"127.0.0.1:1"}, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, Logger: logger},
			Consul:  consul.Config{Address: "127.0.0.1:1", CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, Logger: logger},
		})
		if err != nil {
			t.Fatal(err)
		}
		lab.Eventually(t, name+"'s word about the certificate", func() bool { return log.Has("less than a tenth of its life is left") })
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
