package coordinator

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A mutant is a mistake that is planted in the code, with a trace that shows it.
// Its file in testdata/mutants holds, in order: a line that says the mistake;
// lines that begin with #, for people; the options of the world; hunks, each with
// the file and the old and the new text; and the trace. Where the code has changed
// and a trace shows nothing any more, -soak finds another.

var mutantFile = flag.String("mutant", "", "the one mutant that is meant")

const mutantDir = "testdata/mutants"

type mutant struct {
	path  string
	head  string // of the file, up to the trace
	title string
	hunks []hunk
	trace
}

type hunk struct{ file, old, new string }

// readMutant reads a mutant's file.
func readMutant(path string) (mutant, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return mutant{}, err
	}
	head, tail, found := strings.Cut(string(data), "\ntrace:\n")
	if !found {
		return mutant{}, fmt.Errorf("%s: no trace", path)
	}
	u := mutant{path: path, head: head}
	var h *hunk
	var into *string
	for i, line := range strings.Split(head, "\n") {
		options, isOptions := strings.CutPrefix(line, "options:")
		file, isFile := strings.CutPrefix(line, "file: ")
		switch {
		case i == 0:
			u.title = line
		case isFile:
			u.hunks = append(u.hunks, hunk{file: file})
			h, into = &u.hunks[len(u.hunks)-1], nil
		case h != nil && line == "old:":
			into = &h.old
		case h != nil && line == "new:":
			into = &h.new
		case into != nil:
			*into += line + "\n"
		case isOptions:
			u.options = newOptions(options)
		}
	}
	for i := range u.hunks {
		u.hunks[i].old = strings.TrimSuffix(u.hunks[i].old, "\n")
		u.hunks[i].new = strings.TrimSuffix(u.hunks[i].new, "\n")
	}
	for line := range strings.Lines(strings.TrimSpace(tail)) {
		l, err := parseLabel(line)
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

// plant writes the mutated files and the overlay that puts them in the place of
// the real ones, and returns the overlay's path.
func (u mutant) plant(dir string) (string, error) {
	texts := map[string]string{}
	for _, h := range u.hunks {
		file, err := filepath.Abs(filepath.Join("..", h.file))
		if err != nil {
			return "", err
		}
		if texts[file] == "" {
			data, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			texts[file] = string(data)
		}
		if n := strings.Count(texts[file], h.old); n != 1 {
			return "", fmt.Errorf("%s: the old text is in %s %d times", u.path, h.file, n)
		}
		texts[file] = strings.Replace(texts[file], h.old, h.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		mutated := filepath.Join(dir, fmt.Sprintf("%d_%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(mutated, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[file] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// run runs one test of this package with the mistake planted.
func (u mutant) run(dir, test string, flags ...string) (string, error) {
	overlay, err := u.plant(dir)
	if err != nil {
		return "", err
	}
	file, err := filepath.Abs(u.path)
	if err != nil {
		return "", err
	}
	args := []string{"test", "-overlay", overlay, "-vet=off", "-count=1", "-timeout=2h", "-run", "^" + test + "$", ".", "-mutant", file}
	out, err := exec.Command("go", append(args, flags...)...).CombinedOutput()
	if err == nil {
		return "", fmt.Errorf("%s: not caught: %s", u.path, u.title)
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
		out, err := u.run(t.TempDir(), "TestReplay")
		caught := err == nil && strings.Contains(out, "caught: "+u.only)
		switch {
		case !caught && *soak > 0:
			if err := u.search(t.TempDir(), t.Logf); err != nil {
				t.Error(err)
			}
		case err != nil:
			t.Error(err)
		case !caught:
			t.Errorf("%s: failed, but not with %q:\n%s", u.path, u.only, out)
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
			t.Fatalf("%s: caught: %s", u.path, u.report())
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
	log("%s: %s", u.path, note)
	var b strings.Builder
	for line := range strings.Lines(labels) {
		fmt.Fprintln(&b, strings.TrimSpace(line))
	}
	return os.WriteFile(u.path, []byte(u.head+"\ntrace:\n"+b.String()), 0o600)
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
			t.Logf("%s: nothing in %d walks, %d transitions", u.path, k.walks, k.steps)
			continue
		}
		var b strings.Builder
		for _, l := range found.labels {
			fmt.Fprintln(&b, l)
		}
		t.Fatalf("found: %s, after %d transitions, %v\n%send", found.fault, k.steps, time.Since(start).Round(time.Second), b.String())
	}
}
