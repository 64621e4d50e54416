module github.com/understudy-ha/understudy/coordinator/coordinatorotel/sdktest

go 1.26.0

exclude (
	github.com/hashicorp/consul/api v1.35.0
	github.com/hashicorp/go-metrics v0.7.0
	github.com/hashicorp/raft v1.8.0
)

replace github.com/understudy-ha/understudy => ../../..

require (
	github.com/understudy-ha/understudy v0.0.0-00010101000000-000000000000
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/sdk v1.47.0
	go.opentelemetry.io/otel/sdk/metric v1.47.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.4 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	go.opentelemetry.io/auto/sdk v1.2.1 // indirect
	go.opentelemetry.io/otel/log v1.47.0 // indirect
	go.opentelemetry.io/otel/metric v1.47.0 // indirect
	go.opentelemetry.io/otel/trace v1.47.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
