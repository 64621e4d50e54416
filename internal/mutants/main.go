//go:build linux

// Mutants changes one condition after another in the code, and counts the changes that no test
// notices: see CONTRIBUTING.md.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	seed    = flag.Uint64("seed", 1, "which mutants are drawn, where a package has too many to try them all")
	drawn   = flag.Int("drawn", 150, "how many are drawn")
	only    = flag.String("package", "...", "only this package; with /... at the end, and those below it")
	run     = flag.String("run", "", "only mutants whose line in the list would contain this")
	list    = flag.String("list", "internal/mutants/survivors.txt", "the mutants that may survive, and why")
	workers = flag.Int("workers", 2, "how many are tried at a time")
	verbose = flag.Bool("v", false, "say for each mutant which tests noticed it")
)

// maxSurvivors is the part of the mutants that may survive, in per cent.
const maxSurvivors = 5

// A suite is the tests that judge a package's mutants.
type suite struct {
	mutated string   // the package's folder
	tests   string   // the tests' folder, where it is another
	drawn   bool     // of its mutants only some are tried
	flags   []string // of the test binary
	skip    []string // tests, and parts of tests, that are not run
	without string   // a file in which nothing is changed
}

var suites = []suite{
	// The planted mistakes are compiled without the mutants.
	{mutated: "coordinator/internal/machine", flags: []string{"-test.short"}, skip: []string{"TestMutants", "TestFind"}},
	{mutated: "backends/ledger"},
	{mutated: "backends/object", skip: []string{"TestSuite/History", "TestSuite/HistoryCut", "TestSuiteFar"}},
	// hand.go breaks what the tests want broken, and random histories notice what they happen to meet.
	{mutated: "backends/kv", skip: []string{"TestSuite/History", "TestSuite/HistoryCut"}, without: "hand.go"},
	{mutated: "fencing"},
	{mutated: "fencing/fencinghttp"},
	{mutated: "fencing/fencinggrpc"},
	{mutated: "fencing/fencingetcd", tests: "fencing/internal/fencingtest"},
	{mutated: "fencing/fencingconsul", tests: "fencing/internal/fencingtest"},
	{mutated: "fencing/fencingraft", tests: "fencing/internal/fencingtest"},
	{mutated: "fencing/fencingsql", tests: "fencing/fencingsql/databases"},
	{mutated: "backends/raft", drawn: true, skip: []string{"TestSuite", "TestSuiteFar", "TestSuiteOfMembers"}},
	{mutated: "backends/etcd", drawn: true, skip: []string{"TestSuite", "TestSuiteFar", "TestSuiteOfThree"}},
	{mutated: "backends/consul", drawn: true, skip: []string{"TestSuite", "TestSuiteFar", "TestSuiteOfThree"}},
	{mutated: "coordinator", drawn: true},
	{mutated: "coordinator/witness", drawn: true},
	{mutated: "internal/procgroup", drawn: true},
	{mutated: "lock", drawn: true},
	{mutated: "config", drawn: true},
}

func main() {
	flag.Parse()
	if err := try(); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func try() error {
	allowed, err := readList(*list)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries, err := choose(dir)
	if err != nil {
		return err
	}
	var bad []string
	all, survived := 0, 0
	for _, b := range binaries {
		n, some, err := b.judge(allowed)
		if err != nil {
			return fmt.Errorf("%s: %w", b.mutated, err)
		}
		all, survived, bad = all+len(b.mutants), survived+n, append(bad, some...)
	}
	fmt.Printf("%d of %d mutants survived, %.1f %%\n", survived, all, 100*float64(survived)/float64(max(1, all)))
	if *only == "..." && *run == "" && survived*100 > maxSurvivors*all {
		bad = append(bad, fmt.Sprintf("more than %d %% survived", maxSurvivors))
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s", strings.Join(bad, "\n"))
	}
	return nil
}

// choose plants the mutants of every suite that is meant, and draws those that are tried.
func choose(dir string) ([]*binary, error) {
	var binaries []*binary
	var lots []mutant
	for i, s := range suites {
		b, err := newBinary(s, fmt.Sprintf("%s/%d", dir, i))
		if err != nil {
			return nil, err
		}
		binaries = append(binaries, b)
		if s.drawn {
			lots = append(lots, b.mutants...)
		}
	}
	// A mutant's lot depends on nothing but itself, so a change elsewhere leaves it drawn.
	lot := func(u mutant) uint64 {
		h := fnv.New64a()
		fmt.Fprint(h, *seed, u.key, *seed)
		return h.Sum64()
	}
	slices.SortFunc(lots, func(a, b mutant) int { return cmp.Compare(lot(a), lot(b)) })
	if len(lots) > *drawn {
		fmt.Printf("seed %d: %d of %d mutants are drawn\n", *seed, *drawn, len(lots))
		limit := lot(lots[*drawn])
		for _, b := range binaries {
			b.mutants = slices.DeleteFunc(b.mutants, func(u mutant) bool { return b.drawn && lot(u) >= limit })
		}
	}
	for _, b := range binaries {
		b.mutants = slices.DeleteFunc(b.mutants, func(u mutant) bool { return !chosen(b.mutated) || !strings.Contains(u.key, *run) })
	}
	return slices.DeleteFunc(binaries, func(b *binary) bool { return len(b.mutants) == 0 }), nil
}

func chosen(path string) bool {
	root, below := strings.CutSuffix(*only, "...")
	return path == strings.TrimSuffix(root, "/") || below && strings.HasPrefix(path, root)
}

// judge tries the mutants of one package. It returns how many survived, and what is wrong with
// that.
func (b *binary) judge(allowed map[string]bool) (int, []string, error) {
	start := time.Now()
	if err := b.build(); err != nil {
		return 0, nil, err
	}
	if err := b.watch(); err != nil {
		return 0, nil, err
	}
	fmt.Printf("%s: %d mutants, %d tests of %v\n", b.mutated, len(b.mutants), len(b.runs), time.Since(start).Round(time.Second))
	var mu sync.Mutex
	var group sync.WaitGroup
	var bad []string
	survived, done := 0, 0
	turns := make(chan struct{}, *workers)
	for _, u := range b.mutants {
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			killer := b.kill(u, 1)
			if killer != "" && allowed[u.key] { // chance may have done it
				killer = b.kill(u, 5)
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			switch {
			case killer == "":
				survived++
				fmt.Printf("%4d/%d survived, line %d: %s\n", done, len(b.mutants), u.line, u.key)
				if !allowed[u.key] {
					bad = append(bad, "no test notices: "+u.key)
				}
			case allowed[u.key]:
				bad = append(bad, "is in the list, and "+killer+" notices: "+u.key)
			case *verbose:
				fmt.Printf("%4d/%d %s, line %d: %s\n", done, len(b.mutants), killer, u.line, u.key)
			case done%50 == 0:
				fmt.Printf("%4d/%d\n", done, len(b.mutants))
			}
		})
	}
	group.Wait()
	for key := range allowed {
		if name, _, _ := strings.Cut(key, " "); strings.HasPrefix(name, b.mutated+"/") && !strings.Contains(name[len(b.mutated)+1:], "/") && !b.keys[key] {
			bad = append(bad, "is in the list, and not in the code: "+key)
		}
	}
	fmt.Printf("%s: %d of %d survived, after %v\n", b.mutated, survived, len(b.mutants), time.Since(start).Round(time.Second))
	return survived, bad, nil
}

// readList reads the mutants that may survive: a line each, above it a comment that says why.
func readList(path string) (map[string]bool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	allowed, why := map[string]bool{}, false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			why = false
		case strings.HasPrefix(line, "# "):
			why = true
		case !why:
			return nil, fmt.Errorf("%s: nothing says why this may survive: %s", path, line)
		default:
			allowed[line] = true
		}
	}
	return allowed, nil
}
