// Package deploy has the forms without Kubernetes, and tries them: units under a real systemd, packages, images and
// files for Compose.
package deploy

import (
	"os"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// TestUnitsDiffer expects the two units to differ in their first comment and in names alone.
func TestUnitsDiffer(t *testing.T) {
	read := func(name string, names ...string) string {
		text, err := os.ReadFile("systemd/" + name)
		lab.Must(t, err)
		_, unit, _ := strings.Cut(string(text), "\n\n")
		return strings.NewReplacer(names...).Replace(unit)
	}
	one := read("understudy.service")
	if got := read("understudy@.service", "contender %i", "contender", "/etc/understudy/%i", "/etc/understudy/understudy", "/%i", ""); got != one {
		t.Errorf("understudy@.service for a single contender is\n%s\nand understudy.service\n%s", got, one)
	}
}
