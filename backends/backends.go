// Package backends opens the store that a name stands for.
package backends

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/lock"
)

// A Config names a backend and holds its settings.
type Config struct {
	Backend string // one of Names
	Raft    raft.Config
	Etcd    etcd.Config
	Consul  consul.Config
}

// Names returns the name of every backend, the default first.
func Names() []string { return []string{"raft", "etcd", "consul", "memory"} }

// Open opens the store for a process that competes in it.
func Open(ctx context.Context, c Config) (lock.Locker, error) {
	switch c.Backend {
	case "raft":
		return raft.Open(ctx, c.Raft)
	case "etcd":
		return etcd.Open(ctx, c.Etcd)
	case "consul":
		return consul.Open(ctx, c.Consul)
	case "memory":
		return memory.New().Open(), nil
	}
	return nil, unknown(c.Backend)
}

// Dial opens the store for a process that only looks, asks and raises. With
// embedded Raft it becomes no member of the group.
func Dial(ctx context.Context, c Config) (lock.Locker, error) {
	if c.Backend == "raft" {
		return raft.Dial(c.Raft)
	}
	return Open(ctx, c)
}

// Beside is Dial of a Config that was written as JSON: what witness.Main takes, where
// witness.New was given that Config.
func Beside(ctx context.Context, config json.RawMessage) (lock.Locker, error) {
	var c Config
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, err
	}
	return Dial(ctx, c)
}

// Check says what is wrong with the name of a backend.
func Check(name string) error {
	if slices.Contains(Names(), name) {
		return nil
	}
	return unknown(name)
}

func unknown(name string) error {
	return fmt.Errorf("unknown backend %q (use one of %s)", name, strings.Join(Names(), ", "))
}
