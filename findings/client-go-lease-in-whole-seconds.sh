#!/usr/bin/env bash
# Two leaders of client-go's leader election at once, with durations that it has accepted.
#
# Guess: the configuration takes time.Duration, and is refused unless LeaseDuration is greater than
# RenewDeadline. So a leader that cannot renew stops before anybody else may take over.
# What happens: the others go by the lease, which has whole seconds twice: its duration is cut off
# (3.9 s are 3), and the record that they compare tells renewals of the same second not apart, so
# that they may count from one that was made up to a second before the last. The leader itself
# counts from its last renewal and one RetryPeriod, in full. With 3.9 s and 3.8 s there are two
# leaders at once for about a second.
# For users of understudy: with client-go LeaseDuration is whole seconds, and exceeds RenewDeadline
# by RetryPeriod and more than one second; its usual 15, 10 and 2 s do. understudy's own records
# have nanoseconds, and its standbys look at the beat's revision.
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
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// contend runs a contender until ctx ends.
func contend(ctx context.Context, id string, c *fake.Clientset, leads, stopped chan<- time.Time) {
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "default", Name: "billing"}, Client: c.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		LeaseDuration: 3900 * time.Millisecond, RenewDeadline: 3800 * time.Millisecond, RetryPeriod: 50 * time.Millisecond,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { leads <- time.Now() },
			OnStoppedLeading: func() { stopped <- time.Now() },
		},
	})
	if err != nil {
		panic(err)
	}
	e.Run(ctx)
}

func main() {
	klog.SetLogger(klog.Logger{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := fake.NewClientset() // the objects alone: both contenders are the library's own
	var cut atomic.Bool
	client := func(mayBeCut bool) *fake.Clientset {
		c := fake.NewClientset()
		c.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if mayBeCut && cut.Load() {
				return true, nil, errors.New("the server is not to be reached")
			}
			return clienttesting.ObjectReaction(server.Tracker())(a)
		})
		return c
	}
	first, firstStops := make(chan time.Time, 1), make(chan time.Time, 1)
	second, secondStops := make(chan time.Time, 1), make(chan time.Time, 1)
	go contend(ctx, "first", client(true), first, firstStops)
	<-first
	go contend(ctx, "second", client(false), second, secondStops)
	time.Sleep(2 * time.Second)
	lease, err := server.CoordinationV1().Leases("default").Get(ctx, "billing", metav1.GetOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println("LeaseDuration 3.9s, RenewDeadline 3.8s; the lease says", *lease.Spec.LeaseDurationSeconds)
	compared, err := json.Marshal(resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec))
	if err != nil {
		panic(err)
	}
	fmt.Println("what is compared:", string(compared))
	cut.Store(true)
	took, stopped := <-second, <-firstStops
	fmt.Printf("the first one was cut off; the second one leads, and the first stops %s after that\n", stopped.Sub(took).Round(time.Millisecond))
	fmt.Println("two at once:", stopped.After(took))
}
GO
go mod tidy 2> /dev/null
go list -m k8s.io/client-go
out=$(go run .)
echo "$out"
for want in "the lease says 3" '"renewTime":"[^".]*Z"' "two at once: true"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: the second one leads before the first one stops"
