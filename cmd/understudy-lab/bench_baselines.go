package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// benchBaselines are what is commonly used instead, at the ttl that its lease has; 0: it has
// none.
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
	{"client-go leaderelection, default 15s", "kubernetes", "client-go", 15 * time.Second, 60 * time.Second},
	{"client-go leaderelection, 2s", "kubernetes", "client-go", 2 * time.Second, 20 * time.Second},
	{"Postgres advisory lock", "postgres", "postgres-lock", 0, 45 * time.Second}, // and the bench's default ttl of 10 s
	{"River, default 15s", "postgres", "river", 15 * time.Second, 60 * time.Second},
}

// findBaselines finds the program that `make baselines` builds, and what each needs: a store
// with servers of the bench's own, which is measured itself, or started for them alone.
func (b *benchOptions) findBaselines(p *failover.Plan) error {
	path, err := baselineProgram()
	if err != nil {
		return err
	}
	for _, one := range benchBaselines {
		i := slices.IndexFunc(p.Backends, func(b failover.Backend) bool { return b.Name == one.store })
		like := failover.Backend{Name: one.store, Plain: true}
		var why string
		alone := one.store == "postgres" || one.store == "kubernetes"
		switch _, err := servers.Path(one.store); {
		case alone && err != nil:
			why = err.Error()
		case i < 0 && !alone:
			why = one.store + " is not measured"
		case i >= 0:
			like = p.Backends[i]
		}
		if len(like.Given) > 0 {
			why = "it is measured on servers of the bench's own"
		}
		if why != "" {
			p.LeftOut = append(p.LeftOut, one.who+" is left out: "+why)
			continue
		}
		p.Baselines = append(p.Baselines, failover.Baseline{TTL: one.ttl, Backend: failover.Backend{
			Who: one.who, Name: like.Name, Inside: like.Inside, One: like.One, Plain: true, Patience: one.patience,
			Command: func(c failover.Contender) (*exec.Cmd, error) {
				cmd := exec.Command(path, one.kind, "--id", c.ID, "--dir", c.Dir, "--ttl", c.TTL.String(),
					"--addresses", strings.Join(c.Addresses, ","), "--key", benchPrefix(c.Space))
				if one.store == "kubernetes" {
					cmd.Args = append(cmd.Args, "--kubeconfig", c.Servers.Members[0].Kubeconfig())
				}
				return cmd, nil
			},
		}})
	}
	return nil
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
