package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// TestMain is also the fake contender: this binary, run again.
func TestMain(m *testing.M) {
	if path := os.Getenv("FAILOVER_FAKE"); path != "" {
		if err := contendFake(path, os.Getenv("FAILOVER_FAULT")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The fake store's delays, each of its own length, so that none passes for another.
const (
	fakeDetect   = 50 * time.Millisecond
	fakeGrant    = 90 * time.Millisecond
	fakeActivate = 30 * time.Millisecond
	fakeSuccess  = 70 * time.Millisecond
	fakeOverlap  = 300 * time.Millisecond
	fakeCommit   = 7 * time.Millisecond
)

// contendFake competes for the lock of a file, which the kernel gives away the moment
// its holder is dead, and takes a known time for every step from there.
func contendFake(path, fault string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	s := &script{out: os.Stdout}
	s.say("standby", 0)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	token := nextToken(f)
	for _, step := range []struct {
		after time.Duration
		what  string
		token lock.Token
	}{{fakeDetect, "told", 0}, {fakeGrant, "granted", token}, {fakeActivate, "start", token}, {fakeSuccess, "success", token}} {
		time.Sleep(step.after) // the delay that is put in
		s.say(step.what, step.token)
	}
	for tick := time.NewTicker(StampEvery); ; {
		s.say("stamp", token)
		select {
		case <-stop:
			if fault == "overlap" {
				_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
				stampFor(s, token, fakeDetect+fakeGrant+fakeActivate+fakeOverlap)
			}
			s.say("end", token)
			return nil
		case <-tick.C:
		}
	}
}

func stampFor(s *script, token lock.Token, d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(StampEvery) { // as a work stamps
		s.say("stamp", token)
	}
}

// nextToken counts in the file.
func nextToken(f *os.File) lock.Token {
	text := make([]byte, 20)
	n, _ := f.ReadAt(text, 0)
	last, _ := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	_, _ = f.WriteAt([]byte(strconv.Itoa(last+1)), 0)
	return lock.Token(last + 1)
}

// fakePlan measures fake contenders; fault is what is wrong with them.
func fakePlan(t *testing.T, fault string, runs int, names ...string) Plan {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lock")
	store := memory.New()
	p := Plan{Runs: runs, TTL: 200 * time.Millisecond, Seed: 1, Dir: t.TempDir(), Backends: []Backend{{
		Who: Understudy, Name: "fake", Given: []string{"nowhere"}, Patience: 2 * time.Second,
		Command: func(Contender) (*exec.Cmd, error) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "FAILOVER_FAKE="+path, "FAILOVER_FAULT="+fault)
			return cmd, nil
		},
		Dial: func(context.Context, string, []string) (lock.Locker, error) { return slowStore{store.Open()}, nil },
	}}}
	for _, name := range names {
		p.Faults = append(p.Faults, Faults[faultIndex(name)])
	}
	return p
}

// A slowStore takes its time for a commit of the bench's own.
type slowStore struct{ lock.Locker }

func (l slowStore) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	s, err := l.Locker.Register(ctx, c, p, bids...)
	return slowSession{s}, err
}

type slowSession struct{ lock.Session }

func (s slowSession) Beat(ctx context.Context, bids ...lock.Bid) error {
	time.Sleep(fakeCommit) // the delay that is put in
	return s.Session.Beat(ctx, bids...)
}

func (s slowSession) TryAcquire(ctx context.Context, role string) (lock.Token, error) {
	time.Sleep(fakeCommit) // the delay that is put in
	return s.Session.TryAcquire(ctx, role)
}

// TestReportSaysWhatWasPutIn measures a store whose delays are known.
func TestReportSaysWhatWasPutIn(t *testing.T) {
	p := fakePlan(t, "", 2, "clean", "crash")
	began := time.Now()
	r, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if len(r.Samples) != 4 {
		t.Fatalf("%d runs, want 4: the warm-up does not count", len(r.Samples))
	}
	var all time.Duration
	for _, s := range r.Samples {
		if s.Outcome != Moved || s.Overlap != 0 || s.Old == s.New || s.OldEnd == Unknown {
			t.Errorf("%+v", s)
		}
		detect, grant, activate := s.Parts()
		for _, part := range []struct {
			name      string
			got, want time.Duration
		}{
			{"detect", time.Duration(detect), fakeDetect},
			{"grant", time.Duration(grant), fakeGrant},
			{"activate", time.Duration(activate), fakeActivate},
			{"success", time.Duration(s.Success - s.Started), fakeSuccess},
		} {
			if part.got < part.want { // a sleep is never short
				t.Errorf("%s, %s: %v was measured, %v was put in", s.Fault, part.name, part.got, part.want)
			}
		}
		if detect+grant+activate != s.Started {
			t.Errorf("the parts %v, %v, %v do not make the gap %v", detect, grant, activate, s.Started)
		}
		if s.OldEnd > s.Told {
			t.Errorf("%s: the old work ended at %v, after the next was told at %v", s.Fault, s.OldEnd, s.Told)
		}
		all += time.Duration(s.Success)
	}
	if all > took {
		t.Errorf("%v were measured within %v", all, took)
	}
	floor := r.Floors["fake"]
	for name, all := range map[string][]time.Duration{"commits": floor.Commit, "deliveries": floor.Delivery} {
		if len(all) != p.Runs*floorWrites {
			t.Errorf("%d %s make the floor, want %d before each of %d rounds", len(all), name, floorWrites, p.Runs)
		}
		if quickest := slices.Min(all); quickest < fakeCommit {
			t.Errorf("the quickest of the %s took %v, %v was put in", name, quickest, fakeCommit)
		}
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

func TestAnOverlapIsAnError(t *testing.T) {
	r, err := Run(t.Context(), fakePlan(t, "overlap", 1, "clean"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), ErrOverlap.Error()) || r.Samples[0].Stale == 0 {
		t.Errorf("%v: two were active at once, and both stamped: %+v", err, r.Samples)
	}
}

// TestARunWhoseWorkHadEndedIsBroken makes the moment of a fault one at which the work had
// ended.
func TestARunWhoseWorkHadEndedIsBroken(t *testing.T) {
	p := fakePlan(t, "", 1, "clean")
	p.Faults[0].inject = func(ctx context.Context, s *stage, old term) (time.Duration, error) {
		s.signal(old.id, syscall.SIGTERM)
		err := s.until(ctx, "an end", func() bool {
			return slices.ContainsFunc(s.terms, func(t *term) bool { return t.token == old.token && t.end != 0 })
		})
		return coordinator.Clocks().Mono, err
	}
	r, err := Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	c := Summarize(r).Cells[0]
	if len(r.Samples) != 1 || r.Samples[0].Note != errEnded.Error() || c.Broken != 1 || Moment(c.Median) != Unknown {
		t.Errorf("%+v, %+v", r.Samples, c)
	}
	if err, want := r.Check(), "1 of 1: "; !errors.Is(err, ErrUnmeasured) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), errEnded.Error()) {
		t.Errorf("%v, want %q with the reason", err, want)
	}
}

// TestALateRunIsCounted stops a holder of a lock that no silence frees.
func TestALateRunIsCounted(t *testing.T) {
	r, err := Run(t.Context(), fakePlan(t, "", 1, "hang"))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 1 || r.Samples[0].Outcome != Late || r.Samples[0].Started != Unknown {
		t.Fatalf("%+v", r.Samples)
	}
	c := Summarize(r).Cells[0]
	if c.Late != 1 || time.Duration(c.Median) != Endless || c.Median.String() != "late" {
		t.Errorf("%+v", c)
	}
}

// TestAResetForgetsWhoWasActive: a contender that was killed and started again is in line
// before anybody has the role, and its old term is not the one that stands.
func TestAResetForgetsWhoWasActive(t *testing.T) {
	st, err := newStage(t.Context(), &site{backend: fakePlan(t, "", 1).Backends[0], dir: t.TempDir()}, "reset", timesOf(time.Second), IDs(contenders))
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	if err := st.startAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := st.active()
	if err := st.reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := st.active(); after.token <= before.token {
		t.Errorf("%+v is taken for active after all were killed", after)
	}
}

// TestAnInterruptLeavesNoChild ends a bench in its first run.
func TestAnInterruptLeavesNoChild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := fakePlan(t, "", 5, "clean")
	var pids []int
	command := p.Backends[0].Command
	var children []*exec.Cmd
	p.Backends[0].Command = func(c Contender) (*exec.Cmd, error) {
		cmd, err := command(c)
		children = append(children, cmd)
		return cmd, err
	}
	p.Progress = func(now Progress) {
		if now.Done == 2 { // the warm-up and one run
			cancel()
		}
	}
	r, err := Run(ctx, p)
	if err == nil || len(r.Samples) != 1 {
		t.Errorf("%v, %d runs: want what was measured, and why it is not all", err, len(r.Samples))
	}
	for _, c := range children {
		pids = append(pids, c.Process.Pid)
		if err := syscall.Kill(c.Process.Pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v", c.Process.Pid, err)
		}
	}
	if len(pids) < contenders {
		t.Errorf("%d children", len(pids))
	}
}

// TestContendSaysWhatTheCoordinatorDoes runs a real coordinator on the reference
// store.
func TestContendSaysWhatTheCoordinatorDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out := &stopAfter{what: "success", stop: cancel}
	l := memory.New().Open()
	config := coordinator.Config{ID: "c0", TTL: time.Second, Roles: []lock.Bid{{Role: Role}}}
	if err := Contend(ctx, l, config, true, out); err != nil {
		t.Fatal(err)
	}
	// The store may show that the contender is in line before or after all of that.
	for _, chain := range [][]string{{"told", "granted", "start", "success", "end"}, {"standby"}} {
		rest := out.String()
		for _, what := range chain {
			_, after, found := strings.Cut("\n"+rest, "\n"+what+" ")
			if !found {
				t.Fatalf("no %q in its place:\n%s", what, out.String())
			}
			_, rest, _ = strings.Cut(after, "\n")
		}
	}
}

// stopAfter keeps what is written, and stops when a line begins with a word.
type stopAfter struct {
	strings.Builder
	what string
	stop func()
}

func (s *stopAfter) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), s.what+" ") {
		s.stop()
	}
	return s.Builder.Write(p)
}
