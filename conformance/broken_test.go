package conformance

import (
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/understudy-ha/understudy/internal/lab/script"
)

// inCoordinator are some of the mistakes that package coordinator plants for its
// own tests, with the case that catches each here.
var inCoordinator = map[string]string{
	"absence-from-last-beat":     "RunSessionDeletedUnseen",
	"beat-retry-counts-late":     "RunBeatRetried",
	"deadline-from-reply":        "RunRepliesLate",
	"never-kill":                 "RunStopExit",
	"no-skew":                    "RunAbandoned",
	"register-again":             "RunRegistrationLost",
	"release-before-return":      "RunStop",
	"second-work":                "RunEvicted",
	"start-on-a-standing":        "RunStandingLate",
	"start-with-less-than-grace": "RunGrantLate",
}

// TestMutants plants mistakes in the coordinator, by the files of its own tests.
// Each builds this package anew: a few seconds. With -short three are planted.
func TestMutants(t *testing.T) {
	names := slices.Sorted(maps.Keys(inCoordinator))
	if testing.Short() {
		names = names[:3]
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mistake, err := script.Read(filepath.Join("../coordinator/internal/machine/testdata/mutants", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			overlay, err := mistake.Plant("..", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			only := "^TestShelf$/^" + inCoordinator[name] + "$"
			out, err := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-timeout", "1m", "-run", only, ".").CombinedOutput()
			failed := strings.Contains(string(out), "--- FAIL: TestShelf/"+inCoordinator[name])
			crashed := strings.Contains(string(out), "panic: ") // it may end the coordinator in the midst of the case
			if err == nil || !failed && !crashed {
				t.Errorf("%s does not catch it: %v\n%s", inCoordinator[name], err, out)
			}
		})
	}
}

// TestBroken plants mistakes in the store and around it. Each must be caught, by
// the case that is about it.
func TestBroken(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // histories that are drawn
	all := slices.Concat(inStore, inLocker, inOperator, inFence, inValues)
	if len(all) < 25 {
		t.Errorf("%d mistakes are planted, want 25 or more", len(all))
	}
	for _, p := range all {
		t.Run(p.what, func(t *testing.T) {
			at := slices.IndexFunc(cases, func(c kase) bool { return c.name == p.caught })
			if at < 0 {
				t.Fatalf("there is no case %q", p.caught)
			}
			s := onShelf(p.mistake).defaults()
			var r Result
			synctest.Test(t, func(t *testing.T) { r = s.try(t.Context(), cases[at]) })
			if r.Verdict != Failed {
				t.Errorf("%s does not catch it: %s %s", p.caught, r.Verdict, r.Why)
			}
			t.Logf("%s: %.300s", p.caught, strings.ReplaceAll(r.Why, "a promise is broken: ", "")) // .ci/tests looks for that
		})
	}
}
