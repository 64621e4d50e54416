package backends

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A said is what was logged.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

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
		var log said
		logger := slog.New(slog.NewTextHandler(&log, nil))
		l, err := Open(t.Context(), Config{
			Backend: name,
			Etcd:    etcd.Config{Endpoints: []string{"127.0.0.1:1"}, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, Logger: logger},
			Consul:  consul.Config{Address: "127.0.0.1:1", CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, Logger: logger},
		})
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(5 * time.Second); !log.has("less than a tenth of its life is left"); time.Sleep(5 * time.Millisecond) { // the watch of the files tells nobody
			if time.Now().After(end) {
				t.Fatalf("%s: nothing about the certificate", name)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
