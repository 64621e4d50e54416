package backends

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/lock"
)

// table is every store, the default first.
var table = []Store{raftRow.complete(), etcdRow.complete(), consulRow.complete(), postgresRow.complete(), kubernetesRow.complete(), natsRow.complete(), s3Row.complete(), memoryRow.complete()}

var raftRow = Store{
	Name:         "raft",
	Settings:     func(c *Config) any { return &c.Raft },
	Open:         func(ctx context.Context, c Config) (lock.Locker, error) { return raft.Open(ctx, c.Raft) },
	Dial:         func(_ context.Context, c Config) (lock.Locker, error) { return raft.Dial(c.Raft) },
	Validate:     func(c Config) error { return c.Raft.Validate() },
	ValidateDial: func(c Config) error { return c.Raft.ValidatePeers() },
	Join: func(c *Config, id string, ttl time.Duration, log *slog.Logger) {
		c.Raft.ID = cmp.Or(c.Raft.ID, id)
		c.Raft.Logger = cmp.Or(c.Raft.Logger, log)
		if c.Raft.Timing == 0 && ttl > 0 {
			c.Raft.Timing = raft.TimingFor(ttl)
		}
	},
	Alone: func(c Config) string {
		if len(c.Raft.Peers) == 1 {
			return "no other peer is left to ask when this one is dead"
		}
		return ""
	},
	Differs: func(ctx context.Context, c Config) string {
		if len(c.Raft.Peers) == 0 {
			return ""
		}
		g, _ := raft.Inspect(ctx, c.Raft) // without a quorum, it still returns what it knows
		return warnings(g.Lost(), voters(g, c).Weak(), g.Differs(c.Raft.Peers))
	},
	Health:        raftHealth,
	Facts:         raftFacts,
	ValidateFacts: func(c Config) error { return c.Raft.ValidateTiming() },
	Fits:          raftFits,
	Inside:        true,
	Values:        true,
}

// raftFits refuses a timing with which every election takes longer than the ttl.
func raftFits(c Config, ttl, outage time.Duration) (warning string, err error) {
	timing, election := c.Raft.Timing, c.Raft.Election()
	switch {
	case timing > ttl:
		return "", lock.InFields(fmt.Errorf("%v must be at most ttl = %v, or every election costs the active its role; leave it out for %v", timing, ttl, raft.TimingFor(ttl)), "Timing")
	case election < outage || len(c.Raft.Peers) < 2:
		return "", nil
	}
	return fmt.Sprintf("the active stops when the node dies that leads the Raft group: an election takes about %v, and %v is ridden out; raise ttl, or lower raft.timing on every node",
		election.Round(time.Millisecond), outage.Round(time.Millisecond)), nil
}

// voters is the group as it is, or as the settings have it where it does not answer.
func voters(g raft.Group, c Config) raft.Group {
	if len(g.Voters) == 0 {
		return raft.GroupOf(c.Raft.Peers)
	}
	return g
}

// warnings joins those that are not empty.
func warnings(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(text string) bool { return text == "" }), "; ")
}

func raftFacts(ctx context.Context, c Config, try time.Duration) Facts {
	timing := c.Raft.Timing
	f := Facts{
		Election: c.Raft.Election(), Source: "2.3 times the timing of " + timing.String() + ", measured at the median", Cure: "lower raft.timing",
		Takeover: 3 * timing, Unit: "entries", History: "cut off after snapshots",
	}
	limit, why := raft.MaxTrip(timing), "half of Raft's timing of "+timing.String()+": beyond it elections fail; raise raft.timing on every node"
	if most := try * 9 / 20; most < limit { // a beat goes to the leader, and from there to the others
		limit, why = most, "nine tenths of a try of "+try.String()+", in which a beat takes two and a write to disk: beyond it no beat of one that follows Raft's leader is acknowledged; raise ttl"
	}
	trip := Bound{"round trip between peers", "at most " + limit.String(), why, limit}
	if len(c.Raft.Peers) == 0 {
		f.More = []Bound{trip}
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, max(2*time.Second, 4*try)) // connecting takes trips, too
	defer cancel()
	count := Bound{What: "voters"}
	g, err := raft.Inspect(ctx, c.Raft)
	if len(g.Voters) == 0 {
		count.Bound, count.Why = "unknown", fmt.Sprintf("the group does not answer: %v", err)
	} else {
		count.Bound = fmt.Sprintf("%d of %d must live", g.Quorum(), len(g.Voters))
		count.Why = cmp.Or(g.Differs(c.Raft.Peers), "as the list of peers says: "+strings.Join(g.Voters, ", "))
	}
	if text := voters(g, c).Weak(); text != "" {
		count.Bound, count.Why = count.Bound+": NOT WISE", warnings(text, count.Why)
	}
	if text := g.Lost(); text != "" {
		count.Bound, count.Why = "LOST", text
	}
	if g.Trip > 0 {
		trip.Why = fmt.Sprintf("%s was measured; %s", g.Trip.Round(time.Microsecond), trip.Why)
	}
	if g.Trip > limit {
		trip.Bound += ": TOO FAR"
	}
	f.More = []Bound{trip, count}
	if dead := c.Raft.DeadAfter; dead > 0 {
		f.More = append(f.More, Bound{"silent voter", "taken out after " + dead.String(), "raft.deadAfter; by the leader, and only while those that are left are a majority that lives", dead})
	}
	return f
}

var etcdRow = Store{
	Name:     "etcd",
	Settings: func(c *Config) any { return &c.Etcd },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return etcd.Open(ctx, c.Etcd) },
	Validate: func(c Config) error { return c.Etcd.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		c.Etcd.Logger = cmp.Or(c.Etcd.Logger, log)
	},
	Health: etcdHealth,
	Values: true,
	Facts: func(ctx context.Context, c Config, try time.Duration) Facts {
		return Facts{
			Election: 1900 * time.Millisecond, Source: "1.1s to 1.9s were measured at etcd's default election timeout of 1s", Cure: "lower etcd's --election-timeout",
			Unit: "revisions", History: "start etcd with --auto-compaction-retention=1h: it has none by itself, and at its quota (2 GB) every write fails",
			Rights: "readwrite on the prefix " + prefixOf(c.Etcd.Prefix),
			More:   []Bound{tripToServers(try).measured(ctx, try, len(c.Etcd.Endpoints) > 0, func() (lock.Locker, error) { return etcd.Open(ctx, c.Etcd) })},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.Etcd
		return Servers{
			Addresses: c.Endpoints, Use: func(a []string) { c.Endpoints = a }, TLS: c.CAFile+c.CertFile != "",
			Prefix: &c.Prefix, Dial: &c.Dial, Hand: func() (Hand, error) { return etcd.Hand(*c) },
		}
	},
}

var consulRow = Store{
	Name:     "consul",
	Settings: func(c *Config) any { return &c.Consul },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return consul.Open(ctx, c.Consul) },
	Validate: func(c Config) error { return c.Consul.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		c.Consul.Logger = cmp.Or(c.Consul.Logger, log)
	},
	Health: consulHealth,
	Values: true,
	Facts: func(ctx context.Context, c Config, try time.Duration) Facts {
		n := c.Consul.RaftMultiplier
		return Facts{
			Election: time.Duration(n) * 3400 * time.Millisecond,
			Source:   fmt.Sprintf("3.4s times Consul's raft_multiplier of %d, measured; consul.raftMultiplier says yours", n),
			Cure:     "set performance.raft_multiplier = 1 on the servers",
			Unit:     "entries", History: "cut off by Consul's own snapshots",
			Rights: fmt.Sprintf("key_prefix %q and session_prefix \"\", both with policy = \"write\"", prefixOf(c.Consul.Prefix)),
			More:   []Bound{tripToServers(try).measured(ctx, try, c.Consul.Address != "", func() (lock.Locker, error) { return consul.Open(ctx, c.Consul) })},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.Consul
		s := Servers{
			Use: func(a []string) { c.Address = a[0] }, One: true, TLS: c.CAFile+c.CertFile != "",
			Prefix: &c.Prefix, Dial: &c.Dial, Hand: func() (Hand, error) { return consul.Hand(*c) },
		}
		if c.Address != "" {
			s.Addresses = []string{c.Address}
		}
		return s
	},
	ValidateFacts: func(c Config) error {
		if n := c.Consul.RaftMultiplier; n < 1 || n > 10 {
			return lock.InFields(fmt.Errorf("%d must be from 1 to 10", n), "RaftMultiplier")
		}
		return nil
	},
}

// prefixOf is the prefix of a kv.Locker's keys.
func prefixOf(given string) string {
	return strings.TrimSuffix(cmp.Or(given, kv.DefaultPrefix), "/") + "/"
}

func tripToServers(try time.Duration) Bound {
	most := (try * 9 / 10).Round(time.Millisecond)
	why := "nine tenths of a try of " + try.Round(time.Millisecond).String() + " (ttl/8), with the store's commit: beyond it no beat is acknowledged; raise ttl"
	return Bound{"round trip to the store", "at most " + most.String(), why, most}
}

// measured says how far away the servers that are given really are, and whether that is too far. A read on a connection
// that stands is a round trip.
func (b Bound) measured(ctx context.Context, try time.Duration, given bool, open func() (lock.Locker, error)) Bound {
	if !given {
		return b
	}
	ctx, cancel := context.WithTimeout(ctx, max(2*time.Second, 8*try)) // connecting takes trips, too
	defer cancel()
	trip, err := tripTo(ctx, open)
	if err != nil {
		b.Why = fmt.Sprintf("it was not measured (%v); %s", err, b.Why)
		return b
	}
	b.Why = fmt.Sprintf("%s was measured; %s", trip.Round(time.Microsecond), b.Why)
	if trip > b.Most {
		b.Bound += ": TOO FAR"
	}
	return b
}

// tripTo is the shortest of some reads.
func tripTo(ctx context.Context, open func() (lock.Locker, error)) (least time.Duration, err error) {
	l, err := open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		began := time.Now()
		for _, err := range l.Watch(ctx, "plan") {
			if err != nil {
				return 0, err
			}
			break
		}
		if took := time.Since(began); least == 0 || took < least {
			least = took
		}
	}
	return least, context.Cause(ctx)
}

var memoryRow = Store{
	Name:     "memory",
	Settings: func(*Config) any { return new(struct{}) },
	Open:     func(context.Context, Config) (lock.Locker, error) { return memory.New().Open(), nil },
	ValidateDial: func(Config) error {
		return errors.New(`backend "memory": lives in the process that runs it, nobody else can ask it; use another`)
	},
	Alone: func(Config) string { return "the store dies with this process" },
	Facts: func(context.Context, Config, time.Duration) Facts {
		return Facts{Unit: "changes", History: "kept nowhere"}
	},
	Values: true,
}
