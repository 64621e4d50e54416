package backendsfx_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends"
	"github.com/understudy-ha/understudy/backends/backendsfx"
	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/fencing/fencingraft"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts an application that takes the module's Locker.
func start(t *testing.T, options ...fx.Option) (*fxtest.App, lock.Locker) {
	t.Helper()
	var l lock.Locker
	app := fxtest.New(t, append(options, fx.NopLogger, fx.Populate(&l))...)
	app.RequireStart()
	return app, l
}

func freeAddress(t *testing.T) string {
	t.Helper()
	free, err := servers.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return free[0]
}

// TestModules registers a session through the module of each backend, by its own Config
// and by a backends.Config.
func TestModules(t *testing.T) {
	for name, options := range map[string]func(t *testing.T) [2]fx.Option{
		"memory": func(*testing.T) [2]fx.Option {
			return [2]fx.Option{
				fx.Options(backendsfx.Memory, fx.Supply(memory.New())),
				fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "memory"})),
			}
		},
		"raft": func(t *testing.T) [2]fx.Option {
			c := raft.Config{ID: "a", Dir: filepath.Join(t.TempDir(), "a"), Peers: []raft.Peer{{ID: "a", Address: freeAddress(t)}}, Timing: 100 * time.Millisecond}
			return [2]fx.Option{
				fx.Options(backendsfx.Raft, fx.Supply(c)),
				fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "raft", Raft: c})),
			}
		},
		"etcd": func(t *testing.T) [2]fx.Option {
			c := etcd.Config{Endpoints: []string{serve.Start(t, "etcd", 1, servers.Options{}).Members[0].Addr()}}
			return [2]fx.Option{
				fx.Options(backendsfx.Etcd, fx.Supply(c)),
				fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "etcd", Etcd: c})),
			}
		},
		"consul": func(t *testing.T) [2]fx.Option {
			c := consul.Config{Address: serve.Start(t, "consul", 1, servers.Options{}).Members[0].Addr()}
			return [2]fx.Option{
				fx.Options(backendsfx.Consul, fx.Supply(c)),
				fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "consul", Consul: c})),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i, option := range options(t) {
				app, l := start(t, option)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				c := lock.Contender{ID: "a", Session: lock.SessionID(string(rune('r' + i)))}
				s, err := l.Register(ctx, c, lock.Promise{TTL: time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
				for name == "raft" && err != nil && ctx.Err() == nil { // no leader yet
					s, err = l.Register(ctx, c, lock.Promise{TTL: time.Second, Skew: time.Second}, lock.Bid{Role: "r"})
				}
				if err != nil {
					t.Fatal(err)
				}
				token, err := s.TryAcquire(ctx, "r")
				if err != nil {
					t.Fatal(err)
				}
				keepsDecisions(t, ctx, l)
				keepsValues(t, ctx, l, token, true)
				if err := s.Close(ctx); err != nil {
					t.Error(err)
				}
				app.RequireStop()
				if _, err := l.Register(ctx, c, lock.Promise{}); err == nil {
					t.Error("the locker takes calls after the application has stopped")
				}
			}
		})
	}
}

// keepsDecisions expects that a module passes on what an operator decides.
func keepsDecisions(t *testing.T, ctx context.Context, l lock.Locker) {
	t.Helper()
	op := l.(lock.Operator)
	if err := op.Pause(ctx, "q", lock.Pause{By: "op"}); err != nil {
		t.Fatal(err)
	}
	for st, err := range l.Watch(ctx, "q") {
		if err != nil || st.Pause.By != "op" {
			t.Errorf("%+v, %v", st, err)
		}
		break
	}
	set := op.Configure(ctx, "a", lock.Settings{By: "op", Drained: true})
	all, err := op.Configured(ctx)
	if set != nil || err != nil || !all["a"].Drained {
		t.Errorf("%v, %v, %+v", set, err, all)
	}
	told := op.Record(ctx, "q", lock.Event{At: time.Now(), By: "a", Kind: lock.Outage})
	history, err := op.History(ctx, "q")
	if told != nil || err != nil || len(history) == 0 {
		t.Errorf("%v, %v, %+v", told, err, history)
	}
}

// keepsValues expects that a module hides nothing of its Locker: what keeps values says so,
// and what keeps none does not.
func keepsValues(t *testing.T, ctx context.Context, l lock.Locker, token lock.Token, want bool) {
	t.Helper()
	kv, err := fencingraft.NewKV(l, "r", token)
	if (err == nil) != want {
		t.Fatalf("%v, want that it keeps values: %v", err, want)
	}
	if !want {
		return
	}
	if err := kv.Put(ctx, "k", []byte("v")); err != nil {
		t.Error(err)
	}
	if v, ok, err := kv.Get(ctx, "k"); err != nil || !ok || string(v) != "v" {
		t.Errorf("%q, %v, %v", v, ok, err)
	}
}

// TestStartDoesNotWait starts beside a Raft peer that never comes: calls wait within their
// contexts, and the application stops.
func TestStartDoesNotWait(t *testing.T) {
	c := raft.Config{
		ID: "a", Dir: filepath.Join(t.TempDir(), "a"), Timing: 100 * time.Millisecond,
		Peers: []raft.Peer{{ID: "a", Address: freeAddress(t)}, {ID: "b", Address: freeAddress(t)}},
	}
	app, l := start(t, backendsfx.Raft, fx.Supply(c))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := l.Raise(ctx, 1); err == nil {
		t.Error("a call succeeded before the store was open")
	}
	for range l.Watch(ctx, "r") {
	}
	app.RequireStop()
}

// TestBad are configurations that cannot work, and one that fails only when opened.
func TestBad(t *testing.T) {
	for _, option := range []fx.Option{
		fx.Options(backendsfx.Raft, fx.Supply(raft.Config{})),
		fx.Options(backendsfx.Etcd, fx.Supply(etcd.Config{})),
		fx.Options(backendsfx.Consul, fx.Supply(consul.Config{Address: "http://a b"})),
		fx.Options(backendsfx.Module, fx.Supply(backends.Config{Backend: "zookeeper"})),
		backendsfx.Etcd,
	} {
		var l lock.Locker
		if err := fx.New(fx.NopLogger, option, fx.Populate(&l)).Err(); err == nil {
			t.Error("accepted")
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	c := raft.Config{ID: "a", Dir: filepath.Join(t.TempDir(), "a"), Peers: []raft.Peer{{ID: "a", Address: address}}}
	app, l := start(t, backendsfx.Raft, fx.Supply(c))
	select {
	case s := <-app.Wait():
		if s.ExitCode != 1 {
			t.Errorf("exit code %d, want 1", s.ExitCode)
		}
	case <-time.After(30 * time.Second):
		t.Error("the application was not shut down: its address is taken")
	}
	if err := l.Raise(t.Context(), 1); err == nil {
		t.Error("a call succeeded on a store that could not be opened")
	}
	app.RequireStop()
}
