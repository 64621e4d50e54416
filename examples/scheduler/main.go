// Scheduler runs jobs in one process of several.
//
//	scheduler -id a &  scheduler -id b &  scheduler -id c &
//	scheduler -id d -store etcd://127.0.0.1:2379
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

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/examples/internal/store"
	"github.com/understudy-ha/understudy/lock"
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
	where, id, err := store.Flags()
	if err != nil {
		return err
	}
	clients, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer clients.Close()
	go func() {
		_ = http.Serve(clients, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "I am ", id) }))
	}()
	locker, err := backends.Open(ctx, where)
	if err != nil {
		return err
	}
	defer locker.Close()
	config := coordinator.Config{
		ID: id, Address: clients.Addr().String(), Roles: []lock.Bid{{Role: "scheduler"}},
		Witness: witness.New(where),
	}
	return coordinator.Run(ctx, locker, config, schedule(id))
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
