package machine

import (
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/lab/script"
	"github.com/understudy-ha/understudy/lock"
)

var update = flag.Bool("update", false, "write down what the scenarios show now")

// TestScenarios plays the scripts in testdata/scenarios, whose steps are labels of the model
// (model_labels_test.go), and compares how the role stands in each process, and in the store,
// with what is written down. They are also the protocol by example: read handoff.txt first.
func TestScenarios(t *testing.T) {
	onScripts(t, "testdata/scenarios/*.txt", play)
}

// onScripts plays scripts, and compares what each shows with what is written down.
func onScripts(t *testing.T, pattern string, play func(*testing.T, script.Script) []script.Block) {
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			s, err := script.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			played := play(t, s)
			if *update {
				if err := s.Write(played); err != nil {
					t.Fatal(err)
				}
			}
			for i, b := range s.Trace {
				if !*update && b.Want != played[i].Want {
					t.Errorf("after %s\nwant:\n%sgot:\n%s", strings.Join(b.Steps(), ", "), b.Want, played[i].Want)
				}
			}
		})
	}
}

// play does the steps of a script, and returns it with what it shows.
func play(t *testing.T, s script.Script) (all []script.Block) {
	w := newWorld(newOptions(s.Options))
	for _, b := range s.Trace {
		for _, step := range b.Steps() {
			l, err := parseLabel(step)
			if err != nil || !w.possible(l) {
				t.Fatalf("%q cannot happen: %v\n%s", step, err, w.shows())
			}
			if w.do(l); w.fault != "" {
				t.Fatalf("after %q: %s", step, w.fault)
			}
		}
		all = append(all, script.Block{Lines: b.Lines, Want: w.shows()})
	}
	return all
}

// shows is how the role stands in each process, and in the store.
func (w *world) shows() string {
	var b strings.Builder
	for _, p := range w.procs {
		if !p.up {
			fmt.Fprintf(&b, "%s: dead\n", p.name)
			continue
		}
		now, m := p.now(), p.machine
		fmt.Fprintf(&b, "%s: %s (%s)", p.name, m.State(now, theRole), m.Reason(now, theRole))
		if token := m.Role(theRole).Token; token != 0 {
			fmt.Fprintf(&b, ", token %d", token)
		}
		if left := m.session.left(m.Rules, now); m.Role(theRole).Phase == Working {
			fmt.Fprintf(&b, ", deadline in %d", left)
		}
		fmt.Fprintln(&b)
	}
	term := w.ledger.Standing(theRole).Term
	switch {
	case term.Token == 0:
		fmt.Fprintln(&b, "store: never held")
	case term.End != (lock.End{}):
		fmt.Fprintf(&b, "store: token %d is over: %s, says %s\n", term.Token, term.End.Why, term.End.By)
	case term.Vacant():
		fmt.Fprintf(&b, "store: token %d is over: %s\n", term.Token, term.Over)
	default:
		fmt.Fprintf(&b, "store: %s has token %d\n", term.Holder.ID, term.Token)
	}
	return b.String()
}
