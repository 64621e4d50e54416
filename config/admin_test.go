package config

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestAdminMistakes are told in the words of whoever gave the settings.
func TestAdminMistakes(t *testing.T) {
	file := lab.Settings(t, "role: r\nbackend: memory\nadmin:\n  listen: 10.0.0.1:80\n")
	c, err := Read(Source{Environ: []string{"UNDERSTUDY_CONFIG=" + file, "UNDERSTUDY_ADMIN_CERT_FILE=c.pem"}, Log: io.Discard})
	lab.Must(t, err)
	err = c.ForContender()
	for _, want := range []string{file + ":4: admin.listen: 10.0.0.1:80 is not on loopback", "UNDERSTUDY_ADMIN_CERT_FILE and admin-key-file: give both or none"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q, but %v", want, err)
		}
	}
}

// TestAdminIsOff by default, and nothing is kept for it then.
func TestAdminIsOff(t *testing.T) {
	c, err := Read(Source{Environ: []string{"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=memory"}, Log: io.Discard})
	lab.Must(t, err)
	lab.Must(t, c.ForContender())
	s, err := c.Listen()
	if s != nil || err != nil || c.Coordinator.Monitor != nil {
		t.Errorf("it listens: %v, %v, %v", s, err, c.Coordinator.Monitor)
	}
}

// TestAdminListens where the settings say, and knows when the store's certificates end.
func TestAdminListens(t *testing.T) {
	ca, err := servers.NewCA(t.TempDir())
	lab.Must(t, err)
	until := time.Now().Add(time.Hour)
	files, err := ca.Issue("a", until)
	lab.Must(t, err)
	c, err := Read(Source{Environ: []string{
		"UNDERSTUDY_ROLE=r", "UNDERSTUDY_BACKEND=etcd", "UNDERSTUDY_ADMIN_LISTEN=127.0.0.1:0", "UNDERSTUDY_ETCD_ENDPOINTS=https://127.0.0.1:1",
		"UNDERSTUDY_ETCD_CA_FILE=" + files.CA, "UNDERSTUDY_ETCD_CERT_FILE=" + files.Cert, "UNDERSTUDY_ETCD_KEY_FILE=" + files.Key,
	}, Log: io.Discard})
	lab.Must(t, err)
	lab.Must(t, c.ForContender())
	s, err := c.Listen()
	lab.Must(t, err)
	s.Close()
	ends := c.Admin.Certificates()
	if got := ends[files.Cert]; len(ends) != 2 || got.Unix() != until.Unix() || c.Coordinator.Monitor == nil {
		t.Errorf("certificates end at %v, want %v", ends, until)
	}
}
