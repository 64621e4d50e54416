//go:build systemd || compose

package deploy

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// active returns the holder of a role.
type active struct {
	ID    string
	Token int
}

// awaitActive asks by status, in JSON and about one role, until somebody is active under a token that is
// greater, and so many stand by.
func awaitActive(t *testing.T, above, standbys int, status func() *exec.Cmd) (now active) {
	t.Helper()
	lab.Eventually(t, "an active with a greater token, and its standbys", func() bool {
		var page struct {
			Roles []struct {
				Active   *active
				Standbys []active
			}
		}
		out, err := status().Output()
		if err != nil || json.Unmarshal(out, &page) != nil || len(page.Roles) != 1 || page.Roles[0].Active == nil {
			return false
		}
		now = *page.Roles[0].Active
		return now.Token > above && len(page.Roles[0].Standbys) == standbys
	})
	return now
}

// awaitLine reads a log until it has such a line of later than since, and returns that line's own time.
func awaitLine(t *testing.T, since time.Time, what string, log func() string) (at time.Time) {
	t.Helper()
	line := regexp.MustCompile(`time=(\S+) .*` + what)
	lab.Eventually(t, what, func() bool {
		for _, found := range line.FindAllStringSubmatch(log(), -1) {
			if when, err := time.Parse(time.RFC3339Nano, found[1]); err == nil && when.After(since) && at.IsZero() {
				at = when
			}
		}
		return !at.IsZero()
	})
	return at
}
