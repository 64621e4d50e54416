package main

import (
	"context"
	"maps"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// someCases need every kind of fault that the command can make, and some that it
// cannot.
const someCases = "^(AcquireFree|AcquireReplyLost|TokenRestart|TokenRoleDeleted|WatchCompacted|RunNetworkCut|RunSessionDeleted|RunLeaseRevoked|RunRoleDeleted|RunForeignValue)$"

// serve starts a server of one member, and returns the flags that name it.
func serve(t *testing.T, backend string) (*servers.Cluster, []string) {
	t.Helper()
	s := stores.Start(t, backend, t.TempDir())
	return s.Cluster, s.Flags()
}

// conform runs the command line and returns what it printed.
func conform(t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	code := execute(t.Context(), append([]string{"conformance"}, args...), &out, &errs)
	if code != want {
		t.Errorf("%v: exit code %d, want %d\n%s%s", args, code, want, out.String(), errs.String())
	}
	return out.String() + errs.String()
}

// TestConformanceCommand runs some cases on servers that hold the keys of others.
func TestConformanceCommand(t *testing.T) {
	for name, hand := range map[string]func(*testing.T, string) keysOfOthers{"etcd": etcdKeys, "consul": consulKeys} {
		t.Run(name, func(t *testing.T) {
			server, flags := serve(t, name)
			keys := hand(t, server.Members[0].Addr())
			for _, key := range []string{"a", "understudy/state/role/r", "understudy-conformance", "understudy-conformance/kept", "zz/last"} {
				keys.put(key)
			}
			before := keys.all()
			text := conform(t, 0, append(flags, "--case", someCases)...)
			for _, want := range []string{"AcquireFree", "not run: needs Restart", "cannot be done here: Restart: the servers are yours", "0 failed", "TryAcquire takes the role if it is vacant"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not said:\n%s", want, text)
				}
			}
			if after := keys.all(); !maps.Equal(before, after) {
				t.Errorf("before: %v\nafter: %v", before, after)
			}
		})
	}
}

// TestConformanceCommandFails kills the server under a case, which fails, and is
// stopped in the middle of another.
func TestConformanceCommandFails(t *testing.T) {
	server, flags := serve(t, "etcd")
	keys := etcdKeys(t, server.Members[0].Addr())
	ctx, stop := context.WithCancel(t.Context())
	time.AfterFunc(2*time.Second, stop)
	var out, errs strings.Builder
	code := execute(ctx, append([]string{"conformance", "--case", "^RunAbandoned$"}, flags...), &out, &errs)
	if code != cli.NotDone || !strings.Contains(errs.String(), "stopped before the last case") || !strings.Contains(out.String(), "not run: stopped before") {
		t.Errorf("stopped: exit code %d\n%s%s", code, out.String(), errs.String())
	}
	if left := keys.all(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	go func() {
		keys.changed()
		server.Stop()
	}()
	defer func(before func() string) { overload = before }(overload)
	overload = func() string { return "3.10 on 2 cores" }
	text := conform(t, cli.NotDone, append(flags, "--case", "^TokenIncreases$")...)
	if n := strings.Count(text, "he machine is busy, with a load of 3.10 on 2 cores"); n != 3 { // at the start, and twice beside the failure
		t.Errorf("that the machine is busy is said %d times", n)
	}
	for _, want := range []string{"TokenIncreases failed. The rule: ", "failed cases: 1", "remove what stands under understudy-conformance/"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
}

// TestConformanceCommandBeginsWhole: with every case, each store's table has or lacks every fault, so that the cases begin.
// They are stopped then: etcd's pages run all of them.
func TestConformanceCommandBeginsWhole(t *testing.T) {
	_, onConsul := serve(t, "consul")
	for name, flags := range map[string][]string{"memory": {"--backend", "memory"}, "raft": {"--backend", "raft"}, "consul": onConsul} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var errs strings.Builder
			code := execute(ctx, append([]string{"conformance"}, flags...), &firstResult{stop: stop}, &errs)
			if code != cli.NotDone || !strings.Contains(errs.String(), "stopped before the last case") || strings.Contains(errs.String(), "fault ") {
				t.Errorf("exit code %d\n%s", code, errs.String())
			}
		})
	}
}

// A firstResult stops the cases when it is said that some have ended.
type firstResult struct{ stop func() }

func (f *firstResult) Write(p []byte) (int, error) {
	if text := string(p); strings.Contains(text, " cases, ") && !strings.HasPrefix(text, "0 of ") {
		f.stop()
	}
	return len(p), nil
}

// TestConformanceCommandInput is what it refuses before it begins.
func TestConformanceCommandInput(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{cli.Usage, `case "(": is not a regular expression`, []string{"--backend", "memory", "--case", "("}},
		{cli.Usage, `case "nothing": matches none of AcquireFree, `, []string{"--backend", "memory", "--case", "nothing"}},
		{cli.Usage, `raft-peers [a=127.0.0.1:1]: a group never forgets a role`, []string{"--backend", "raft", "--raft-peers", "a=127.0.0.1:1"}},
		{cli.Usage, "etcd-endpoints: none given", []string{"--backend", "etcd"}},
		{cli.Unavailable, "the store cannot be used", []string{"--backend", "consul", "--consul-address", free.Addr().String()}},
	} {
		if text := conform(t, c.code, c.args...); !strings.Contains(text, c.want) {
			t.Errorf("%v: %q is not said:\n%s", c.args, c.want, text)
		}
	}
}

// TestConformanceCommandHere runs cases on the stores that need no servers.
func TestConformanceCommandHere(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	text := conform(t, 0, "--backend", "raft", "--case", "^(AcquireReplyLost|TokenRestart|RunNetworkCut|TokenRoleDeleted)$")
	if !strings.Contains(text, "4 cases: 3 passed, 0 failed, 1 not run") {
		t.Error(text)
	}
	text = conform(t, 0, "--backend", "memory", "--case", "^Acquire")
	if !strings.Contains(text, "not run: needs CutReplies") {
		t.Error(text)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%v: left in the temporary directory: %v", err, left)
	}
}

// KeysOfOthers are all keys of a store, with their revisions.
type keysOfOthers struct {
	put     func(key string)
	all     func() map[string]uint64
	changed func() // returns when anything has changed; etcd only
}

func etcdKeys(t *testing.T, address string) keysOfOthers {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return keysOfOthers{
		put: func(key string) {
			if _, err := c.Put(t.Context(), key, "of "+key); err != nil {
				t.Fatal(err)
			}
		},
		all: func() map[string]uint64 {
			g, err := c.Get(t.Context(), "", clientv3.WithPrefix())
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]uint64{}
			for _, kv := range g.Kvs {
				found[string(kv.Key)] = uint64(kv.ModRevision)
			}
			return found
		},
		changed: func() { <-c.Watch(t.Context(), "", clientv3.WithPrefix()) },
	}
}

func consulKeys(t *testing.T, address string) keysOfOthers {
	c, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return keysOfOthers{
		put: func(key string) {
			if _, err := c.KV().Put(&api.KVPair{Key: key, Value: []byte("of " + key)}, nil); err != nil {
				t.Fatal(err)
			}
		},
		all: func() map[string]uint64 {
			pairs, _, err := c.KV().List("", nil)
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]uint64{}
			for _, p := range pairs {
				found[p.Key] = p.ModifyIndex
			}
			return found
		},
	}
}
