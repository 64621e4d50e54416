package fencinggrpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/understudy-ha/understudy/fencing"
)

// UnaryClient sends the role and the token that the call's context carries (see
// fencing.FromContext). A call without them fails with fencing.ErrNoTerm and is not sent.
func UnaryClient() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, err := outgoing(ctx)
		if err != nil {
			return err
		}
		return Stale(invoke(ctx, method, req, reply, cc, opts...))
	}
}

// StreamClient does the same for streams.
func StreamClient() grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		ctx, err := outgoing(ctx)
		if err != nil {
			return nil, err
		}
		s, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, Stale(err)
		}
		return clientStream{s}, nil
	}
}

func outgoing(ctx context.Context) (context.Context, error) {
	role, token := fencing.FromContext(ctx)
	if token == 0 {
		return nil, fencing.ErrNoTerm
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()                            // a copy of nil, too, can be written to
	md.Set(roleKey, fencing.FormatRole(role)) // one of each, whatever else has set them
	md.Set(tokenKey, fencing.FormatToken(token))
	return metadata.NewOutgoingContext(ctx, md), nil
}

type clientStream struct{ grpc.ClientStream }

func (s clientStream) RecvMsg(m any) error { return Stale(s.ClientStream.RecvMsg(m)) }
