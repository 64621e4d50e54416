package fencinggrpc_test

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinggrpc"
)

// The server: every call must carry the greatest token of role billing.
func ExampleUnaryServer() {
	gate := fencing.NewGate(&fencing.Memory{}, "billing")
	grpc.NewServer(
		grpc.ChainUnaryInterceptor(fencinggrpc.UnaryServer(gate)),
		grpc.ChainStreamInterceptor(fencinggrpc.StreamServer(gate)),
	)
}

// The work: every call carries the term's token, and a refusal ends the work.
func ExampleUnaryClient() {
	conn, err := grpc.NewClient("host:443",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // TLS, in earnest
		grpc.WithChainUnaryInterceptor(fencinggrpc.UnaryClient()),
		grpc.WithChainStreamInterceptor(fencinggrpc.StreamClient()))
	if err != nil {
		return
	}
	defer conn.Close()
	var call func(context.Context) error // of a client that was generated, with conn
	_ = func(ctx context.Context, _ coordinator.Term) error {
		for ctx.Err() == nil {
			if err := call(ctx); errors.Is(err, fencing.ErrStale) {
				return err
			}
		}
		return nil
	}
}
