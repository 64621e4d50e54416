package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestBootClocksApart has each machine's clock that counts sleep show something else, as machines do that slept for
// different times, and something else again after each restart: nobody but its own process reads it.
func TestBootClocksApart(t *testing.T) {
	needRoot(t)
	onEveryStore(t, testBootClocksApart)
}

func testBootClocksApart(t *testing.T, r *trio) {
	r.through = map[string][]string{}
	ahead := time.Hour
	start := func(id string) {
		r.through[id] = []string{"unshare", "--time", "--boottime", fmt.Sprint(int(ahead.Seconds())), "--"}
		ahead = 25*time.Hour - ahead // back and forth
		r.start(id)
	}
	for _, id := range r.ids {
		start(id)
	}
	r.inLine(2)
	for range 2 {
		now := r.settled()
		r.kill(now.id, syscall.SIGKILL)
		now, was := r.active(now.token), now.id
		start(was)
		r.inLine(2)
		r.send(r.procs[now.id].Process.Pid, syscall.SIGSTOP)
		r.killed(now)
		was = now.id
		r.active(now.token)
		start(was)
		r.inLine(2)
		r.handOver()
	}
	r.finish()
}
