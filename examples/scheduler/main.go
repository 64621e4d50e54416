// Scheduler runs jobs in one process of several.
//
//	export UNDERSTUDY_ROLE=scheduler UNDERSTUDY_RAFT_PEERS=a=127.0.0.1:7001,b=127.0.0.1:7002,c=127.0.0.1:7003
//	scheduler --id a --raft-dir a & scheduler --id b --raft-dir b & scheduler --id c --raft-dir c &
//	scheduler --id d --backend etcd --etcd-endpoints 127.0.0.1:2379
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
)

func main() {
	witness.Main(backends.Beside) // first: this program is its own witness
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config.Flags(pflag.CommandLine)
	pflag.Parse()
	c, err := config.Load(pflag.CommandLine)
	if err != nil {
		return err
	}
	id := c.Coordinator.ID
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer clients.Close()
	go func() {
		_ = http.Serve(clients, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "I am ", id) }))
	}()
	locker, err := c.Open(ctx)
	if err != nil {
		return err
	}
	defer locker.Close()
	c.Coordinator.Address = clients.Addr().String()
	return coordinator.Run(ctx, locker, c.Coordinator, schedule(id))
}

// schedule runs jobs while ctx stands: while this process is active.
func schedule(id string) coordinator.Work {
	return func(ctx context.Context, term coordinator.Term) error {
		for job := 1; ; job++ {
			// A real job passes the token to what it writes to, which refuses smaller ones.
			fmt.Printf("token %d: %s runs job %d\n", term.Token, id, job)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}
