package machine

import (
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/script"
)

// A mutant is a mistake that is planted in the code, with a trace that shows it: a script
// of package script in testdata/mutants. Where the code has changed and a trace shows
// nothing any more, -soak finds another.

var mutantFile = flag.String("mutant", "", "the one mutant that is meant")

const mutantDir = "testdata/mutants"

// root is the module's.
const root = "../../.."

type mutant struct {
	script.Script
	trace
}

// readMutant reads a mutant's file.
func readMutant(path string) (mutant, error) {
	s, err := script.Read(path)
	if err != nil {
		return mutant{}, err
	}
	u := mutant{Script: s, trace: trace{options: newOptions(s.Options)}}
	for _, text := range s.Steps() {
		l, err := parseLabel(text)
		if err != nil {
			return mutant{}, fmt.Errorf("%s: %w", path, err)
		}
		u.labels = append(u.labels, l)
	}
	return u, nil
}

func readMutants(t *testing.T) []mutant {
	paths, err := filepath.Glob(filepath.Join(mutantDir, "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no mutants: %v", err)
	}
	var all []mutant
	for _, path := range paths {
		if *mutantFile != "" && filepath.Base(path) != filepath.Base(*mutantFile) {
			continue
		}
		u, err := readMutant(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

// run runs one test of this package with the mistake planted.
func (u mutant) run(dir, test string, flags ...string) (string, error) {
	overlay, err := u.Plant(root, dir)
	if err != nil {
		return "", err
	}
	file, err := filepath.Abs(u.Path)
	if err != nil {
		return "", err
	}
	args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=2h", "-run", "^" + test + "$", ".", "-mutant", file}
	out, err := exec.Command("go", append(args, flags...)...).CombinedOutput()
	if err == nil {
		return "", fmt.Errorf("%s: not caught: %s", u.Path, u.Title)
	}
	return string(out), nil
}

// TestMutants expects that each pinned trace shows the mistake where it is planted.
func TestMutants(t *testing.T) {
	all := readMutants(t)
	if testing.Short() {
		t.Logf("-short: 3 of %d mutants are planted", len(all))
		all = all[:min(3, len(all))]
	}
	inPairs(all, func(u mutant) {
		out, err := u.run(t.TempDir(), "TestReplay", "-gcflags=-N -l") // quick to compile: a trace is short
		caught := err == nil && strings.Contains(out, "caught: "+u.only)
		switch {
		case !caught && *soak > 0:
			if err := u.search(t.TempDir(), t.Logf); err != nil {
				t.Error(err)
			}
		case err != nil:
			t.Error(err)
		case !caught:
			t.Errorf("%s: failed, but not with %q:\n%s", u.Path, u.only, out)
		}
	})
}

func inPairs(all []mutant, do func(mutant)) {
	var group sync.WaitGroup
	two := make(chan struct{}, 2)
	for _, u := range all {
		group.Go(func() {
			two <- struct{}{}
			do(u)
			<-two
		})
	}
	group.Wait()
}

// TestReplay expects that the pinned traces do no harm in our own code; TestMutants
// runs it in the mutated code, where the trace of that mutant shows the mistake.
func TestReplay(t *testing.T) {
	for _, u := range readMutants(t) {
		if fault := u.replay(nil); fault != "" {
			u.fault = fault
			t.Fatalf("%s: caught: %s", u.Path, u.report())
		}
	}
}

// search looks for a trace that shows the mistake, for -soak, and writes it down.
func (u mutant) search(dir string, log func(string, ...any)) error {
	out, err := u.run(dir, "TestFind", "-soak", soak.String(), "-seed", fmt.Sprint(*seed))
	_, found, ok := strings.Cut(out, "found: ")
	if err != nil || !ok {
		return fmt.Errorf("%w\n%s", err, out)
	}
	note, labels, _ := strings.Cut(found, "\n")
	labels, _, _ = strings.Cut(labels, "end\n")
	log("%s: %s", u.Path, note)
	var b script.Block
	for line := range strings.Lines(labels) {
		b.Lines = append(b.Lines, strings.TrimSpace(line))
	}
	return u.Write([]script.Block{b})
}

// TestFind walks in the bounds of every mutant until something shows. In our own
// code nothing does, in the moment that each has; search runs it in the mutated
// code, where it fails with the trace.
func TestFind(t *testing.T) {
	budget := max(*soak, 100*time.Millisecond)
	for _, u := range readMutants(t) {
		k := newWalker(u.options, *seed)
		if u.only != "stuck" && u.only != "late" {
			k.fairEvery = 0
		}
		start := time.Now()
		found := k.run(start.Add(budget))
		if found == nil {
			t.Logf("%s: nothing in %d walks, %d transitions", u.Path, k.walks, k.steps)
			continue
		}
		var b strings.Builder
		for _, l := range found.labels {
			fmt.Fprintln(&b, l)
		}
		t.Fatalf("found: %s, after %d transitions, %v\n%send", found.fault, k.steps, time.Since(start).Round(time.Second), b.String())
	}
}
