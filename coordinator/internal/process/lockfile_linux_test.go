package process

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

const asHolder = "UNDERSTUDY_TEST_LOCK_FILE"

// TestMain also is a process that has the lock, and starts another one.
func TestMain(m *testing.M) {
	if path := os.Getenv(asHolder); path != "" {
		l, err := Take(path, os.Getenv("NONCE"), time.Minute)
		child := exec.Command("sleep", "1000")
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(child.Process.Pid)
		_ = child.Wait()
		l.Close()
		return
	}
	os.Exit(m.Run())
}

// holder starts a process that has the lock, and returns it with its child.
func holder(t *testing.T, path, nonce string) (*exec.Cmd, *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asHolder+"="+path, "NONCE="+nonce)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	lab.Must(t, err)
	lab.Must(t, cmd.Start())
	var pid int
	line, err := bufio.NewReader(out).ReadString('\n')
	lab.Must(t, err)
	_, err = fmt.Sscan(line, &pid)
	lab.Must(t, err)
	child, err := os.FindProcess(pid)
	lab.Must(t, err)
	t.Cleanup(func() {
		_, _, _ = child.Kill(), cmd.Process.Kill(), cmd.Wait()
	})
	return cmd, child
}

// TestLockfile proves the death of a process only once what it has started is dead, too, and then that of all before it.
func TestLockfile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	for _, nonce := range []string{"A", "B"} {
		cmd, child := holder(t, path, nonce)
		lab.Must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if l, err := Take(path, "C", 100*time.Millisecond); !errors.Is(err, ErrNoProof) || l.Dead(nonceOf(nonce)) {
			t.Errorf("beside a child that lives: %v", err)
		}
		lab.Must(t, child.Kill())
	}
	copied := filepath.Join(t.TempDir(), "lock")
	text, err := os.ReadFile(path)
	lab.Must(t, err)
	lab.Must(t, os.WriteFile(copied, text, 0o600))
	for at, want := range map[string]bool{path: true, copied: false} {
		l, err := Take(at, "C", 10*time.Second)
		lab.Must(t, err)
		defer l.Close()
		for _, nonce := range []string{"A", "B"} {
			if l.Dead(nonceOf(nonce)) != want {
				t.Errorf("%s: %s is dead: %v", at, nonce, !want)
			}
		}
		if l.Dead(nonceOf("C")) || l.Dead(nonceOf("AA")) || l.Dead("") {
			t.Error("who never had the file is dead")
		}
	}
}

// TestLockfileOfManyStarts remembers a number of them, and does not grow.
func TestLockfileOfManyStarts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	var l *Lockfile
	for i := range 3 * mostKept {
		var err error
		l, err = Take(path, fmt.Sprint("nonce", i), time.Second)
		lab.Must(t, err)
		l.Close()
	}
	for i := range 3*mostKept - 1 {
		if want := i >= 2*mostKept-1; l.Dead(nonceOf(fmt.Sprint("nonce", i))) != want {
			t.Errorf("the last start does not know of number %d that it is dead: %v", i, want)
		}
	}
}

func nonceOf(nonce string) lock.SessionID { return lock.SessionID(nonce + "-1") }

// TestLockfileIsRefused where it would write over something else, or cannot be.
func TestLockfileIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lab.Must(t, os.WriteFile(filepath.Join(dir, "mine"), []byte("precious"), 0o600))
	lab.Must(t, os.Symlink("mine", filepath.Join(dir, "link")))
	for name, want := range map[string]string{
		"mine": "holds something else; name a file that is not there yet", "link": "name a file that user",
		".": "name a file that user", "none/lock": "there is no such directory; create it",
	} {
		path := filepath.Join(dir, name)
		_, err := Take(path, "A", 0)
		if err == nil || !strings.Contains(err.Error(), want) || Check(path) == nil || errors.Is(err, ErrNoProof) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if l, err := Take("/proc/self/comm", "A", 0); !errors.Is(err, ErrNoProof) {
		l.Close()
		t.Errorf("on another file system: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "mine")); string(text) != "precious" {
		t.Errorf("the file of another is %q now, %v", text, err)
	}
}
