package procgroup

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ask asks the first process's group to end, and when that process has ended all that
// is left, each once. SIGCONT has what was stopped hear it.
func (k *keeper) ask() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first != 0 {
		k.signalFirst(syscall.SIGTERM)
		k.signalFirst(syscall.SIGCONT)
		return
	}
	if childless() { // as usual
		return
	}
	if isolated() {
		_ = syscall.Kill(-1, syscall.SIGTERM)
		_ = syscall.Kill(-1, syscall.SIGCONT)
		return
	}
	t := tree{root: os.Getpid()}
	for range 3 { // what one look missed was only just forked
		t.look(func(p proc) {
			if id := newID(p); !k.told[id] && !p.dead() {
				k.told[id] = true
				t.send(p, syscall.SIGTERM)
				t.send(p, syscall.SIGCONT)
			}
		})
	}
}

// signalFirst signals the first process's group, or it alone where it has left its group.
func (k *keeper) signalFirst(sig syscall.Signal) {
	if syscall.Kill(-k.first, sig) != nil {
		_ = syscall.Kill(k.first, sig)
	}
}

// childless reports whether this process has no child, and so no descendant: it adopts each that
// loses its parent.
func childless() bool {
	return errors.Is(unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT|unix.WALL|unix.WNOHANG, nil), unix.ECHILD)
}

// kill kills all that is below, until this process ends because nothing is.
func (k *keeper) kill() {
	k.killing.Do(func() {
		close(k.doomed)
		go func() {
			since := time.Now()
			for wait := 100 * time.Microsecond; ; wait = min(2*wait, 20*time.Millisecond) {
				k.killOnce()
				k.giveUp(since)
				time.Sleep(wait)
			}
		}()
	})
}

// unread is for how long a program that is killed may be read on.
const unread = time.Second

// giveUp ends this process if the program is still being started: its file is not read, and it sleeps in the kernel, where
// even SIGKILL waits. That will end it before it has done anything, so nothing will ever work.
func (k *keeper) giveUp(since time.Time) {
	if time.Since(since) < unread || !k.starting.Load() {
		return
	}
	order{what: begun, number: int32(syscall.ECANCELED)}.send(k.wire)
	os.Exit(1)
}

func (k *keeper) isDoomed() bool {
	select {
	case <-k.doomed:
		return true
	default:
		return false
	}
}

func (k *keeper) killOnce() {
	if isolated() {
		_ = syscall.Kill(-1, syscall.SIGKILL)
		return
	}
	if k.mu.TryLock() { // otherwise the program is being started, whose file may never be read
		if k.first != 0 {
			k.signalFirst(syscall.SIGKILL)
		}
		k.mu.Unlock()
	}
	if !childless() {
		tree{root: os.Getpid(), reap: k.reapOther}.signal(syscall.SIGKILL)
	}
}

// isolated reports whether this is the first process of a namespace: /proc, which is the
// parent's there, gives other numbers then.
func isolated() bool { return os.Getpid() == 1 }

// CanLook says why what descends from this process could not be found in /proc, or nil.
func CanLook() error {
	switch pid, err := os.Readlink("/proc/self"); {
	case err != nil:
		return fmt.Errorf("there is no /proc to find a command's descendants in (%w): mount it, by mount -t proc proc /proc", err)
	case pid != fmt.Sprint(os.Getpid()):
		return fmt.Errorf("/proc is that of another PID namespace, in which this process is %s and not %d, so a command's descendants could not be found: "+
			"mount this one's, as by unshare --mount-proc, or mount -t proc proc /proc", pid, os.Getpid())
	}
	return nil
}

// CanIsolate says why the kernel does not let this process isolate, or nil.
func CanIsolate() error {
	p, err := os.StartProcess("/proc/self/exe", []string{initName}, &os.ProcAttr{
		Files: []*os.File{nil, nil, os.Stderr}, Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID},
	})
	if err != nil {
		return fmt.Errorf("no PID namespace can be made: %w", err)
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("the first process of a PID namespace fails: %v", state)
	}
	return err
}
