// Rootcoord is a root coordinator: which collections there are, and their partitions, is in the
// replicated log of package state. docs/state.md shows how it is used.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// A server answers clients, whether or not its process is active.
type server struct {
	log    *state.Log[*meta]
	term   atomic.Pointer[coordinator.Term] // the last one here: whether it stands the log knows
	active atomic.Pointer[string]           // where the active was when it was last heard of
}

func main() {
	witness.Main(backends.Beside) // first: this program is its own witness
	listen := pflag.String("listen", "127.0.0.1:0", "where clients reach this process")
	config.Flags(pflag.CommandLine)
	pflag.Parse()
	if err := run(*listen); err != nil {
		log.Fatal(err)
	}
}

func run(listen string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	c, err := config.Load(pflag.CommandLine)
	if err != nil {
		return err
	}
	if row := c.Store.Row(); !row.Values {
		return fmt.Errorf("backend: %s keeps no values, and the log is made of them: use one of %s", row.Name, lock.ValueStores)
	}
	clients, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer clients.Close()
	locker, err := c.Open(ctx)
	if err != nil {
		return err
	}
	defer locker.Close()
	s := &server{}
	if s.log, err = state.Open(ctx, locker, c.Role(), newMeta, state.Options{}); err != nil {
		return err
	}
	s.term.Store(&coordinator.Term{Role: c.Role()}) // nobody's
	s.active.Store(new(string))
	go func() {
		for term, err := range coordinator.Observe(ctx, locker, c.Role()) {
			if err == nil {
				s.active.Store(&term.Holder.Address)
			}
		}
	}()
	go func() { _ = http.Serve(clients, s.handler()) }()
	c.Coordinator.Address = clients.Addr().String()
	c.Coordinator.Standby, c.Coordinator.Ready, c.Coordinator.Lag = s.log.Standby, s.log.Ready, s.log.Lag
	return coordinator.Run(ctx, locker, c.Coordinator, s.log.Work(s.work))
}

// work lets clients append until the term is over.
func (s *server) work(ctx context.Context, t coordinator.Term) error {
	s.term.Store(&t)
	<-ctx.Done()
	return nil
}
