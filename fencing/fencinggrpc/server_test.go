package fencinggrpc

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/fencing"
)

// A late context is done, and does not say so yet.
type late struct{ context.Context }

func (late) Done() <-chan struct{} { return nil }

// TestOvertakenIsTold, whatever the transport says that the greater token broke: the client
// must hear that its token is stale.
func TestOvertakenIsTold(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(&fencing.StaleError{Role: "r", Token: 5, Current: 6})
	s := &serverStream{ctx: late{ctx}}
	for _, transport := range []error{nil, errors.New("the transport is closing")} {
		if err := s.await(func() error { return transport }); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("when the transport says %v: %v, want the token to be refused", transport, err)
		}
	}
	s.ctx = t.Context()
	if err := s.await(func() error { return context.Canceled }); !errors.Is(err, context.Canceled) {
		t.Errorf("what is not overtaken: %v", err)
	}
}
