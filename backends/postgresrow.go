package backends

import (
	"context"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/lock"
)

var postgresRow = Store{
	Name:     "postgres",
	Settings: func(c *Config) any { return &c.Postgres },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return postgres.Open(ctx, c.Postgres) },
	Validate: func(c Config) error { return c.Postgres.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		if c.Postgres.Logger == nil {
			c.Postgres.Logger = log
		}
	},
	Health: func(ctx context.Context, c Config) (Health, error) {
		p, err := postgres.Inspect(ctx, c.Postgres)
		if err != nil {
			return Health{}, err
		}
		h := healthOf([]string{p.Address}, p.Address, []string{p.Address})
		if p.ReadOnly {
			h.Refuses = "read-only, so every write is refused: default_transaction_read_only is on, for the server, the database or the user"
		}
		return h, nil
	},
	Facts: func(_ context.Context, _ Config, try time.Duration) Facts {
		trip := tripToServers(try / 3)
		trip.Why = "three tenths of a try of " + try.Round(time.Millisecond).String() + " (ttl/8), with the commit: a group's contenders write one row, and a write that meets another takes two trips; raise ttl"
		return Facts{
			Unit: "row versions", History: "removed by autovacuum, unless a transaction stays open",
			Rights: "select, insert and update on the table, usage on its sequence",
			More: []Bound{trip, {
				What: "promotion of a replica", Bound: "costs a ttl", Why: "silence is counted anew, because beats may be lost; a term may be lost too, unless replication is synchronous (docs/postgres.md)",
			}},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.Postgres
		return Servers{
			Addresses: c.Hosts(), Use: func(a []string) { c.Use(a...) }, TLS: c.Secure(),
			Prefix: &c.Group, Dial: &c.Dial, Hand: func() (Hand, error) { return postgres.NewHand(*c) },
		}
	},
}
