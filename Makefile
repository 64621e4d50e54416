.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

build: ## bin/understudy
	CGO_ENABLED=0 go build -trimpath -o bin/understudy ./cmd/understudy

demo: build ## three real processes lose and regain an active, in under a minute
	bin/understudy demo

test: ## every test, with the race detector where the machine has a C compiler
	go vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=darwin GOARCH=amd64 go build ./...
	GOOS=linux GOARCH=arm64 go build ./...
	go test $(RACE) -timeout 20m ./...

bench: ## failover and latency benchmarks, printed as ratios
	go test -run '^$$' -bench . ./...

soak: ## random walks over the protocol for an hour, and the search for every planted mistake
	go test ./coordinator -run TestSoak -timeout 3h -soak 1h -v

lint: ## golangci-lint, built from tools/go.mod
	go tool -modfile=tools/go.mod golangci-lint run ./...

# The race detector needs cgo.
RACE := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

.PHONY: help build demo test bench soak lint
