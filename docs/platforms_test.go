package docs

import (
	"go/build"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab"
)

// whatRuns says which file has what a row of platforms.md is about. Where a system has it, the file is
// built for it.
var whatRuns = map[string]string{
	"the command `understudy`":                    "internal/procgroup/group.go",
	"a program that embeds the packages":          "coordinator/coordinator.go",
	"a node of embedded Raft":                     "backends/raft/lock_unix.go",
	"the witness":                                 "coordinator/witness/parent_linux.go",
	"a command's descendants end with it":         "internal/procgroup/tree_linux.go",
	"a command ends when its wrapper":             "internal/procgroup/supervise_linux.go",
	"`--isolate`":                                 "internal/procgroup/init_linux.go",
	"`--watchdog`":                                "cmd/understudy/notices_linux.go",
	"`--warm`":                                    "cmd/understudy/page_linux.go",
	"a warning when a command":                    "cmd/understudy/program_linux.go",
	"a restart sees that its predecessor is dead": "coordinator/internal/process/process_linux.go",
	"a clock that counts sleep":                   "coordinator/internal/clock/clock_linux.go",
}

// TestPlatforms: what the page says of a system is what is built for it.
func TestPlatforms(t *testing.T) {
	page, err := os.ReadFile("platforms.md")
	lab.Must(t, err)
	matrix, built, _ := strings.Cut(string(page), "| built by")
	for what, file := range whatRuns {
		i := strings.Index(matrix, "\n| "+what)
		if i < 0 {
			t.Errorf("platforms.md has no row about %s", what)
			continue
		}
		row, _, _ := strings.Cut(matrix[i+1:], "\n")
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		folder, name := file[:strings.LastIndex(file, "/")], file[strings.LastIndex(file, "/")+1:]
		for i, system := range []string{"linux", "darwin", "windows"} {
			target := build.Default
			target.GOOS, target.CgoEnabled = system, false
			has, err := target.MatchFile("../"+folder, name)
			lab.Must(t, err)
			said := strings.HasPrefix(cells[i+1], "yes") || strings.HasPrefix(cells[i+1], "builds")
			if has != said {
				t.Errorf("platforms.md says of %s on %s %q, and %s is built there: %t", what, system, cells[i+1], file, has)
			}
		}
	}
	if rows := strings.Count(matrix, "\n| ") - 1; rows != len(whatRuns) {
		t.Errorf("platforms.md has %d rows, %d are compared", rows, len(whatRuns))
	}
	recipe, err := os.ReadFile("../Makefile")
	lab.Must(t, err)
	want := []string{"linux/amd64"} // where the tests run
	for _, m := range regexp.MustCompile(`GOOS=(\w+) GOARCH=(\w+) go (?:build|vet)`).FindAllStringSubmatch(string(recipe), -1) {
		want = append(want, m[1]+"/"+m[2])
	}
	var got []string
	for _, m := range regexp.MustCompile(`\n\| (\w+/\w+) \|`).FindAllStringSubmatch(built, -1) {
		got = append(got, m[1])
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("platforms.md says that make test builds for %q, and it does for %q", got, want)
	}
}
