package main

import (
	"context"
	"io"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkFreeze is the time from a SIGSTOP of the active to the first stamp of
// its successor, in three real processes on embedded Raft, at the median. The
// moment falls anywhere in a beat. A ratio of 1 is the ttl itself.
func BenchmarkFreeze(b *testing.B) {
	b.Setenv("UNDERSTUDY_TEST", "wrapper")
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	s, err := newStage(b.TempDir(), io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	s.ttl = 500 * time.Millisecond
	defer s.killAll()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, id := range s.ids {
		must(s.start(id))
	}
	s.client, err = dialStage(s)
	must(err)
	defer s.client.Close()
	_, err = s.next(ctx, 0)
	must(err)
	var gaps []time.Duration
	for b.Loop() {
		must(s.inLine(ctx, 2))
		old := s.active()
		time.Sleep(time.Duration(len(gaps)%10) * s.ttl / 40)
		at := s.signal(old.id, syscall.SIGSTOP)
		next, err := s.next(ctx, old.token)
		must(err)
		gaps = append(gaps, next.first-at)
		s.signal(old.id, syscall.SIGCONT)
		must(s.wait(old.id))
		must(s.start(old.id))
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	b.ReportMetric(float64(median.Milliseconds()), "ms-median")
	b.ReportMetric(float64(gaps[len(gaps)-1].Milliseconds()), "ms-max")
	b.ReportMetric(float64(median)/float64(s.ttl), "x-ttl")
}
