//go:build postgres || kubernetes || nats || s3

package backendsfx_test

import (
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// keepsAllButValues registers a session of this name through a module of a store that keeps one object.
func keepsAllButValues(t *testing.T, session rune, option fx.Option) {
	t.Helper()
	app, l := start(t, option)
	ctx := lab.Within(t, time.Minute)
	s, err := l.Register(ctx, lock.Contender{ID: "a", Session: lock.SessionID(session)}, lock.Promise{TTL: time.Second, Skew: time.Millisecond}, lock.Bid{Role: "r"})
	lab.Must(t, err)
	token, err := s.TryAcquire(ctx, "r")
	lab.Must(t, err)
	keepsDecisions(t, ctx, l)
	keepsValues(t, ctx, l, token, false)
	lab.Must(t, s.Close(ctx))
	app.RequireStop()
}
