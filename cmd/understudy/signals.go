package main

import (
	"os"
	"os/signal"
	"syscall"
)

// signals are those that a process which takes part in a group handles. Until it takes them
// nothing has been started, and a stop ends it at once, with 0.
type signals struct {
	heard chan os.Signal
	taken chan struct{} // receives once they are taken
}

// hear starts catching the signals, if the command line is that of a process which handles them;
// nil: it is not, and the kernel may end the process.
func hear(args []string) *signals {
	if len(args) == 0 || args[0] != "run" && args[0] != "raft-voter" {
		return nil
	}
	s := newSignals(args[0] == "run")
	go func() {
		for {
			select {
			case sig := <-s.heard:
				if stops(sig) {
					os.Exit(0)
				}
			case <-s.taken:
				return
			}
		}
	}()
	return s
}

// newSignals catches the signals, and those meant for a command only if there is one. SIGHUP and
// SIGINT that were ignored at the start, as by nohup, stay ignored, here and in the command.
func newSignals(command bool) *signals {
	all := []os.Signal{syscall.SIGTERM, syscall.SIGPIPE} // a log that nobody reads is not a reason to stop
	if !signal.Ignored(syscall.SIGINT) {
		all = append(all, syscall.SIGINT)
	}
	if command {
		all = append(all, syscall.SIGUSR1, syscall.SIGUSR2)
	}
	if command && !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	s := &signals{heard: make(chan os.Signal, 16), taken: make(chan struct{})}
	signal.Notify(s.heard, all...)
	return s
}

// take gives the signals to the caller from now on. command: it has one to pass some on to.
func (s *signals) take(command bool) chan os.Signal {
	if s == nil { // not a process of its own
		return newSignals(command).heard
	}
	s.taken <- struct{}{}
	return s.heard
}

// stops reports whether a signal asks this process to stop.
func stops(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }

// atTerminal reports whether this process has a terminal that sends it SIGHUP when it is closed.
func atTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}
