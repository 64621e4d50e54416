//go:build unix && !linux

package procgroup

import (
	"context"
	"time"
)

type series struct{ spec Spec }

func (s *series) start(spec Spec) error {
	spec.Gate = nil
	s.spec = spec
	return nil
}

// Run runs the command once, and returns its exit code when nothing of its process group
// is left. When ctx ends first, the command is killed. One goroutine at a time calls it.
func (s *series) Run(ctx context.Context) (code int, err error) {
	g, err := Start(ctx, s.spec)
	if err != nil {
		return 0, err
	}
	select {
	case <-g.Done():
	case <-ctx.Done():
		g.Kill()
		return 0, ctx.Err()
	}
	for {
		g.Kill()
		select {
		case <-g.Gone():
			return g.Code(), nil
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// End has nothing to end: each run has its own context.
func (s *series) End() {}
