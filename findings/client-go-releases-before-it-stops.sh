#!/usr/bin/env bash
# Two leaders of client-go's leader election at once, with the ratio of its defaults: the one that is cut off tries to
# give the lease back first, and tells its work to stop afterwards.
#
# Guess: a leader that cannot renew its lease ends the context of OnStartedLeading at RenewDeadline, and
# ReleaseOnCancel only adds a release after that, or when the caller cancels.
# What happens: with ReleaseOnCancel the lost leader first calls release(), which reads the lease with a limit of another
# RenewDeadline. Where a request gets no answer, as behind a cut network, the work goes on all that time, and
# RenewDeadline twice is more than LeaseDuration. Without ReleaseOnCancel it ends in time.
# For users of understudy: a work that is guarded by client-go's election, with ReleaseOnCancel, needs its own deadline at
# RenewDeadline. understudy's work ends at its deadline, whatever call is under way.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require k8s.io/client-go@v0.37.2
cat > main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection"
	rl "k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// A server keeps one lease.
type server struct {
	sync.Mutex
	record *rl.LeaderElectionRecord
}

// A lock reaches the server, unless it is cut off: then its requests have no answer.
type lock struct {
	*server
	id  string
	cut atomic.Bool
}

func (l *lock) ask(ctx context.Context, do func() error) error {
	if l.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	l.Lock()
	defer l.Unlock()
	return do()
}

func (l *lock) Get(ctx context.Context) (record *rl.LeaderElectionRecord, raw []byte, err error) {
	err = l.ask(ctx, func() error {
		if l.record == nil {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "billing")
		}
		copied := *l.record
		record = &copied
		raw, _ = json.Marshal(record)
		return nil
	})
	return record, raw, err
}

func (l *lock) Update(ctx context.Context, r rl.LeaderElectionRecord) error {
	return l.ask(ctx, func() error { l.record = &r; return nil })
}

func (l *lock) Create(ctx context.Context, r rl.LeaderElectionRecord) error { return l.Update(ctx, r) }
func (l *lock) RecordEvent(string)                                          {}
func (l *lock) Identity() string                                            { return l.id }
func (l *lock) Describe() string                                            { return "billing" }

// contend runs a contender, and tells when its work starts and ends.
func contend(ctx context.Context, l *lock, release bool, starts, ends chan<- time.Time) {
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 400 * time.Millisecond, ReleaseOnCancel: release,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				starts <- time.Now()
				<-leading.Done()
				ends <- time.Now()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		panic(err)
	}
	e.Run(ctx)
}

// overlap cuts the leader off, and returns for how long it works beside its successor.
func overlap(release bool) time.Duration {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	shared := &server{}
	first, second := &lock{server: shared, id: "first"}, &lock{server: shared, id: "second"}
	firstStarts, firstEnds := make(chan time.Time, 1), make(chan time.Time, 1)
	secondStarts, secondEnds := make(chan time.Time, 1), make(chan time.Time, 1)
	go contend(ctx, first, release, firstStarts, firstEnds)
	<-firstStarts
	go contend(ctx, second, release, secondStarts, secondEnds)
	time.Sleep(2 * time.Second)
	first.cut.Store(true)
	return (<-firstEnds).Sub(<-secondStarts)
}

func main() {
	klog.SetLogger(klog.Logger{})
	without, with := overlap(false), overlap(true)
	fmt.Printf("the cut off leader worked beside its successor: without ReleaseOnCancel %v, with it %v\n", without.Round(10*time.Millisecond), with.Round(10*time.Millisecond))
	if without > 0 || with < 300*time.Millisecond {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go mod tidy 2> /dev/null
go list -m k8s.io/client-go
go run .
