// Follower is a client of scheduler: it asks whoever is active, and competes for nothing.
//
//	follower --role scheduler --backend etcd --etcd-endpoints 127.0.0.1:2379
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/config"
	"github.com/understudy-ha/understudy/coordinator"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config.Flags(pflag.CommandLine)
	pflag.Parse()
	c, err := config.Read(config.Source{Flags: pflag.CommandLine})
	if err := errors.Join(err, c.ForClient()); err != nil {
		return err
	}
	locker, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	defer locker.Close()
	for term, err := range coordinator.Observe(ctx, locker, c.Role()) {
		switch {
		case err != nil:
			fmt.Printf("last known: %s: %v\n", term.Holder.ID, err)
		case term.Vacant():
			fmt.Println("nobody is active")
		default:
			fmt.Printf("token %d: %s is active: %s\n", term.Token, term.Holder.ID, ask(ctx, term.Holder.Address))
		}
	}
	return nil
}

// ask asks the active. That it was one when Observe heard of it is not a promise.
func ask(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, http.NoBody)
	if err != nil {
		return err.Error()
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
