package coordinatorfx_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/coordinator/coordinatorfx"
)

// A cache is what must not outlive its term.
type cache struct{ term coordinator.Term }

// TestGraph builds an application for every term: one shuts itself down, one fails to
// start, one serves.
func TestGraph(t *testing.T) {
	d, store := newDiary(), memory.New()
	var caches []*cache
	a := app(t, d, store, "a", fx.Provide(coordinatorfx.AsActive(func(_ *database) coordinatorfx.Graph {
		return func(term coordinator.Term) fx.Option {
			return fx.Options(
				fx.Provide(func(term coordinator.Term, own fx.Lifecycle) *cache {
					own.Append(d.hook("cache"))
					return &cache{term}
				}),
				fx.Module("inner", fx.Invoke(func(c *cache, own fx.Lifecycle, down fx.Shutdowner) {
					caches = append(caches, c)
					n := len(caches)
					own.Append(fx.StartHook(func() error {
						switch n {
						case 1:
							return down.Shutdown(fx.ExitCode(3))
						case 2:
							return errors.New("no")
						}
						d.write("serves")
						return nil
					}))
				})),
			)
		}
	})))
	a.RequireStart()
	d.until(t, "serves", 1)
	a.RequireStop()
	got, _ := d.read()
	got = slices.DeleteFunc(got, func(s string) bool { return !strings.Contains(s, "cache") && s != "serves" })
	want := []string{"cache starts", "cache stops", "cache starts", "cache stops", "cache starts", "serves", "cache stops"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if len(caches) != 3 || caches[0] == caches[1] || caches[1].term.Token >= caches[2].term.Token {
		t.Errorf("%d caches were made, want a fresh one with each of 3 terms: %+v", len(caches), caches)
	}
	for _, c := range caches {
		if c.term.Valid() {
			t.Error("a term outlived its application")
		}
	}
}

// TestGraphDoesNotConstruct fails the term, with the reason.
func TestGraphDoesNotConstruct(t *testing.T) {
	g := coordinatorfx.Graph(func(coordinator.Term) fx.Option { return fx.Invoke(func(*cache) {}) })
	if err := g.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "cache") {
		t.Errorf("got %v, want what is missing", err)
	}
}
