package process

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestProcOfAnotherNamespace: where /proc shows other processes than ours, it proves nothing: under the number of a living one
// there may be another, or a later one.
func TestProcOfAnotherNamespace(t *testing.T) {
	if os.Getenv("UNDERSTUDY_TEST") == "elsewhere" {
		if started := This().Started; started != "" {
			t.Errorf("this process began at %q by a /proc in which it has another number", started)
		}
		return
	}
	if This().Started == "" {
		t.Error("it is not known when this process began")
	}
	cmd := exec.Command("unshare", "--map-root-user", "-pf", "--kill-child", os.Args[0], "-test.run=^TestProcOfAnotherNamespace$", "-test.v")
	cmd.Env = append(os.Environ(), "UNDERSTUDY_TEST=elsewhere")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v: %s", err, out)
	}
}
