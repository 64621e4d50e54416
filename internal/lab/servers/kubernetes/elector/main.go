// Command elector is a contender as it is commonly written for Kubernetes: client-go's leader election at its usual
// times, which gives the Lease back when it is stopped. It stamps that it works as deploy/testdata/work does.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"golang.org/x/sys/unix"
)

func main() {
	config, err := rest.InClusterConfig()
	must(err)
	client, err := kubernetes.NewForConfig(config)
	must(err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	id := os.Getenv("HOSTNAME")
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: meta.ObjectMeta{Name: "elector", Namespace: "default"}, Client: client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		ReleaseOnCancel: true,
		LeaseDuration:   15 * time.Second,
		RenewDeadline:   10 * time.Second,
		RetryPeriod:     2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { work(ctx, id) },
			OnStoppedLeading: func() {},
		},
	})
}

// work stamps in a file whose name begins with the second in which it began, as there is no token.
func work(ctx context.Context, id string) {
	f, err := os.Create(filepath.Join(os.Getenv("STAMPS"), fmt.Sprintf("%d.%s", time.Now().UnixMilli(), id)))
	must(err)
	for tick := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		var now unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		if err == nil {
			_, err = fmt.Fprintln(f, now.Nano())
		}
		must(err)
	}
}

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}
