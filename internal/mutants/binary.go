//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A mutant is switched on by a variable, which the processes that a test starts inherit, too.
// Another names the file in which is noted which mutants were reached.
const (
	mutantVariable  = "UNDERSTUDY_MUTANT"
	reachedVariable = "UNDERSTUDY_MUTANTS_REACHED"
)

const switchFile = `package %s

import (
	"fmt"
	"os"
	"sync/atomic"
)

var (
	mutantOn      = os.Getenv("` + mutantVariable + `")
	mutantReached = os.Getenv("` + reachedVariable + `")
	mutantID      = func() (id int) { _, _ = fmt.Sscan(mutantOn, &id); return id }()
	mutantsSeen   [10000]atomic.Bool
)

func mutantIs(id int) bool {
	if mutantReached != "" && !mutantsSeen[id].Swap(true) {
		if f, err := os.OpenFile(mutantReached, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600); err == nil {
			fmt.Fprintln(f, id)
			f.Close()
		}
	}
	return id == mutantID
}
`

// A binary is a suite's test program, with all mutants in it.
type binary struct {
	suite
	dir     string
	mutants []mutant
	keys    map[string]bool // of all mutants of the package, those too that are not tried
	runs    []*testRun
}

// A testRun is a test, a long part of one, or a test without its long parts: how long it takes,
// and what it reaches.
type testRun struct {
	name    string   // of the test, or of its part
	without []string // the names of parts
	took    time.Duration
	reached map[int]bool
}

// newBinary writes the package with its mutants into dir, and an overlay that puts it in the
// place of the real one: nothing below the module's root is changed.
func newBinary(s suite, dir string) (*binary, error) {
	if s.tests == "" {
		s.tests = s.mutated
	}
	b := &binary{suite: s, dir: dir, keys: map[string]bool{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "list", "-json=Name,GoFiles", "./"+s.mutated).Output()
	if err != nil {
		return nil, fmt.Errorf("go list ./%s: %w", s.mutated, err)
	}
	var files struct {
		Name    string
		GoFiles []string
	}
	if err := json.Unmarshal(out, &files); err != nil {
		return nil, err
	}
	replace := map[string]string{}
	put := func(name, text string) error {
		from, err := filepath.Abs(filepath.Join(s.mutated, name))
		replace[from] = filepath.Join(dir, name)
		return errors.Join(err, os.WriteFile(replace[from], []byte(text), 0o600))
	}
	for _, name := range files.GoFiles {
		if name == s.without {
			continue
		}
		src, err := os.ReadFile(filepath.Join(s.mutated, name))
		if err != nil {
			return nil, err
		}
		text, some, err := plant(s.mutated+"/"+name, string(src), 1+len(b.mutants))
		if err != nil {
			return nil, err
		}
		b.mutants = append(b.mutants, some...)
		if err := put(name, text); err != nil {
			return nil, err
		}
	}
	for _, u := range b.mutants {
		b.keys[u.key] = true
	}
	if err := put("mutants_switch.go", fmt.Sprintf(switchFile, files.Name)); err != nil {
		return nil, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return b, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
}

func (b *binary) build() error {
	c := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(b.dir, "overlay.json"), "-o", filepath.Join(b.dir, "tests"), ".")
	c.Dir = b.tests
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// long is what is run by itself. What is shorter is run together.
const long = time.Second / 2

var (
	passedAll = regexp.MustCompile(`(?m)^PASS$`)

	failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	passed = regexp.MustCompile(`(?m)^    --- PASS: (\S+) \((\S+)\)`) // a part of a test
)

// watch runs each test by itself, without a mutant, and then the long parts of the long ones.
func (b *binary) watch() error {
	out, err := b.execute(time.Minute, nil, "-test.list=^(Test|Fuzz|Example)")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for _, name := range strings.Fields(string(out)) {
		if slices.Contains(b.skip, name) {
			continue
		}
		r := &testRun{name: name}
		parts, err := b.observe(r)
		if err != nil {
			return err
		}
		for _, part := range passed.FindAllStringSubmatch(parts, -1) {
			if took, _ := time.ParseDuration(part[2]); took >= long {
				r.without = append(r.without, part[1])
			}
		}
		runs := []*testRun{r}
		for _, part := range r.without {
			runs = append(runs, &testRun{name: part})
		}
		for _, r := range runs {
			if len(runs) > 1 {
				if _, err := b.observe(r); err != nil {
					return err
				}
			}
			b.runs = append(b.runs, r)
		}
	}
	slices.SortStableFunc(b.runs, func(x, y *testRun) int { return cmp.Compare(x.took, y.took) })
	return nil
}

// observe runs a test without a mutant, and notes how long it takes and what it reaches.
func (b *binary) observe(r *testRun) (out string, err error) {
	file := filepath.Join(b.dir, "reached")
	for range 2 { // a busy machine may fail a test that watches the clock
		_ = os.Remove(file)
		start := time.Now()
		var text []byte
		text, err = b.execute(10*time.Minute, []string{reachedVariable + "=" + file}, append(b.choice(r), "-test.v")...)
		if out, r.took = string(text), time.Since(start); err == nil {
			break
		}
		err = fmt.Errorf("%s without a mutant: %w\n%s", r.name, err, out)
	}
	r.reached = map[int]bool{}
	data, _ := os.ReadFile(file) // not there: it reaches nothing
	for _, id := range strings.Fields(string(data)) {
		n, _ := strconv.Atoi(id)
		r.reached[n] = true
	}
	return out, err
}

// choice is the flags that choose some tests.
func (b *binary) choice(some ...*testRun) []string {
	var run []string
	skip := slices.Clone(b.skip)
	for _, r := range some {
		run = append(run, r.name)
		skip = append(skip, r.without...)
	}
	return []string{"-test.run=" + pattern(run), "-test.skip=" + pattern(skip)}
}

// pattern matches tests, and parts of tests, by their names.
func pattern(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, "^"+strings.ReplaceAll(regexp.QuoteMeta(name), "/", "$/^")+"$")
	}
	return strings.Join(all, "|")
}

// kill returns the test that notices the mutant: first all short ones are run, then the others,
// the shortest first. It returns "" if none does. What does not end in time has noticed: a busy
// machine needs more patience.
func (b *binary) kill(u mutant, patience time.Duration) string {
	groups := make([][]*testRun, 1)
	for _, r := range b.runs {
		switch {
		case !r.reached[u.id]:
		case r.took < long:
			groups[0] = append(groups[0], r)
		default:
			groups = append(groups, []*testRun{r})
		}
	}
	for _, g := range groups {
		if len(g) == 0 {
			continue
		}
		limit := 10 * time.Second
		for _, r := range g {
			limit += 4 * r.took
		}
		out, err := b.execute(patience*limit, []string{mutantVariable + "=" + strconv.Itoa(u.id)}, append(b.choice(g...), "-test.failfast")...)
		if err == nil && passedAll.Match(out) { // not if it ended before its tests
			continue
		}
		if named := failed.FindSubmatch(out); named != nil {
			return string(named[1])
		}
		return g[0].name + " or one after it"
	}
	return ""
}

var marks atomic.Int64

// execute runs the tests, at most so long, and ends what they leave behind: a mutant may well
// forget to end a process.
func (b *binary) execute(limit time.Duration, env []string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// A mutant may also want all of the memory.
	c := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -d 4000000; exec "$@"`, "sh", filepath.Join(b.dir, "tests")}, append(slices.Clone(b.flags), args...)...)...)
	c.Dir = b.tests
	mark := fmt.Sprintf("UNDERSTUDY_MUTANT_RUN=%s_%d", b.dir, marks.Add(1))
	c.Env = append(append(os.Environ(), mark), env...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = time.Second
	defer sweep(mark)
	return c.CombinedOutput()
}

// sweep kills every process with the mark in its environment.
func sweep(mark string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		data, err := os.ReadFile(path) // an error: it has ended
		pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
		if err == nil && bytes.Contains(data, []byte(mark+"\x00")) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // likewise
		}
	}
}
