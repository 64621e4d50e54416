.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

build: ## bin/understudy
	CGO_ENABLED=0 go build -trimpath -o bin/understudy ./cmd/understudy

demo: build ## three real processes lose and regain an active, in under a minute
	bin/understudy demo

servers: bin/etcd bin/consul ## the real etcd and Consul servers that the tests run, once: some minutes

bin/etcd: conformance/servers/etcd/go.mod
	@echo "building etcd, for the tests only"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ go.etcd.io/etcd/server/v3

bin/consul: conformance/servers/consul/go.mod
	@echo "building Consul, for the tests only: about five minutes"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ github.com/hashicorp/consul

test: servers ## every test, with the race detector where the machine has a C compiler
	go vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=darwin GOARCH=amd64 go build ./...
	GOOS=linux GOARCH=arm64 go build ./...
	go test $(RACE) -timeout 20m ./...

conformance: servers ## the suite on Raft, etcd and Consul: some minutes, and one known fault on etcd and Consul
	go vet -tags conformance ./backends/...
	go test -tags conformance -p 1 -timeout 30m -run 'TestConformance' -v ./backends/raft ./backends/etcd ./backends/consul

bench: ## failover and latency benchmarks, printed as ratios
	go test -run '^$$' -bench . ./...

soak: ## random walks over the protocol for an hour, and the search for every planted mistake
	go test ./coordinator -run 'TestWalks|TestMutants' -timeout 24h -soak 1h -v

soakwitness: servers ## 1,000 faults on wrapper, command and witness, on each store: about an hour
	go test ./cmd/understudy -run TestAnyOne -rounds 1000 -timeout 24h -v

testcontainer: servers ## run as the first process of a real container: takes Docker
	go test -tags container ./cmd/understudy -run TestContainer -v

lint: ## golangci-lint, built from tools/go.mod
	go tool -modfile=tools/go.mod golangci-lint run ./...

# The race detector needs cgo.
RACE := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

# The tests find the servers here, unless these name others.
export UNDERSTUDY_ETCD ?= $(CURDIR)/bin/etcd
export UNDERSTUDY_CONSUL ?= $(CURDIR)/bin/consul

.PHONY: help build demo servers test conformance bench soak soakwitness testcontainer lint
