package backends

import (
	"context"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/lock"
)

var kubernetesRow = Store{
	Name:     "kubernetes",
	Settings: func(c *Config) any { return &c.Kubernetes },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return kubernetes.Open(ctx, c.Kubernetes) },
	Validate: func(c Config) error { return c.Kubernetes.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		if c.Kubernetes.Logger == nil {
			c.Kubernetes.Logger = log
		}
	},
	Health: func(ctx context.Context, c Config) (Health, error) {
		server, err := kubernetes.Inspect(ctx, c.Kubernetes)
		if err != nil {
			return Health{}, err
		}
		return healthOf([]string{server}, server, []string{server}), nil
	},
	Facts: func(_ context.Context, _ Config, try time.Duration) Facts {
		trip := tripToServers(try * 2 / 9)
		trip.Why = "a fifth of a try of " + try.Round(time.Millisecond).String() + " (ttl/8), with the API server's commit: a group's contenders write one Lease, and a write that meets another takes three trips; raise ttl"
		return Facts{
			Election: 1900 * time.Millisecond, Source: "the etcd below the API server: 1.1s to 1.9s were measured at its default election timeout of 1s", Cure: "lower that etcd's --election-timeout",
			Unit: "revisions", History: "removed by the API server, which has its etcd compacted every 5 minutes",
			Rights: "create on leases, and get, patch and watch on the Lease of this name", More: []Bound{trip},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.Kubernetes
		return Servers{
			Addresses: c.Hosts(), Use: func(a []string) { c.Use(a[0]) }, One: true, TLS: true,
			Prefix: &c.Lease, Dash: true, Dial: &c.Dial, Hand: func() (Hand, error) { return kubernetes.NewHand(*c) },
		}
	},
}
