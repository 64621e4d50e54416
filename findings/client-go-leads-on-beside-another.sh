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
	"fmt"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

func main() {
	klog.SetLogger(klog.Logger{})
	client := fake.NewClientset()
	leases := client.CoordinationV1().Leases("default")
	started, ended, seen := make(chan bool), make(chan time.Time), make(chan time.Time, 1)
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "default", Name: "billing"}, Client: client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: "first"},
		},
		LeaseDuration: 6 * time.Second, RenewDeadline: 4 * time.Second, RetryPeriod: 500 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				started <- true
				<-leading.Done()
				ended <- time.Now()
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(id string) {
				if id == "second" {
					seen <- time.Now()
				}
			},
		},
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	go e.Run(ctx)
	<-started
	lease, err := leases.Get(ctx, "billing", metav1.GetOptions{})
	if err != nil {
		panic(err)
	}
	moved, second, now := time.Now(), "second", metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = &second, &now, &now
	if _, err := leases.Update(ctx, lease, metav1.UpdateOptions{}); err != nil {
		panic(err)
	}
	end := <-ended
	told := (<-seen).Sub(moved)
	fmt.Printf("the lease is another's; the first leader works on for %v\n", end.Sub(moved).Round(100*time.Millisecond))
	fmt.Printf("OnNewLeader named the other after %v\n", told.Round(100*time.Millisecond))
	if end.Sub(moved) < 3*time.Second {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go mod tidy 2> /dev/null
go list -m k8s.io/client-go
go run .
