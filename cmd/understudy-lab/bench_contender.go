package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/lock"
)

// newBenchContender is one of the bench's processes: an embedder whose work writes
// stamps on standard output.
func newBenchContender() *cobra.Command {
	cmd := &cobra.Command{Use: "bench-contender", Hidden: true, Args: cobra.NoArgs}
	o := newOptions(cmd.Flags(), cli.NodeKeys(), cli.TimeKeys)
	roles := cmd.Flags().Int("roles", 0, "")
	witnessed := cmd.Flags().Bool("witness", false, "")
	o.Collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		err = o.Read(cmd)
		if err := errors.Join(err, o.ForVoter()); err != nil {
			return err
		}
		c := o.Coordinator
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
		c.Roles = []lock.Bid{{Role: failover.Role}}
		for i := range *roles {
			c.Roles = append(c.Roles[:i], lock.Bid{Role: fmt.Sprintf("%s-%d", failover.Role, i+1)})
		}
		if *witnessed {
			c.Witness = witness.New(o.Store)
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
		defer stop()
		locker, err := o.Open(ctx)
		if err != nil {
			if ctx.Err() != nil && !errors.Is(err, lock.ErrPermanent) {
				return nil // it was told to stop before it had begun
			}
			return err
		}
		return errors.Join(failover.Contend(ctx, locker, c, *roles == 0, os.Stdout), locker.Close())
	}
	return cmd
}

// benchFlags are the flags by which a contender reaches the store.
func (o *options) benchFlags(backend string, c failover.Contender) []string {
	args := []string{
		"bench-contender", "--backend", backend, "--id", c.ID, "--ttl", c.TTL.String(),
		"--roles", fmt.Sprint(c.Roles), fmt.Sprintf("--witness=%t", c.Witness),
	}
	switch backend {
	case "raft":
		peers := make([]string, len(c.Addresses))
		for i, id := range failover.IDs(len(c.Addresses)) {
			peers[i] = id + "=" + c.Addresses[i]
		}
		args = append(args, "--raft-dir", c.Dir, "--raft-peers", strings.Join(peers, ","))
	case "etcd":
		args = append(args, "--etcd-endpoints", strings.Join(c.Addresses, ","), "--etcd-prefix", o.benchPrefix(c.Space),
			"--etcd-username", o.Store.Etcd.Username, "--etcd-password-file", o.Store.Etcd.PasswordFile,
			"--etcd-ca-file", o.Store.Etcd.CAFile, "--etcd-cert-file", o.Store.Etcd.CertFile, "--etcd-key-file", o.Store.Etcd.KeyFile)
	case "consul":
		args = append(args, "--consul-address", strings.Join(c.Addresses, ""), "--consul-prefix", o.benchPrefix(c.Space),
			"--consul-datacenter", o.Store.Consul.Datacenter, "--consul-token-file", o.Store.Consul.TokenFile,
			"--consul-ca-file", o.Store.Consul.CAFile, "--consul-cert-file", o.Store.Consul.CertFile, "--consul-key-file", o.Store.Consul.KeyFile, "--consul-server-name", o.Store.Consul.ServerName)
	}
	return args
}

// benchPrefix keeps a bench's keys apart from everybody else's, its own others' too.
func (o *options) benchPrefix(space string) string {
	return fmt.Sprintf("understudy-bench/%d/%s/", os.Getpid(), space)
}
