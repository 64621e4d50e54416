//go:build kubernetes

package kubernetes

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// TestNumberAgain: after a backup was put back the same resourceVersion comes again, of another write. Who
// knows the first one must not overwrite the second.
func TestNumberAgain(t *testing.T) {
	ctx := lab.Within(t, 3*time.Minute)
	c := serve.Start(t, "kubernetes", 1, servers.Options{})
	s, err := newStore(Config{Kubeconfig: c.Members[0].Kubeconfig()})
	lab.Must(t, err)
	defer func() { lab.Must(t, s.Close()) }()
	data := []byte(`{"Store": "understudy", "Format": 1, "Ledger": {}}`)
	_, err = s.Start(ctx)
	lab.Must(t, err)
	first, err := s.Put(ctx, data, "")
	lab.Must(t, err)
	below := *c
	below.Members = c.Members[1:]
	restore, err := below.Save(ctx, t.TempDir())
	lab.Must(t, err)
	write := func(old string) (v object.Value) {
		t.Helper()
		lab.Eventually(t, "a write once etcd answers", func() bool {
			v, err = s.Put(ctx, data, old)
			return err == nil || errors.Is(err, object.ErrConflict) && v.Version != "" // one whose reply was lost was written
		})
		return v
	}
	number := func(v object.Value) string { return strings.Fields(v.Version)[0] }
	seen, last := map[string]object.Value{}, first
	for range 100 {
		last = write(last.Version)
		seen[number(last)] = last
	}
	lab.Must(t, restore(ctx))
	for now := first; ; {
		now = write(now.Version)
		old, again := seen[number(now)]
		if !again {
			continue // another object has the number
		}
		v, err := s.Put(ctx, data, old.Version)
		if !errors.Is(err, object.ErrConflict) || v.Version != now.Version {
			t.Errorf("%v, %v: who knows %s has overwritten %s", v.Version, err, old.Version, now.Version)
		}
		return
	}
}
