package main

import (
	"context"
	"io"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab"
)

var must = lab.Must

// benchStage is three real processes on embedded Raft, of which one is active.
func benchStage(b *testing.B, ttl, every time.Duration) (*demoStage, context.Context) {
	b.Setenv("UNDERSTUDY_TEST", "lab")
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	b.Cleanup(cancel)
	s, err := newStage(b.TempDir(), io.Discard)
	must(b, err)
	s.ttl, s.every = ttl, every
	b.Cleanup(s.endAll)
	for _, id := range s.ids {
		must(b, s.start(id))
	}
	s.client, err = dialStage(s)
	must(b, err)
	b.Cleanup(func() { _ = s.client.Close() })
	_, err = s.next(ctx, 0)
	must(b, err)
	must(b, s.inLine(ctx, 2))
	return s, ctx
}

// reportGaps reports the median and the greatest of all, as ratios to a unit.
func reportGaps(b *testing.B, gaps []time.Duration, unit time.Duration, name string) {
	slices.Sort(gaps)
	median, most := gaps[len(gaps)/2], gaps[len(gaps)-1]
	b.ReportMetric(float64(median.Microseconds())/1000, "ms-median")
	b.ReportMetric(float64(most.Microseconds())/1000, "ms-max")
	b.ReportMetric(float64(median)/float64(unit), "x-"+name)
	b.ReportMetric(0, "ns/op") // what surrounds the gap is not meant
}

// BenchmarkFreeze is the time from a SIGSTOP of the active to the first stamp of
// its successor. The moment falls anywhere in a beat. A ratio of 1 is the ttl.
func BenchmarkFreeze(b *testing.B) {
	s, ctx := benchStage(b, 500*time.Millisecond, time.Millisecond)
	var gaps []time.Duration
	for b.Loop() {
		old := s.active()
		s.anywhere(len(gaps))
		at := s.signal(old.id, syscall.SIGSTOP)
		next, err := s.next(ctx, old.token)
		must(b, err)
		gaps = append(gaps, next.first-at)
		s.signal(old.id, syscall.SIGCONT)
		must(b, s.again(ctx, old.id))
	}
	reportGaps(b, gaps, s.ttl, "ttl")
}

// anywhere lets a part of a beat pass, another one each time.
func (s *demoStage) anywhere(i int) { time.Sleep(time.Duration(i%10) * s.ttl / 40) }

// BenchmarkCleanStop is the time from the end of the old work to the start of the
// new one, with a ratio to one write through a peer, measured in the same run.
func BenchmarkCleanStop(b *testing.B) {
	s, ctx := benchStage(b, time.Second, time.Millisecond)
	var gaps []time.Duration
	commit, err := s.measureCommit(ctx)
	must(b, err)
	for b.Loop() {
		old := s.active()
		s.signal(old.id, syscall.SIGTERM)
		next, err := s.next(ctx, old.token)
		must(b, err)
		end, err := s.endOf(ctx, old)
		must(b, err)
		gaps = append(gaps, next.first-end)
		must(b, s.again(ctx, old.id))
	}
	b.ReportMetric(float64(commit.Microseconds())/1000, "ms-commit")
	reportGaps(b, gaps, commit, "commit")
}

// BenchmarkLeaderCrash is the time from a SIGKILL of the active, who leads Raft
// too, to the first stamp of its successor. A ratio of 1 is what plan prints as
// the latest.
func BenchmarkLeaderCrash(b *testing.B) {
	s, ctx := benchStage(b, time.Second, time.Millisecond)
	c := coordinator.Config{TTL: s.ttl}.Defaults()
	bound := c.TTL + c.Skew + 3*raft.TimingFor(s.ttl) + c.Try()
	var gaps []time.Duration
	for b.Loop() {
		for { // until the active is the leader
			g, err := raft.Inspect(ctx, raft.Config{Peers: s.peers})
			must(b, err)
			old := s.active()
			if old.id == g.Leader {
				break
			}
			s.signal(old.id, syscall.SIGKILL)
			_, err = s.next(ctx, old.token)
			must(b, err)
			must(b, s.again(ctx, old.id))
		}
		old := s.active()
		s.anywhere(len(gaps))
		at := s.signal(old.id, syscall.SIGKILL)
		next, err := s.next(ctx, old.token)
		must(b, err)
		gaps = append(gaps, next.first-at)
		must(b, s.again(ctx, old.id))
	}
	reportGaps(b, gaps, bound, "plan")
}

// BenchmarkIdle is what the active, the leader of Raft and a process that is
// neither cost while nothing happens, at the default ttl: of a core, at the median
// of windows of 10 s, and of memory.
func BenchmarkIdle(b *testing.B) {
	s, ctx := benchStage(b, 10*time.Second, time.Hour)
	g, err := raft.Inspect(ctx, raft.Config{Peers: s.peers})
	must(b, err)
	shares := map[string][]float64{}
	for b.Loop() {
		began, before := time.Now(), map[string]time.Duration{}
		for _, id := range s.ids {
			before[id] = cpu(b, s.procs[id].PID())
		}
		time.Sleep(10 * time.Second) // the window that is measured
		for _, id := range s.ids {
			used := cpu(b, s.procs[id].PID()) - before[id]
			shares[id] = append(shares[id], 100*float64(used)/float64(time.Since(began)))
		}
	}
	b.ReportMetric(timerCost(b), "%core-bare-timer")
	for _, id := range s.ids {
		who := "standby"
		switch {
		case id == g.Leader && id == s.active().id:
			who = "active-and-leader"
		case id == g.Leader:
			who = "leader"
		case id == s.active().id:
			who = "active"
		}
		slices.Sort(shares[id])
		b.ReportMetric(shares[id][len(shares[id])/2], "%core-"+who)
		b.ReportMetric(resident(b, s.procs[id].PID()), "MiB-"+who)
	}
	b.ReportMetric(0, "ns/op")
}

// timerCost is what a timer alone costs here that fires every 50 ms: the floor of
// a process that does anything so often, as the active's guard does.
func timerCost(b *testing.B) float64 {
	before, began := cpu(b, os.Getpid()), time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
	}
	return 100 * float64(cpu(b, os.Getpid())-before) / float64(time.Since(began))
}

// cpu is how long the threads of a process ran.
func cpu(b *testing.B, pid int) time.Duration {
	used, _, err := failover.Used(pid)
	must(b, err)
	return used
}

// resident is a process's resident memory in MiB.
func resident(b *testing.B, pid int) float64 {
	_, bytes, err := failover.Used(pid)
	must(b, err)
	return float64(bytes) / (1 << 20)
}
