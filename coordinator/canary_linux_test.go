package coordinator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/faultdisk"
	"github.com/understudy-ha/understudy/lock"
)

// onDisk is a contender that needs a disk, in real time, and what is seen of it.
func onDisk(id, dir string) (Config, *Monitor) {
	m := new(Monitor)
	c := Config{ID: id, Roles: []lock.Bid{{Role: "r"}}, TTL: 2 * time.Second, Logger: quiet, Canary: dir, Monitor: m}
	return c, m
}

// cameTo waits until a role is in a state.
func cameTo(t *testing.T, m *Monitor, want State) RoleStatus {
	t.Helper()
	lab.Eventually(t, string(want), func() bool { r, ok := m.Role("r"); return ok && r.State == want })
	r, _ := m.Role("r")
	return r
}

// TestDiskThatHangs: the work on it is told that it stalls, has the grace, and its role goes to another.
// The process goes on, stands by for nothing, and does so again when its disk does.
func TestDiskThatHangs(t *testing.T) {
	t.Parallel()
	s, disk := newStage(t), faultdisk.New(t)
	a, seen := onDisk("a", disk.Dir)
	told := make(chan error, 2)
	stopA := s.contend(a, func(ctx context.Context, term Term) error {
		<-ctx.Done()
		told <- context.Cause(ctx)
		return nil
	})
	cameTo(t, seen, Active)
	b, other := onDisk("b", t.TempDir())
	stopB := s.contend(b, untilTold)
	cameTo(t, other, Standby)
	disk.Set(faultdisk.Fault{Stalled: true})
	if cause := <-told; !errors.Is(cause, ErrStalled) || Asked(cause) {
		t.Errorf("the work was told %v", cause)
	}
	cameTo(t, other, Active)
	r := cameTo(t, seen, Paused)
	if r.Cause != CauseUnhealthy || r.Reason == nil || !strings.Contains(r.Reason.Error(), "nothing could be written for 1s") || r.Moves[CauseStalled] != 1 {
		t.Errorf("it is paused: %s, %v; moves: %v", r.Cause, r.Reason, r.Moves)
	}
	if p := seen.Process(); p.Unhealthy == nil || disk.Held() != 1 {
		t.Errorf("healthy: %v; writes that hang: %d", p.Unhealthy == nil, disk.Held())
	}
	disk.Set(faultdisk.Fault{})
	cameTo(t, seen, Standby)
	must(t, stopB())
	cameTo(t, seen, Active)
	must(t, stopA())
	s.want("a", "b", "a")
	if left, err := os.ReadDir(disk.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDiskThatFails: where a write fails the process is not healthy, and its work is asked to end. Where
// only room is missing nothing happens: the canary takes no more.
func TestDiskThatFails(t *testing.T) {
	t.Parallel()
	s, disk := newStage(t), faultdisk.New(t)
	c, seen := onDisk("a", disk.Dir)
	told := make(chan error, 2)
	stop := s.contend(c, func(ctx context.Context, term Term) error {
		<-ctx.Done()
		told <- context.Cause(ctx)
		return nil
	})
	cameTo(t, seen, Active)
	disk.Set(faultdisk.Fault{Full: true, Slow: 50 * time.Millisecond})
	time.Sleep(time.Second) // some writes, which a full and slow disk takes
	s.want("a")
	if err := seen.Process().Unhealthy; err != nil {
		t.Errorf("on a full disk: %v", err)
	}
	disk.Set(faultdisk.Fault{ReadOnly: true})
	if cause := <-told; !errors.Is(cause, ErrUnhealthy) || !Asked(cause) {
		t.Errorf("the work was told %v", cause)
	}
	if r := cameTo(t, seen, Paused); r.Reason == nil || !strings.Contains(r.Reason.Error(), "read-only file system") {
		t.Errorf("paused: %v", r.Reason)
	}
	disk.Set(faultdisk.Fault{})
	cameTo(t, seen, Active)
	must(t, stop())
}

// TestHungAtTheStart: on a disk that hangs Run begins all the same, competes for nothing until the
// disk answers, and ends while it does not.
func TestHungAtTheStart(t *testing.T) {
	t.Parallel()
	s, disk := newStage(t), faultdisk.New(t)
	disk.Set(faultdisk.Fault{Stalled: true})
	c, seen := onDisk("a", disk.Dir)
	stop := s.contend(c, untilTold)
	cameTo(t, seen, Paused)
	lab.Eventually(t, "the canary to count as hung", func() bool {
		err := seen.Process().Unhealthy
		return err != nil && strings.Contains(err.Error(), "nothing could be written")
	})
	must(t, stop())
	s.want()
	c, seen = onDisk("a", disk.Dir)
	stop = s.contend(c, untilTold)
	cameTo(t, seen, Paused)
	disk.Set(faultdisk.Fault{})
	cameTo(t, seen, Active)
	must(t, stop())
}

// TestCanaryDirectory: what cannot be a canary's directory is an error that says what to do, before
// anything is registered. What a process that was killed has left there is no hindrance.
func TestCanaryDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	full, readOnly := faultdisk.New(t), faultdisk.New(t)
	full.Set(faultdisk.Fault{Full: true})
	readOnly.Set(faultdisk.Fault{ReadOnly: true})
	for where, want := range map[string]string{
		dir + "/none": "is not there; create the directory",
		file:          "is not a directory; name the one that it is in",
		full.Dir:      "no space left on device",
		readOnly.Dir:  "read-only file system; name a directory on the disk that the work needs",
	} {
		s := newStage(t)
		c, _ := onDisk("a", where)
		err := s.contend(c, untilTold)()
		var field *lock.FieldError
		if !errors.As(err, &field) || field.Fields[0] != "Canary" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", where, err, want)
		}
		s.want()
	}
	victim := filepath.Join(dir, "victim")
	must(t, os.WriteFile(victim, []byte("what others keep"), 0o600))
	c, seen := onDisk("a", dir)
	s := newStage(t)
	stop := s.contend(c, untilTold)
	cameTo(t, seen, Active)
	all, err := filepath.Glob(filepath.Join(dir, "understudy-canary-*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("canaries: %v, %v", all, err)
	}
	must(t, stop())
	must(t, os.Symlink(victim, all[0])) // as one who means harm could leave it there
	c, seen = onDisk("a", dir)
	stop = s.contend(c, untilTold)
	cameTo(t, seen, Active)
	must(t, stop())
	if text, err := os.ReadFile(victim); string(text) != "what others keep" {
		t.Errorf("another's file was written to: %q, %v", text, err)
	}
}
