//go:build postgres

package failover

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestPostgres measures the advisory lock on a real server: it moves when its holder ends,
// and not while the server has its connection.
func TestPostgres(t *testing.T) {
	program := filepath.Join(t.TempDir(), "baselines")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "baselines"
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	p := Plan{Runs: 2, Dir: t.TempDir(), Baselines: []Baseline{{Backend: Backend{
		Who: "advisory", Name: "postgres", Plain: true, Patience: 5 * time.Second,
		Command: func(c Contender) (*exec.Cmd, error) {
			return exec.Command(program, "postgres-lock", "--id", c.ID, "--addresses", c.Addresses[0], "--key", c.Space), nil
		},
	}}}}
	r, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"clean": Moved, "crash": Moved, "hang": Late, "partition": Late}
	if len(r.Samples) != 2*len(want) {
		t.Errorf("%d runs, want two of each of %v", len(r.Samples), want)
	}
	for _, s := range r.Samples {
		if s.Outcome != want[s.Fault] || s.Overlap != 0 || s.Stale != 0 || s.TTL != 0 {
			t.Errorf("%+v", s)
		}
	}
}
