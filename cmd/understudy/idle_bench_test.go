package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab/stores"
	"github.com/understudy-ha/understudy/lock"
)

// mostIdle is how many requests per second a process may make while nothing happens,
// at a ttl of 10 s, whatever the number of its roles.
const mostIdle = 2

// counters start a store and say how many requests it has had: as the server of etcd
// counts them, through a proxy before Consul, and as entries of Raft's log.
var counters = map[string]func(b *testing.B) (c backends.Config, requests func() float64){
	"etcd": func(b *testing.B) (backends.Config, func() float64) {
		c := stores.Start(b, "etcd", b.TempDir()).Config
		return c, func() float64 { return etcdRequests(b, c.Etcd.Endpoints[0]) }
	},
	"consul": func(b *testing.B) (backends.Config, func() float64) {
		c := stores.Start(b, "consul", b.TempDir()).Config
		agent := &url.URL{Scheme: "http", Host: c.Consul.Address}
		var n atomic.Int64
		forward := httputil.NewSingleHostReverseProxy(agent)
		forward.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		forward.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			n.Add(1)
			forward.ServeHTTP(w, q)
		}))
		b.Cleanup(proxy.Close)
		c.Consul.Address = strings.TrimPrefix(proxy.URL, "http://")
		return c, func() float64 { return float64(n.Load()) }
	},
	"raft": func(b *testing.B) (backends.Config, func() float64) {
		c := stores.Start(b, "raft", b.TempDir()).Config
		c.Raft.ID, c.Raft.Dir = "a", filepath.Join(b.TempDir(), "a")
		outside := raft.Config{Peers: c.Raft.Peers}
		return c, func() float64 {
			l, err := raft.Dial(outside)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			for st, err := range l.Watch(b.Context(), "r1") {
				if err == nil {
					return float64(st.Term.Holder.Beat)
				}
			}
			return 0
		}
	},
}

// etcdRequests is every message that a client has sent, those of watches too.
func etcdRequests(b *testing.B, endpoint string) (n float64) {
	r, err := http.Get("http://" + endpoint + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "grpc_server_msg_received_total{") && !strings.Contains(line, "Maintenance") {
			v, err := strconv.ParseFloat(strings.Fields(line)[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			n += v
		}
	}
	return n
}

// BenchmarkIdleRoles counts what a process asks of its store while nothing happens: the
// mean of one that is active in many roles and, but with Raft, of one that stands by
// in all of them. It fails where that is more than mostIdle per second.
func BenchmarkIdleRoles(b *testing.B) {
	for name, start := range counters {
		for _, roles := range []int{1, 1000} {
			b.Run(fmt.Sprintf("%s/roles=%d", name, roles), func(b *testing.B) { benchmarkIdleRoles(b, start, name, roles) })
		}
	}
}

func benchmarkIdleRoles(b *testing.B, start func(*testing.B) (backends.Config, func() float64), name string, roles int) {
	where, requests := start(b)
	where.Backend = name
	processes := 1.0
	settle(b, where, "a", roles)
	if name != "raft" {
		processes++
		settle(b, where, "b", roles)
	}
	time.Sleep(10 * time.Second) // let what the start caused pass
	first, began := requests(), time.Now()
	time.Sleep(20 * time.Second) // the window that is measured
	rate := (requests() - first) / time.Since(began).Seconds() / processes
	b.ReportMetric(rate, "requests/s")
	b.ReportMetric(0, "ns/op")
	if rate > mostIdle {
		b.Errorf("%.2f requests per second, the limit is %d", rate, mostIdle)
	}
}

// settle runs a contender until the benchmark ends, and returns when it is active in all
// roles, or stands by in the last.
func settle(b *testing.B, where backends.Config, id string, roles int) {
	ctx, stop := context.WithCancel(b.Context())
	l, err := backends.Open(ctx, where)
	if err != nil {
		b.Fatal(err)
	}
	config := coordinator.Config{ID: id, TTL: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for i := range roles {
		config.Roles = append(config.Roles, lock.Bid{Role: fmt.Sprint("r", i+1)})
	}
	var works atomic.Int64
	done := make(chan error, 1)
	go func() {
		done <- coordinator.Run(ctx, l, config, func(ctx context.Context, _ coordinator.Term) error {
			works.Add(1)
			<-ctx.Done()
			return nil
		})
	}()
	b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		_ = l.Close()
	})
	patience, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for st := range l.Watch(patience, config.Roles[roles-1].Role) {
		standby := slices.ContainsFunc(st.Line, func(m lock.Member) bool { return m.ID == id })
		if int(works.Load()) == roles || standby && !st.Term.Vacant() {
			return
		}
	}
	b.Fatalf("%s: active in %d of %d roles, and no standby", id, works.Load(), roles)
}
