package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// lookFor is for how long programs are looked at before a role is taken.
const lookFor = 5 * time.Second

// inTime returns what look does, which reads the files of these programs. If a disk does not answer in time, nothing is known
// of them, and a warning says so: they are looked for again when they are started.
func (o *options) inTime(names []string, look func() error) error {
	done := make(chan error, 1)
	go func() { done <- look() }()
	select {
	case err := <-done:
		return err
	case <-time.After(lookFor):
		o.Coordinator.Logger.Warn("nobody knows whether the commands can be started: their disk does not answer", "commands", names, "after", lookFor)
		return nil
	}
}

// findCommands says which commands cannot be started: before a role is taken.
func (o *options) findCommands() error {
	var names []string
	for _, r := range o.Roles {
		if len(r.Command) > 0 && !slices.Contains(names, r.Command[0]) {
			names = append(names, r.Command[0])
		}
	}
	return o.inTime(names, func() error {
		var errs []error
		for _, name := range names {
			errs = append(errs, findCommand(name))
		}
		return errors.Join(errs...)
	})
}

// findCommand says why a program cannot be started.
func findCommand(name string) error {
	path, err := exec.LookPath(name)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("command %q: %w", name, refused(name, os.Stat))
	}
	if err != nil {
		return fmt.Errorf("command %q: %w; write its path, or a name that is in PATH", name, errors.Unwrap(err))
	}
	if err := checkScript(path); err != nil {
		return fmt.Errorf("command %q: %w", name, err)
	}
	return nil
}

// refused says why a file may not be started. Below a directory that this user may not search nobody sees whether it is there.
func refused(path string, stat func(string) (fs.FileInfo, error)) error {
	info, err := stat(path)
	if err == nil && info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("is not executable; make it executable: chmod +x %s", path)
	}
	if !errors.Is(err, fs.ErrPermission) {
		return errors.New("this user may not execute it; look at its owner and its mode, and whether its disk is mounted with noexec")
	}
	dir := filepath.Dir(path)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := stat(dir); err == nil {
			break
		}
	}
	return fmt.Errorf("this user may not search the directory %s, or one that a link below it leads to; allow it: chmod o+x %s, or run understudy as a user who may", dir, dir)
}

// checkScript refuses a script that the kernel cannot start. A shell that is asked to start it
// would read it instead, which hides that.
func checkScript(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // it may be executable without being readable
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := io.ReadFull(f, head) // it may be shorter
	head = head[:n]
	first, _, _ := bytes.Cut(head, []byte("\n"))
	line, script := strings.CutPrefix(string(first), "#!")
	switch {
	case script:
		interpreter, _, _ := strings.Cut(strings.Trim(line, " \t"), " ")
		if strings.HasSuffix(line, "\r") { // the kernel takes that for a part of a name
			return fmt.Errorf("its lines end as on Windows, so its first line asks for %q: save it with LF line ends, as by: sed -i 's/\\r$//' %s", strings.Trim(line, " \t"), path)
		}
		if _, err := os.Stat(interpreter); errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("its first line names the interpreter %q: %w", interpreter, refused(interpreter, os.Stat))
		} else if err != nil {
			return fmt.Errorf("its first line names the interpreter %q, which does not exist: install it, or name one that is there", interpreter)
		}
	case n == 0:
		return errors.New("is empty: write a program into it, or name another file")
	case bytes.IndexByte(head, 0) < 0 && utf8.Valid(head[:max(0, n-utf8.UTFMax)]):
		return fmt.Errorf("is a script without a first line such as #!/bin/sh, so only a shell can start it; add one, or write: -- sh %s", path)
	}
	return nil
}

// warnOfUsers warns of every command that may become another user, before any role is taken, unless their disk does not
// answer, as was said before.
func (c *commands) warnOfUsers() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, one := range c.byRole {
			path, err := exec.LookPath(one.role.Command[0])
			if err != nil { // it was there a moment ago, and is looked for again
				continue
			}
			if how := becomes(path, os.Geteuid()); how != "" {
				one.log.Warn("the command may become another user, and then understudy cannot stop it: run understudy as root, or as that user", "command", path, "how", how)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(lookFor):
	}
}
