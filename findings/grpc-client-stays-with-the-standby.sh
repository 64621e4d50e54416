#!/usr/bin/env bash
# A gRPC client that is told to heed its servers' health calls the one that says NOT_SERVING.
#
# Guess: a service config with healthCheckConfig, and package health imported, has the client ask
# each server, and call the one that says SERVING: so clients find the active by themselves.
# What happens: that holds for round_robin. The default policy, pick_first, does not ask, and nothing
# says so: all calls go to the first address that takes a connection, and a standby does.
# For users of understudy: clients that follow the health of understudy.Active need round_robin.
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
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

func serve(s healthpb.HealthCheckResponse_ServingStatus) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server, state := grpc.NewServer(), health.NewServer()
	state.SetServingStatus("active", s)
	healthpb.RegisterHealthServer(server, state)
	go server.Serve(l)
	return l.Addr().String()
}

func main() {
	fmt.Println("grpc", grpc.Version)
	standby, active := serve(healthpb.HealthCheckResponse_NOT_SERVING), serve(healthpb.HealthCheckResponse_SERVING)
	for _, policy := range []string{"", `"loadBalancingConfig": [{"round_robin": {}}], `} {
		config := "{" + policy + `"healthCheckConfig": {"serviceName": "active"}}`
		addresses := manual.NewBuilderWithScheme("both")
		addresses.InitialState(resolver.State{Endpoints: []resolver.Endpoint{
			{Addresses: []resolver.Address{{Addr: standby}}}, {Addresses: []resolver.Address{{Addr: active}}},
		}})
		client, err := grpc.NewClient("both:///", grpc.WithResolvers(addresses), grpc.WithDefaultServiceConfig(config),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			panic(err)
		}
		calls := map[string]int{standby: 0, active: 0}
		for range 20 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			var at peer.Peer
			if _, err := healthpb.NewHealthClient(client).List(ctx, &healthpb.HealthListRequest{}, grpc.Peer(&at), grpc.WaitForReady(true)); err != nil {
				panic(err)
			}
			cancel()
			calls[at.Addr.String()]++
		}
		client.Close()
		fmt.Printf("%s: %d calls to the standby, %d to the active\n", config, calls[standby], calls[active])
	}
}
GO
go mod tidy 2> /dev/null
out=$(go run .)
echo "$out"
for want in '^{"healthCheckConfig.*: 20 calls to the standby, 0 to the active' 'round_robin.*: 0 calls to the standby, 20 to the active'; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: by default the health is not asked for"
