#!/usr/bin/env bash
# A leader of client-go's leader election that reads that the lease is another's leads on until RenewDeadline.
#
# Guess: once a leader has read that the lease names another holder it ends the context of OnStartedLeading at once: there
# is nothing left to renew.
# What happens: a renewal that finds another holder is one more failed try. It is tried again every RetryPeriod until
# RenewDeadline, 10 s by default, and the work goes on beside its successor that long. So it is after a pause of the
# process that was longer than the lease.
# For users of understudy: after a pause, count on RenewDeadline more of overlap with client-go, and fence by a token
# of your own. understudy's work ends when its process goes on after its deadline, before anything is asked.
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
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection"
	rl "k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// A lock keeps one lease, and takes, as an API server does, only what was made from the version that is there.
type lock struct {
	sync.Mutex
	record     *rl.LeaderElectionRecord
	there, got int
}

func (l *lock) Get(context.Context) (*rl.LeaderElectionRecord, []byte, error) {
	l.Lock()
	defer l.Unlock()
	if l.record == nil {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "billing")
	}
	record := *l.record
	raw, err := json.Marshal(record)
	l.got = l.there
	return &record, raw, err
}

func (l *lock) Update(_ context.Context, r rl.LeaderElectionRecord) error {
	l.Lock()
	defer l.Unlock()
	if l.got != l.there {
		return apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, "billing", errors.New("the object has been modified"))
	}
	l.there++
	l.record, l.got = &r, l.there
	return nil
}

func (l *lock) Create(ctx context.Context, r rl.LeaderElectionRecord) error { return l.Update(ctx, r) }
func (l *lock) RecordEvent(string)                                          {}
func (l *lock) Identity() string                                            { return "first" }
func (l *lock) Describe() string                                            { return "billing" }

// move makes the lease another's, from elsewhere.
func (l *lock) move(id string) {
	l.Lock()
	defer l.Unlock()
	l.there++
	now := metav1.Now()
	l.record = &rl.LeaderElectionRecord{HolderIdentity: id, LeaseDurationSeconds: 60, AcquireTime: now, RenewTime: now}
}

func main() {
	klog.SetLogger(klog.Logger{})
	l := &lock{}
	started, ended := make(chan bool), make(chan time.Time, 1)
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 500 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				started <- true
				<-leading.Done()
				ended <- time.Now()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		panic(err)
	}
	go e.Run(context.Background())
	<-started
	time.Sleep(time.Second)
	l.move("second")
	moved := time.Now()
	for e.GetLeader() != "second" {
		time.Sleep(10 * time.Millisecond)
	}
	known := time.Since(moved)
	worked := (<-ended).Sub(moved)
	fmt.Printf("the lease is another's, which the first leader knows after %v, and works on for %v\n", known.Round(100*time.Millisecond), worked.Round(100*time.Millisecond))
	if known > 2*time.Second || worked < 3*time.Second {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go mod tidy 2> /dev/null
go list -m k8s.io/client-go
go run .
