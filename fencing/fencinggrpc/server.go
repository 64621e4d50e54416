package fencinggrpc

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// UnaryServer calls the handler for calls that the gate lets in. The context of a call ends when
// a greater token comes, and the call with that token waits until the handler has returned. Every
// call counts, even one that only reads: what a new active reads must not be overwritten
// afterwards.
func UnaryServer(gate *fencing.Gate) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		ctx, leave, err := enter(ctx, gate)
		if err != nil {
			return nil, err
		}
		defer leave()
		return handle(ctx, req)
	}
}

// StreamServer does the same for streams. A stream counts as long as its handler runs: when a
// greater token comes its context ends, and its RecvMsg and SendMsg fail with the refusal, even
// those that wait for a paused client.
func StreamServer(gate *fencing.Gate) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, leave, err := enter(stream.Context(), gate)
		if err != nil {
			return err
		}
		defer leave()
		return handle(srv, &serverStream{stream, ctx})
	}
}

// enter enters the gate with what the metadata carry. Its error is a status.
func enter(ctx context.Context, gate *fencing.Gate) (context.Context, func(), error) {
	role, token, err := incoming(ctx)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, leave, err := gate.Enter(ctx, role, token)
	if err != nil {
		return nil, nil, refusal(err)
	}
	return fencing.NewContext(ctx, role, token), leave, nil
}

func incoming(ctx context.Context) (string, lock.Token, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	role, token := md.Get(roleKey), md.Get(tokenKey)
	if len(role) != 1 || len(token) != 1 {
		return "", 0, fmt.Errorf("metadata has %d %s and %d %s, the call needs one of each", len(role), roleKey, len(token), tokenKey)
	}
	return fencing.Parse(role[0], token[0])
}

type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) RecvMsg(m any) error {
	return s.await(func() error { return s.ServerStream.RecvMsg(m) })
}

func (s *serverStream) SendMsg(m any) error {
	return s.await(func() error { return s.ServerStream.SendMsg(m) })
}

// await calls f, and waits for it no longer than the context lasts. What is left behind ends with
// the stream, when the handler returns.
func (s *serverStream) await(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		if !s.overtaken() {
			return err
		}
	case <-s.ctx.Done():
	}
	if s.overtaken() {
		return refusal(context.Cause(s.ctx))
	}
	return status.FromContextError(s.ctx.Err()).Err()
}

func (s *serverStream) overtaken() bool { return errors.Is(context.Cause(s.ctx), fencing.ErrStale) }
