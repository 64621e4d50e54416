package backends

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/backends/s3"
	"github.com/understudy-ha/understudy/lock"
)

var s3Row = Store{
	Name:     "s3",
	Settings: func(c *Config) any { return &c.S3 },
	Open:     func(ctx context.Context, c Config) (lock.Locker, error) { return s3.Open(ctx, c.S3) },
	Dial:     func(ctx context.Context, c Config) (lock.Locker, error) { return s3.Dial(ctx, c.S3) },
	Validate: func(c Config) error { return c.S3.Validate() },
	Join: func(c *Config, _ string, _ time.Duration, log *slog.Logger) {
		if c.S3.Logger == nil {
			c.S3.Logger = log
		}
	},
	Health: func(ctx context.Context, c Config) (Health, error) {
		server, err := s3.Inspect(ctx, c.S3)
		all := []string{server}
		if err == nil {
			return healthOf(all, server, all), nil
		}
		return Health{}, err
	},
	Facts: func(_ context.Context, _ Config, try time.Duration) Facts {
		trip := tripToServers(try / 6)
		trip.Why = "three twentieths of a try of " + try.Round(time.Millisecond).String() + " (ttl/8), with the server's commit: a group's contenders write one object, and a write that meets another takes three trips; raise ttl"
		return Facts{
			Unit: "versions", History: "kept where the bucket keeps versions: give it a lifecycle rule that expires them; elsewhere nothing is left",
			Rights: "s3:GetObject and s3:PutObject on the object and the one beside it, s3:ListBucket on the bucket",
			More:   []Bound{trip, s3News(8 * try), s3Price(8 * try)},
		}
	},
	Servers: func(all *Config) Servers {
		c := &all.S3
		return Servers{
			Addresses: c.Hosts(), Use: func(a []string) { c.Use(a[0]) }, One: true, TLS: c.Secure(),
			Prefix: &c.Object, Dash: true, Dial: &c.Dial, Hand: func() (Hand, error) { return s3.NewHand(*c) },
		}
	},
}

func s3News(ttl time.Duration) Bound {
	most := ttl / s3.ReadsPerTTL
	return Bound{"news of another's write", "after " + most.String() + " at most", "S3 sends no news: the object is read every ttl/20; a takeover after a clean stop or a crash takes that much longer, and a handoff twice that, as the active has to see the wish first", most}
}

// What a request costs, in dollars: the list price of S3 Standard in us-east-1, see https://aws.amazon.com/s3/pricing.
const (
	putPrice = 0.005 / 1000
	getPrice = 0.0004 / 1000
)

// s3Price is what an active's requests of a month cost while nothing happens. A standby writes less.
func s3Price(ttl time.Duration) Bound {
	ttls := float64(30*24*time.Hour) / float64(ttl)
	puts, gets := ttls*4, ttls*s3.ReadsPerTTL
	return Bound{
		What: "requests of each contender", Bound: fmt.Sprintf("at most %.0f PUT and %.0f GET in 30 days", puts, gets),
		Why: fmt.Sprintf("about $%.2f, at $0.005 for 1,000 PUT and $0.0004 for 1,000 GET (S3 Standard in us-east-1; see aws.amazon.com/s3/pricing for yours); a standby costs about half; a write that meets another's is one more; raise ttl", puts*putPrice+gets*getPrice),
	}
}
