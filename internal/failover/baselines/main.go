// Command baselines is a contender as it is commonly written without understudy. It
// writes the same lines as failover.Contend does, for the same moments.
//
//	baselines KIND --id ID --addresses A,B,C --ttl 60s --key PREFIX --dir DIR --kubeconfig FILE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A contender is what the flags say.
type contender struct {
	id, key, dir, kubeconfig string
	addresses                []string
	ttl                      time.Duration
}

// kinds are the baselines. Each takes part until ctx is done.
var kinds = map[string]func(ctx context.Context, c contender) error{
	"etcd-election": etcdElection, "milvus": milvus, "consul-lock": consulLock, "raft-leadership": raftLeadership,
	"postgres-lock": postgresLock, "river": riverLeader, "client-go": clientGo,
}

func main() {
	set := flag.NewFlagSet("baselines", flag.ExitOnError)
	var c contender
	var addresses string
	set.StringVar(&c.id, "id", "", "")
	set.StringVar(&c.key, "key", "", "")
	set.StringVar(&c.dir, "dir", "", "")
	set.StringVar(&c.kubeconfig, "kubeconfig", "", "")
	set.StringVar(&addresses, "addresses", "", "")
	set.DurationVar(&c.ttl, "ttl", time.Minute, "")
	if len(os.Args) < 2 || kinds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "baselines: say which: "+strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		os.Exit(64)
	}
	_ = set.Parse(os.Args[2:]) // it exits by itself
	c.addresses = strings.Split(addresses, ",")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := kinds[os.Args[1]](ctx, c); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "baselines:", err)
		os.Exit(1)
	}
}

// now is CLOCK_MONOTONIC.
func now() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // Linux has had it always
	return t.Nano()
}

// say writes a line.
func say(what string, token uint64) { sayAt(what, token, now()) }

func sayAt(what string, token uint64, at int64) { fmt.Printf("%s %d %d\n", what, token, at) }

// work stamps until ctx ends: the recipes have no other word for being active. As with
// failover.Contend, a stamp's time is read before the belief is checked.
func work(ctx context.Context, token uint64) {
	say("start", token)
	defer say("end", token)
	tick := time.NewTicker(5 * time.Millisecond) // failover.StampEvery
	defer tick.Stop()
	for first := true; ctx.Err() == nil; first = false {
		if at := now(); ctx.Err() == nil {
			sayAt("stamp", token, at)
		}
		if first {
			say("success", token)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// workUntil works until ctx is done, which is nil, or the lock is lost.
func workUntil(ctx context.Context, lost <-chan struct{}, token uint64) error {
	active, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		select {
		case <-lost:
		case <-active.Done():
		}
	}()
	work(active, token)
	if ctx.Err() == nil {
		return errors.New("the lock is lost")
	}
	return nil
}
