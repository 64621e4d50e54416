package coordinatorfx_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/coordinatorfx"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A diary is what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced by every line
}

func newDiary() *diary { return &diary{more: make(chan struct{})} }

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
	close(d.more)
	d.more = make(chan struct{})
}

func (d *diary) read() ([]string, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines), d.more
}

// until waits until the line was written n times.
func (d *diary) until(t *testing.T, line string, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		lines, more := d.read()
		found := 0
		for _, l := range lines {
			if l == line {
				found++
			}
		}
		if found >= n {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("%q was not written %d times: %q", line, n, lines)
		}
	}
}

// hook is a hook that writes what it does.
func (d *diary) hook(name string) fx.Hook {
	return fx.StartStopHook(func() { d.write("%s starts", name) }, func() { d.write("%s stops", name) })
}

// A server is a service that writes what it does.
type server struct {
	diary *diary
	name  string
	fail  func() error // nil: it serves until it is told to stop
}

func (s *server) Serve(ctx context.Context) error {
	term, ok := coordinator.TermOf(ctx)
	s.diary.write("%s serves %s", s.name, term.Role)
	if !ok || !term.Valid() {
		s.diary.write("without a term")
	}
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	<-ctx.Done()
	s.diary.write("%s ends", s.name)
	return nil
}

type (
	database struct{}
	api      struct{}
)

// app is an application with a database, an API on it, and what else is given.
func app(t *testing.T, d *diary, store *memory.Store, id string, more ...fx.Option) *fxtest.App {
	return fxtest.New(t, fx.NopLogger,
		fx.Supply(coordinator.Config{ID: id, Roles: []lock.Bid{{Role: "r"}}, TTL: 2 * time.Second}, slog.New(slog.DiscardHandler)),
		fx.Provide(
			store.Open,
			func(active coordinatorfx.Lifecycle) *database { active.Append(d.hook(id + ".database")); return nil },
			func(active coordinatorfx.Lifecycle, _ *database) *api { active.Append(d.hook(id + ".api")); return nil },
		),
		fx.Invoke(func(*api, fx.Lifecycle) {}),
		fx.Options(more...),
		coordinatorfx.Module,
	)
}

// stand waits until id stands in line.
func stand(t *testing.T, store *memory.Store, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for st := range store.Open().Watch(ctx, "r") {
		if slices.ContainsFunc(st.Line, func(m lock.Member) bool { return m.ID == id }) {
			return
		}
	}
	t.Fatalf("%s does not stand by", id)
}

// TestTerms moves a role to and fro between two applications by handoffs: with every
// term the hooks run in the order of construction and back, around the services.
func TestTerms(t *testing.T) {
	d, store := newDiary(), memory.New()
	service := func(id string) fx.Option {
		return fx.Provide(coordinatorfx.AsActive(func() *server { return &server{diary: d, name: id + ".service"} }))
	}
	a, b := app(t, d, store, "a", service("a")), app(t, d, store, "b", service("b"))
	a.RequireStart()
	d.until(t, "a.service serves r", 1)
	b.RequireStart()
	var want []string
	for i, id := range []string{"a", "b", "a", "b"} {
		d.until(t, id+".service serves r", i/2+1)
		want = append(want, id+".database starts", id+".api starts", id+".service serves r", id+".service ends", id+".api stops", id+".database stops")
		if i < 3 {
			other := map[string]string{"a": "b", "b": "a"}[id]
			stand(t, store, other)
			handOff(t, store, other)
		}
	}
	a.RequireStop()
	b.RequireStop()
	if got, _ := d.read(); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// handOff asks the active to hand the role to the standby with that ID.
func handOff(t *testing.T, store *memory.Store, to string) {
	t.Helper()
	l := store.Open()
	for st := range l.Watch(t.Context(), "r") {
		for _, m := range st.Line {
			if m.ID == to {
				if err := l.Ask(t.Context(), "r", lock.Request{Token: st.Term.Token, To: m.Session}); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
}

// TestFailingStart has a hook and then a service that fail to start, a term each: what
// had started is stopped, and the third term serves.
func TestFailingStart(t *testing.T) {
	d, store := newDiary(), memory.New()
	terms := 0
	failing := fx.Options(
		fx.Invoke(func(_ *api, active coordinatorfx.Lifecycle) {
			active.Append(fx.Hook{
				OnStart: func(context.Context) error {
					if terms++; terms == 1 {
						return errors.New("hook failed")
					}
					return nil
				},
				OnStop: func(context.Context) error { d.write("last stops"); return errors.New("failed to stop") },
			})
		}),
		fx.Provide(coordinatorfx.AsActive(func() (*server, error) {
			return &server{diary: d, name: "flaky", fail: func() error {
				if terms == 2 {
					return errors.New("service failed")
				}
				return nil
			}}, nil
		})),
	)
	a := app(t, d, store, "a", failing)
	a.RequireStart()
	d.until(t, "a.api starts", 3)
	d.until(t, "flaky serves r", 2)
	a.RequireStop()
	want := []string{
		"a.database starts", "a.api starts", "a.api stops", "a.database stops",
		"a.database starts", "a.api starts", "flaky serves r", "last stops", "a.api stops", "a.database stops",
		"a.database starts", "a.api starts", "flaky serves r", "flaky ends", "last stops", "a.api stops", "a.database stops",
	}
	if got, _ := d.read(); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestWillNotStop has a service that does not heed its context: Stop ends with its own
// context all the same and says so, and the process would be ended by the coordinator.
func TestWillNotStop(t *testing.T) {
	d, store := newDiary(), memory.New()
	release, exited := make(chan struct{}), make(chan struct{})
	config := fx.Decorate(func(c coordinator.Config) coordinator.Config {
		c.StopTimeout = 300 * time.Millisecond
		c.Exit = func() { close(exited); close(release) } // the process's end ends all work
		return c
	})
	stubborn := fx.Provide(coordinatorfx.AsActive(func() *server {
		return &server{diary: d, name: "stubborn", fail: func() error { <-release; return nil }}
	}))
	a := app(t, d, store, "a", config, stubborn)
	a.RequireStart()
	d.until(t, "stubborn serves r", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop: %v, want its context's error", err)
	}
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Fatal("the work outlived the stop timeout, and the process was not ended")
	}
	d.until(t, "a.database stops", 1)
}

// TestErrors are those of construction, and of a coordinator that must give up.
func TestErrors(t *testing.T) {
	d, store := newDiary(), memory.New()
	first := app(t, d, store, "a")
	first.RequireStart()
	d.until(t, "a.api starts", 1)
	twin := app(t, d, store, "a") // another process with our ID
	twin.RequireStart()
	select {
	case s := <-twin.Wait():
		if s.ExitCode != 1 {
			t.Errorf("exit code %d, want 1", s.ExitCode)
		}
	case <-time.After(30 * time.Second):
		t.Error("the twin was not shut down")
	}
	twin.RequireStop()
	first.RequireStop()

	for _, c := range []coordinator.Config{
		{ID: "a"},
		{ID: "a", Roles: []lock.Bid{{Role: "r"}}, TTL: time.Millisecond},
		{ID: "a", Roles: []lock.Bid{{Role: "r"}, {Role: "q"}}},
	} {
		if err := fx.New(fx.NopLogger, fx.Supply(c), fx.Provide(store.Open), coordinatorfx.Module).Err(); err == nil {
			t.Errorf("accepted: %+v", c)
		}
	}
	if err := fx.ValidateApp(fx.NopLogger, fx.Supply(coordinator.Config{}), coordinatorfx.Module); err == nil {
		t.Error("accepted without a Locker")
	}
}

// TestOrder starts what fx starts before the work that needs it, and stops it after.
func TestOrder(t *testing.T) {
	d := newDiary()
	a := app(t, d, memory.New(), "a", fx.Invoke(func(l fx.Lifecycle) { l.Append(d.hook("pool")) }))
	a.RequireStart()
	d.until(t, "a.api starts", 1)
	a.RequireStop()
	want := []string{"pool starts", "a.database starts", "a.api starts", "a.api stops", "a.database stops", "pool stops"}
	if got, _ := d.read(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
