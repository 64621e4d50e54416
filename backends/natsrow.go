package backends

import (
	"context"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/lock"
)

var natsRow = Store{
	Name:     "nats",
	Settings: func(c *Config) any { return &c.NATS },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return nats.Open(ctx, c.NATS) },
	Validate: func(c Config) error { return c.NATS.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		if c.NATS.Logger == nil {
			c.NATS.Logger = log
		}
	},
	Health: func(ctx context.Context, c Config) (Health, error) {
		replicas, leader, well, err := nats.Inspect(ctx, c.NATS)
		if err != nil {
			return Health{}, err
		}
		return healthOf(replicas, leader, well), nil
	},
	Facts: func(_ context.Context, _ Config, try time.Duration) Facts {
		trip := tripToServers(try / 3)
		trip.Why = "three tenths of a try of " + try.Round(time.Millisecond).String() + " (ttl/8), with the commit: a group's contenders write one key, and a write that meets another takes two trips; raise ttl"
		return Facts{
			Election: natsElection, Source: "NATS waits 4s to 9s without the leader of a stream before it elects another", Cure: "shut servers down cleanly: then the leader steps down first",
			Unit: "revisions", History: "one value is kept",
			Rights: "on the bucket's stream STREAM.INFO, STREAM.MSG.GET and CONSUMER.CREATE, and publish on its keys", More: []Bound{trip, {
				What: "power lost by all servers at once", Bound: "costs what was acknowledged last", Why: "NATS syncs its files every two minutes unless sync_interval is always, which no client can see (docs/nats.md)",
			}},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.NATS
		return Servers{
			Addresses: c.Hosts(), Use: func(a []string) { c.Use(a...) }, TLS: c.Secure(),
			Prefix: &c.Group, Dial: &c.Dial, Hand: func() (Hand, error) { return nats.NewHand(*c) },
		}
	},
}

// natsElection is the longest that a stream whose leader died goes without another.
const natsElection = 9 * time.Second
