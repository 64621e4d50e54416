package lab

import (
	"os"
	"os/exec"
	"testing"
)

// OwnDisk runs the test once more, in a mount namespace of its own, where the folder that it returns is a tmpfs
// of that size. It returns "" where that is done: nothing is left to do then.
func OwnDisk(t *testing.T, size string) string {
	t.Helper()
	const variable = "LAB_OWN_DISK"
	if disk := os.Getenv(variable); disk != "" {
		return disk
	}
	disk := t.TempDir()
	script := `mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@"`
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script, disk, size, os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"="+disk)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return ""
}
