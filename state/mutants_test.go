package state_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab/script"
)

// mistakes are planted in the code. The tests that are named must find each, and say what is wanted.
var mistakes = []struct {
	what, file, wants string
	old, new          []string
	by                []string // nil: TestHistory
}{
	{
		"the fence is taken out", "backends/kv/values.go", "",
		[]string{"if !role.held() || role.token() != t {", "txn.Guards = append(txn.Guards, Guard{Key: key, Revision: role.revision})\n"},
		[]string{"if false {", "\n"},
		[]string{"TestHistory", "TestFence"},
	},
	{
		"the fence of embedded Raft is taken out", "backends/ledger/values.go", "TestFence/ledger",
		[]string{"if c.Token == 0 || now.Token != c.Token || now.Over != \"\" {"},
		[]string{"if c.Token == 0 {"},
		[]string{"TestFence"},
	},
	{
		"the barrier is taken out", "state/append.go", "",
		[]string{"	for ctx.Err() == nil {\n		all, err := w.log.step(ctx)\n"},
		[]string{"	if r := w.log.replica; r.loaded {\n		w.head, w.raw = r.head, r.raw\n		return nil\n	}\n	for ctx.Err() == nil {\n		all, err := w.log.step(ctx)\n"},
		[]string{"TestHistory", "TestBarrier"},
	},
	{
		"a commit does not depend on the head", "state/commit.go", "",
		[]string{"map[string][]byte{key: w.raw})"},
		[]string{"nil)"},
		nil,
	},
	{
		"what had no answer counts as made", "state/commit.go", "",
		[]string{"return w.settle(ctx, next, raw, err)"},
		[]string{"w.know(next, raw)\n\t\t\treturn nil"},
		nil,
	},
	{
		"what had no answer counts as refused", "state/commit.go", "was refused, and is there",
		[]string{"return w.settle(ctx, next, raw, err)"},
		[]string{"return err"},
		nil,
	},
	{
		"entries are deleted before the snapshot is there", "state/compact.go", "",
		[]string{"case h.First <= h.Snapshot.Position:", "if next.First > next.Snapshot.Position {"},
		[]string{"case h.First <= max(h.Snapshot.Position, h.Writing.Position):", "if next.First > max(next.Snapshot.Position, next.Writing.Position) {"},
		nil,
	},
	{
		"what was left half done is forgotten", "state/append.go", "+state/r/snapshot",
		[]string{"next.Trash, next.Writing = append(next.Trash, next.Writing), image{}"},
		[]string{"next.Writing = image{}"},
		nil,
	},
	{
		"a snapshot that was replaced is forgotten", "state/compact.go", "+state/r/snapshot",
		[]string{"next.Trash = append(slices.Clone(next.Trash), next.Snapshot)"},
		[]string{"next.Trash = slices.Clone(next.Trash)"},
		nil,
	},
	{
		"an append is acknowledged before it is applied", "state/append.go", "",
		[]string{"	if err := w.log.apply(next.Last, e); err != nil {\n		return err\n	}\n"},
		[]string{"	go func() { _ = w.log.apply(next.Last, e) }()\n"},
		nil,
	},
}

func TestMistakesAreFound(t *testing.T) {
	if testing.Short() {
		t.Logf("-short: 3 of %d mistakes are planted", len(mistakes))
		mistakes = mistakes[:3]
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
			by := m.by
			if by == nil {
				by = []string{"TestHistory"}
			}
			args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-run", "^(" + strings.Join(by, "|") + ")$", "-rounds", "100"}
			out, err := exec.Command("go", append(args, "history_test.go", "judge_test.go", "rig_test.go", "fence_test.go")...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), m.wants) {
				t.Errorf("it is not found: %.4000s", out)
			}
			for _, name := range by {
				if !strings.Contains(string(out), "--- FAIL: "+name+" ") {
					t.Errorf("%s does not find it: %.4000s", name, out)
				}
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
