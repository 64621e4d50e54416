package main

import (
	"context"
	"errors"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// clientGoDefaults is the duration of a lease that client-go's components have by default.
const clientGoDefaults = 15 * time.Second

// clientGo is leaderelection as its example has it. A lease of 15 s has the other two defaults, 10 s and 2 s; a
// shorter one is renewed for three quarters of it, and tried every eighth.
func clientGo(ctx context.Context, c contender) error {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return err
	}
	config.Host = "https://" + c.addresses[0]
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	renew, retry := c.ttl*3/4, c.ttl/8
	if c.ttl == clientGoDefaults {
		renew, retry = 10*time.Second, 2*time.Second
	}
	// The work has ended before the lease is released: what ends the work does not end the election.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	leads, worked := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: oneName(c.key), Namespace: metav1.NamespaceDefault},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.id},
		},
		LeaseDuration: c.ttl, RenewDeadline: renew, RetryPeriod: retry, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(leads)
				token := uint64(now()) // the lease has none, and the bench must know who came later
				say("granted", token)
				worked <- workUntil(ctx, leading.Done(), token)
				stop()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	say("standby", 0)
	context.AfterFunc(ctx, func() {
		select {
		case <-leads: // the work ends by ctx, and then the election
		default:
			stop()
		}
	})
	elector.Run(run)
	select {
	case <-leads:
		return <-worked
	default:
		return errors.New("the election ended")
	}
}

// oneName is a key as a name without slashes.
func oneName(key string) string { return strings.ReplaceAll(strings.Trim(key, "/"), "/", "-") }
