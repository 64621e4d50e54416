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

// A testRun is one test: how long it takes, and what it reaches.
type testRun struct {
	name    string
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

// watch runs each test by itself, without a mutant.
func (b *binary) watch() error {
	out, err := b.execute(time.Minute, nil, "-test.list=.")
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for name := range strings.Lines(string(out)) {
		name = strings.TrimSpace(name)
		if !regexp.MustCompile(`^(Test|Fuzz|Example)`).MatchString(name) {
			continue
		}
		r := &testRun{name: name, reached: map[int]bool{}}
		file := filepath.Join(b.dir, "reached_"+name)
		var start time.Time
		var out []byte
		var err error
		for range 2 { // a busy machine may fail a test that watches the clock
			start = time.Now()
			if out, err = b.execute(10*time.Minute, []string{reachedVariable + "=" + file}, "-test.run=^"+name+"$"); err == nil {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("%s without a mutant: %w\n%s", name, err, out)
		}
		r.took = time.Since(start)
		data, _ := os.ReadFile(file) // not there: it reaches nothing
		for _, id := range strings.Fields(string(data)) {
			n, _ := strconv.Atoi(id)
			r.reached[n] = true
		}
		b.runs = append(b.runs, r)
	}
	slices.SortStableFunc(b.runs, func(x, y *testRun) int { return cmp.Compare(x.took, y.took) })
	return nil
}

// kill returns the test that notices the mutant: first all quick ones are run, then the others,
// the quickest first. It returns "" if none does. What does not end in time has noticed.
func (b *binary) kill(u mutant) string {
	var quick, slow []*testRun
	for _, r := range b.runs {
		switch {
		case !r.reached[u.id]:
		case r.took < time.Second/2:
			quick = append(quick, r)
		default:
			slow = append(slow, r)
		}
	}
	groups := [][]*testRun{quick}
	for _, r := range slow {
		groups = append(groups, []*testRun{r})
	}
	for _, g := range groups {
		var names []string
		limit := 10 * time.Second
		for _, r := range g {
			names, limit = append(names, r.name), limit+4*r.took
		}
		if len(g) == 0 {
			continue
		}
		out, err := b.execute(limit, []string{mutantVariable + "=" + strconv.Itoa(u.id)}, "-test.failfast", "-test.run=^("+strings.Join(names, "|")+")$")
		if err == nil {
			continue
		}
		if failed := regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`).FindSubmatch(out); failed != nil {
			return string(failed[1])
		}
		return names[0] + " or one after it"
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
