package state_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab/script"
)

// mistakes are planted in the code. TestHistory must find each, and say what is wanted.
var mistakes = []struct {
	what, file, wants string
	old, new          []string
}{
	{
		"the fence is taken out", "backends/kv/values.go", "",
		[]string{"if !role.held() || role.token() != t {", "txn.Guards = append(txn.Guards, Guard{Key: key, Revision: role.revision})\n"},
		[]string{"if false {", "\n"},
	},
	{
		"the barrier is taken out", "state/append.go", "",
		[]string{"	for ctx.Err() == nil {\n		all, err := w.log.step(ctx)\n"},
		[]string{"	if r := w.log.replica; r.loaded {\n		w.head, w.raw = r.head, r.raw\n		return nil\n	}\n	for ctx.Err() == nil {\n		all, err := w.log.step(ctx)\n"},
	},
	{
		"a commit does not depend on the head", "state/commit.go", "",
		[]string{"map[string][]byte{key: w.raw})"},
		[]string{"nil)"},
	},
	{
		"what had no answer counts as made", "state/commit.go", "",
		[]string{"return w.settle(ctx, next, raw, err)"},
		[]string{"w.know(next, raw)\n\t\t\treturn nil"},
	},
	{
		"what had no answer counts as refused", "state/commit.go", "was refused, and is there",
		[]string{"return w.settle(ctx, next, raw, err)"},
		[]string{"return err"},
	},
	{
		"entries are deleted before the snapshot is there", "state/compact.go", "",
		[]string{"case h.First <= h.Snapshot.Position:", "if next.First > next.Snapshot.Position {"},
		[]string{"case h.First <= max(h.Snapshot.Position, h.Writing.Position):", "if next.First > max(next.Snapshot.Position, next.Writing.Position) {"},
	},
	{
		"what was left half done is forgotten", "state/append.go", "+state/r/snapshot",
		[]string{"next.Trash, next.Writing = append(next.Trash, next.Writing), image{}"},
		[]string{"next.Writing = image{}"},
	},
	{
		"a snapshot that was replaced is forgotten", "state/compact.go", "+state/r/snapshot",
		[]string{"next.Trash = append(slices.Clone(next.Trash), next.Snapshot)"},
		[]string{"next.Trash = slices.Clone(next.Trash)"},
	},
	{
		"an append is acknowledged before it is applied", "state/append.go", "",
		[]string{"	if err := w.log.apply(next.Last, e); err != nil {\n		return err\n	}\n"},
		[]string{"	go func() { _ = w.log.apply(next.Last, e) }()\n"},
	},
}

func TestMistakesAreFound(t *testing.T) {
	if testing.Short() {
		t.Logf("-short: 2 of %d mistakes are planted", len(mistakes))
		mistakes = mistakes[:2]
	}
	for _, m := range mistakes {
		t.Run(m.what, func(t *testing.T) {
			t.Parallel()
			s := script.Script{Path: m.what}
			for i := range m.old {
				s.Hunks = append(s.Hunks, script.Hunk{File: m.file, Old: m.old[i], New: m.new[i]})
			}
			overlay, err := s.Plant("..", t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			// The files that it needs: with TestKilled every store would be compiled and linked anew.
			args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-run", "^TestHistory$", "-rounds", "100"}
			out, err := exec.Command("go", append(args, "history_test.go", "judge_test.go", "rig_test.go")...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestHistory") || !strings.Contains(string(out), m.wants) {
				t.Errorf("it is not found: %.4000s", out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "history_test.go:") {
					t.Logf("%.300s", line) // the first
					break
				}
			}
		})
	}
}
