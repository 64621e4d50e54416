#!/usr/bin/env bash
# A gRPC server that is stopped gracefully waits for the clients that watch its health.
#
# Guess: health.Server.Shutdown is for the stop: it says NOT_SERVING to all, and that is the last
# word, so the streams of Watch end with it. GracefulStop then waits only for calls that do something.
# What happens: Shutdown leaves the streams open, and GracefulStop waits until the clients end
# them. One that watches to learn who is active never does. So a process that gives its role back
# after GracefulStop keeps it for as long as they like.
# For users of understudy: work that serves gRPC gives GracefulStop a time and then calls Stop, as its
# role is kept until it has returned. admin's own server waits for no client.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require google.golang.org/grpc@v1.83.2
cat > main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	fmt.Println("grpc", grpc.Version)
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	server, state := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(server, state)
	go server.Serve(l)
	client := must(grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())))
	ctx, leave := context.WithCancel(context.Background())
	watch := must(healthpb.NewHealthClient(client).Watch(ctx, &healthpb.HealthCheckRequest{}))
	fmt.Println("a client watches:", must(watch.Recv()).Status)
	state.Shutdown()
	fmt.Println("health.Server.Shutdown; it is told:", must(watch.Recv()).Status)
	stopped := make(chan struct{})
	go func() { server.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
		fmt.Println("GracefulStop returns")
	case <-time.After(5 * time.Second):
		fmt.Println("GracefulStop still waits after 5 s")
	}
	leave()
	<-stopped
	fmt.Println("the client leaves: GracefulStop returns then")
}
GO
go mod tidy 2> /dev/null
out=$(go run .)
echo "$out"
for want in "it is told: NOT_SERVING" "still waits after 5 s" "returns then"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: a watcher holds up the stop"
