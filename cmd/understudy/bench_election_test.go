package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// BenchmarkElection is the time from SIGKILL of the process that leads Raft until the group commits again, by
// --raft-timing, and how many timings that is.
func BenchmarkElection(b *testing.B) {
	for _, timing := range []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		b.Run(timing.String(), func(b *testing.B) {
			r := newTrio(b, onRaft)
			r.ttl = 30 * time.Second
			r.everyone("--raft-timing", timing.String())
			client, err := raft.Dial(r.store.Raft)
			must(b, err)
			floor := lock.Token(1 << 32) // above every index, so that it is always a change
			var gaps []time.Duration
			for b.Loop() {
				r.settle()
				var leader string
				r.eventually("somebody leads", func() bool {
					g, err := raft.Status(lab.Within(b, 3*time.Second), r.store.Raft)
					leader = g.Leader
					return err == nil && leader != ""
				})
				floor++
				must(b, client.Raise(lab.Within(b, time.Minute), floor))
				begun := time.Now()
				r.signal(leader, syscall.SIGKILL)
				floor++
				must(b, client.Raise(lab.Within(b, time.Minute), floor))
				gaps = append(gaps, time.Since(begun))
			}
			tell(b, "election", gaps, 0)
			b.ReportMetric(float64(median(gaps))/float64(timing), "x-timing")
			must(b, client.Close())
			r.finish()
		})
	}
}
