package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/internal/failover"
)

// A benchBaseline is what is commonly used instead, at the ttl that its lease has.
var benchBaselines = []struct {
	who, store, kind string
	ttl              time.Duration
	patience         time.Duration // beyond its ttl
}{
	{"etcd Election, default 60s", "etcd", "etcd-election", 60 * time.Second, 60 * time.Second},
	{"etcd Election, least 2s", "etcd", "etcd-election", 2 * time.Second, 20 * time.Second},
	{"Consul api.Lock, default 15s", "consul", "consul-lock", 15 * time.Second, 60 * time.Second},
	{"raft leadership, default 1s", "raft", "raft-leadership", time.Second, 20 * time.Second},
	{"Milvus recipe, etcd 60s", "etcd", "milvus", 60 * time.Second, 60 * time.Second},
}

// findBaselines finds the program that `make baselines` builds.
func (b *benchOptions) findBaselines() (all []failover.Baseline, err error) {
	path, err := baselineProgram()
	if err != nil {
		return nil, err
	}
	for _, one := range benchBaselines {
		all = append(all, failover.Baseline{TTL: one.ttl, Backend: failover.Backend{
			Who: one.who, Name: one.store, Inside: backends.Config{Backend: one.store}.Row().Inside, Patience: one.patience,
			Command: func(c failover.Contender) (*exec.Cmd, error) {
				return exec.Command(path, one.kind, "--id", c.ID, "--dir", c.Dir, "--ttl", c.TTL.String(),
					"--addresses", strings.Join(c.Addresses, ","), "--key", benchPrefix(one.who)), nil
			},
		}})
	}
	return all, nil
}

// baselineProgram is what the variable names, or stands in bin/, or beside this
// program.
func baselineProgram() (string, error) {
	candidates := []string{os.Getenv("UNDERSTUDY_BASELINE_PROGRAM"), "bin/baselines"}
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), "baselines"))
	}
	for _, c := range candidates {
		if info, err := os.Stat(c); c != "" && err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return filepath.Abs(c)
		}
	}
	return "", errors.New("baselines: bin/baselines: no such program: run `make baselines` once, or set UNDERSTUDY_BASELINE_PROGRAM")
}
