package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// What tells a warm command the numbers of what it inherits.
const (
	forSocket = "UNDERSTUDY_SOCKET"
	forPage   = "UNDERSTUDY_PAGE"
)

// startFor is how long a command may take until it says that it is ready, or makes progress.
const startFor = 30 * time.Second

// follow takes what the command says by the socket: assignments, as in sd_notify(3), each in a line.
func (w *warm) follow(l *life) {
	seldom, last := rate.NewLimiter(rate.Every(15*time.Second), 4), ""
	lines := make(chan string)
	go readLines(l.wire, lines)
	for line := range lines {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case name == "READY":
			l.ready.Store(value == "1")
			w.atWork().Progress()
		case name == "WATCHDOG":
			w.atWork().Progress()
		case name == "IDLE":
			w.stoodDown(value)
		case name == "STATUS" && value != last && seldom.Allow():
			last = value
			w.log.Info("the command says", "line", value)
		}
	}
	select {
	case <-l.group.Done():
	case <-time.After(time.Second): // the socket of a command that ends is closed a moment before
		w.log.Warn("killing the command: it has closed its socket, so nobody can tell it to stand down")
		l.group.Kill()
	}
}

// stoodDown takes the command's word that nothing of it works under a token any more. It counts only as the
// answer to the demotion of that very term: an answer that is late says nothing of the next one.
func (w *warm) stoodDown(token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idle != nil && token == fmt.Sprint(w.term.Token) {
		close(w.idle)
		w.idle = nil
	}
}
