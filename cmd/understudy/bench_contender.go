package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/conformance/failover"
	"github.com/understudy-ha/understudy/coordinator/witness"
	"github.com/understudy-ha/understudy/lock"
)

// newBenchContender is one of the bench's processes: an embedder whose work writes
// stamps on standard output.
func newBenchContender() *cobra.Command {
	cmd := &cobra.Command{Use: "bench-contender", Hidden: true, Args: cobra.NoArgs}
	o := newOptions(cmd.Flags())
	o.nodeFlags()
	o.timeFlags()
	roles := cmd.Flags().Int("roles", 0, "")
	witnessed := cmd.Flags().Bool("witness", false, "")
	o.collect()
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		o.logLevel, o.role, o.activeStandby = "error", failover.Role, true
		if err := o.finishNode(cmd.ErrOrStderr()); err != nil {
			return err
		}
		for i := range *roles {
			o.config.Roles = append(o.config.Roles[:i], lock.Bid{Role: fmt.Sprintf("%s-%d", failover.Role, i+1)})
		}
		if *witnessed {
			o.config.Witness = witness.New(o.open())
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM)
		defer stop()
		locker, err := backends.Open(ctx, o.open())
		if err != nil {
			return o.stopped(ctx, err)
		}
		return errors.Join(failover.Contend(ctx, locker, o.config, *roles == 0, os.Stdout), locker.Close())
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
			"--etcd-username", o.etcd.Username, "--etcd-password-file", o.etcd.PasswordFile,
			"--etcd-ca-file", o.etcd.CAFile, "--etcd-cert-file", o.etcd.CertFile, "--etcd-key-file", o.etcd.KeyFile)
	case "consul":
		args = append(args, "--consul-address", strings.Join(c.Addresses, ""), "--consul-prefix", o.benchPrefix(c.Space),
			"--consul-datacenter", o.consul.Datacenter, "--consul-token-file", o.consul.TokenFile,
			"--consul-ca-file", o.consul.CAFile, "--consul-cert-file", o.consul.CertFile, "--consul-key-file", o.consul.KeyFile)
	}
	return args
}

// benchPrefix keeps a bench's keys apart from everybody else's, its own others' too.
func (o *options) benchPrefix(space string) string {
	return fmt.Sprintf("understudy-bench/%d/%s/", os.Getpid(), space)
}
