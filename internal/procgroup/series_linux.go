package procgroup

import (
	"context"
	"os"
	"syscall"
)

type series struct {
	group *Group
	heard chan order // closed when the init has ended; has room for all that one run says
	ended bool       // a run did not end by itself
}

func (s *series) start(spec Spec) error {
	s.group = &Group{done: make(chan struct{}), gone: make(chan struct{})}
	s.heard = make(chan order, 4)
	return s.group.launch(spec, s.follow)
}

// follow hands on what the init says, until it ends. What is left then, only how it ended
// says.
func (s *series) follow(started chan<- error) (empty bool) {
	defer close(s.heard)
	started <- nil
	for {
		o, ok := hear(s.group.wire)
		if !ok {
			return false
		}
		s.heard <- o
	}
}

// Run runs the command once, and returns its exit code when nothing of it is left. When
// ctx ends first, so does the Series, at once. One goroutine at a time calls it.
func (s *series) Run(ctx context.Context) (code int, err error) {
	if s.ended {
		return 0, ErrEnded
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	s.group.tell(order{what: begin, number: again, text: forStdin}, int(null.Fd()))
	for code = unknownCode; ; {
		select {
		case o, ok := <-s.heard:
			switch {
			case !ok:
				s.ended = true
				return 0, ErrEnded
			case o.what == begun && o.number != 0:
				err = syscall.Errno(o.number)
			case o.what == hasEnded:
				code = int(o.number)
			case o.what == isEmpty:
				return code, err
			}
		case <-ctx.Done():
			s.ended = true
			s.End()
			return 0, ctx.Err()
		}
	}
}

// End kills what runs, and ends the Series. It does not wait.
func (s *series) End() { s.group.kill() }
