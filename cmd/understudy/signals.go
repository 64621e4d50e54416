package main

import (
	"os"
	"os/signal"
	"syscall"
)

// signals are those that a process which takes part in a group heeds. Until it takes them
// nothing has been started, and a stop ends it at once, with 0.
type signals struct {
	heard chan os.Signal
	taken chan struct{} // received from once they are taken
}

// hear has the signals come here from now on, where the command line is that of a process
// which heeds them; nil: it is another one, which the kernel may end.
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

// newSignals catches the signals: those that are for a command only where there is one. SIGHUP
// and SIGINT that were ignored at the start, as by nohup, stay ignored, here and in the command.
func newSignals(command bool) *signals {
	all := []os.Signal{syscall.SIGTERM, syscall.SIGPIPE} // nobody reads the log any more: no reason to stop
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

// take has the caller hear the signals from now on. command: it has one to pass some on to.
func (s *signals) take(command bool) chan os.Signal {
	if s == nil { // not a process of its own
		return newSignals(command).heard
	}
	s.taken <- struct{}{}
	return s.heard
}

// stops reports whether a signal asks this process to stop.
func stops(s os.Signal) bool { return s == syscall.SIGTERM || s == syscall.SIGINT }
