//go:build postgres || kubernetes || baselines

package failover

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// measured runs a baseline on real servers, and returns what became of each fault.
func measured(t *testing.T, store string, ttl, patience time.Duration, kind string, flags func(Contender) []string) map[string][]Sample {
	t.Helper()
	program := filepath.Join(t.TempDir(), "baselines")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "baselines"
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	r, err := Run(t.Context(), Plan{Runs: 2, Dir: t.TempDir(), Baselines: []Baseline{{TTL: ttl, Backend: Backend{
		Who: kind, Name: store, Inside: store == "raft", Plain: true, Patience: patience,
		Command: func(c Contender) (*exec.Cmd, error) {
			cmd := exec.Command(program, kind, "--id", c.ID, "--addresses", strings.Join(c.Addresses, ","), "--key", c.Space, "--ttl", ttl.String(), "--dir", c.Dir)
			if flags != nil {
				cmd.Args = append(cmd.Args, flags(c)...)
			}
			return cmd, nil
		},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]Sample{}
	for _, s := range r.Samples {
		all[s.Fault] = append(all[s.Fault], s)
		t.Logf("%s, %s: %s after %v, overlap %v, %d stale writes %s", kind, s.Fault, s.Outcome, time.Duration(s.Started), s.Overlap, s.Stale, s.Note)
	}
	for _, fault := range baselineFaults {
		if len(all[fault]) != 2 {
			t.Errorf("%s was measured %d times, want twice", fault, len(all[fault]))
		}
	}
	return all
}

// outcomes fails where a fault had another outcome.
func outcomes(t *testing.T, all map[string][]Sample, want map[string]string) {
	t.Helper()
	for fault, outcome := range want {
		for _, s := range all[fault] {
			if s.Outcome != outcome {
				t.Errorf("%s: %s, want %s: %+v", fault, s.Outcome, outcome, s)
			}
		}
	}
}
