// Package backends is the table of stores: everything that depends on a store's name is in its
// row. To bring a store of your own, add a row: see [Add].
package backends

import (
	"context"
	"encoding/json"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/kubernetes"
	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/backends/s3"
	"github.com/understudy-ha/understudy/lock"
)

// A Config names a store and holds its settings.
type Config struct {
	Backend    string // one of Names
	Raft       raft.Config
	Etcd       etcd.Config
	Consul     consul.Config
	Postgres   postgres.Config
	Kubernetes kubernetes.Config
	NATS       nats.Config
	S3         s3.Config
	Added      map[string]any `json:",omitempty"` // the settings of stores added by Add, by name: see SettingsOf
}

// Open opens the store for a process that competes in it.
func Open(ctx context.Context, c Config) (lock.Locker, error) { return c.Row().Open(ctx, c) }

// Dial opens the store for a process that only looks, asks and raises. With embedded Raft it does
// not become a member of the group.
func Dial(ctx context.Context, c Config) (lock.Locker, error) { return c.Row().Dial(ctx, c) }

// Beside is Dial of a Config written as JSON. Pass it to witness.Main if witness.New was given
// that Config.
func Beside(ctx context.Context, config json.RawMessage) (lock.Locker, error) {
	var c Config
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	return Dial(ctx, c)
}
