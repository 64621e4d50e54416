// Package pairs compares two builds of understudy as their users run them: the shipped binary,
// real stores, real processes, in turns on one machine.
//
//	make bench-pairs BASE=REV
//
// builds the command of that revision and of the working tree. In each pair both builds do the
// same on a store of their own, and the one that began is the second in the next pair. Printed are
// the median of each build, the median of the pairs' ratios, and between what ratios all
// pairs lie. Nothing is asserted but that every role is taken, always.
package pairs

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	base  = flag.String("base", "", "revision to compare with; empty: the working tree with itself, once, with few roles")
	count = flag.Int("pairs", 5, "number of pairs")
	roles = flag.Int("roles", 40, "number of roles, each with three contenders")
	ttl   = flag.Duration("ttl", 10*time.Second, "ttl of all contenders")
	idle  = flag.Duration("idle", 20*time.Second, "how long nothing happens, while writes and processor time are counted")
	names = flag.String("stores", "etcd,consul,raft", "the stores, with three members each")
)

// A build is one binary of the command.
type build struct{ name, program string }

// figures are what one build has shown, by what was measured.
type figures map[string][]float64

func TestPairs(t *testing.T) {
	builds := []build{{"base", ""}, {"now", filepath.Join(t.TempDir(), "now")}}
	compile(t, "../..", builds[1].program)
	if *base == "" {
		builds[0].program = builds[1].program
		*count, *roles, *ttl, *idle, *names = 1, 2, 2*time.Second, time.Second, "etcd"
	} else {
		tree := filepath.Join(t.TempDir(), "tree")
		run(t, "git", "worktree", "add", "--detach", tree, *base)
		t.Cleanup(func() { run(t, "git", "worktree", "remove", "--force", tree) })
		builds[0].program = filepath.Join(t.TempDir(), "base")
		compile(t, tree, builds[0].program)
	}
	for store := range strings.SplitSeq(*names, ",") {
		shown := []figures{{}, {}}
		for pair := range *count {
			for turn := range builds {
				at := (pair + turn) % 2
				t.Logf("%s, pair %d of %d: %s", store, pair+1, *count, builds[at].name)
				measure(t, shown[at], builds[at].program, store)
			}
		}
		fmt.Print(table(store, shown[0], shown[1]))
	}
}

// compile builds the command of a tree.
func compile(t *testing.T, tree, program string) {
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", program, "./cmd/understudy")
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%s", err, out)
	}
}

func run(t *testing.T, args ...string) {
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// measure has one build do everything once on one store.
func measure(t *testing.T, shown figures, program, store string) {
	add := func(what string, values ...float64) { shown[what] = append(shown[what], values...) }
	s := open(t, program, store)
	defer s.close()

	add("start, until every role is active, s", s.startAll().Seconds())
	time.Sleep(max(time.Second, *ttl/2)) // until what the start caused has passed
	writes, used := s.writes(), s.used()
	time.Sleep(*idle) // the time that is measured
	seconds := idle.Seconds()
	if s.counts() {
		add("idle, writes per role and s", (s.writes()-writes)/seconds/float64(*roles))
	}
	add("idle, processor time per contender, % of a core", 100*s.used().since(used).Seconds()/seconds/float64(len(s.contenders)))
	add("memory, private, of wrapper and witness, MiB", s.memory())

	used = s.used() // what is killed is not counted after
	gaps := s.killAll()
	add("crash of all, processor time per role, ms", float64(s.used().since(used).Milliseconds())/float64(*roles))
	slices.Sort(gaps)
	add("crash of all, median, ms", ms(gaps[len(gaps)/2]))
	add("crash of all, worst, ms", ms(gaps[len(gaps)-1]))
	time.Sleep(*ttl / 2) // until the line is quiet again
	add("handoff, from the command on, ms", ms(s.handoff()))
	add("clean stop, ms", ms(s.stop()))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// table is what two builds have shown on one store.
func table(store string, before, now figures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %d roles, three contenders each, ttl %v, %d pairs\n", store, *roles, *ttl, *count)
	fmt.Fprintf(&b, "%-52s %10s %10s %8s %15s\n", "", "base", "now", "ratio", "of all pairs")
	var rows []string
	for what := range now {
		rows = append(rows, what)
	}
	slices.Sort(rows)
	for _, what := range rows {
		var ratios []float64
		for i, v := range now[what] {
			ratios = append(ratios, v/before[what][i])
		}
		slices.Sort(ratios)
		fmt.Fprintf(&b, "%-52s %10.2f %10.2f %8.2f %6.2f to %5.2f\n", what,
			median(before[what]), median(now[what]), median(ratios), ratios[0], ratios[len(ratios)-1])
	}
	return b.String()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
