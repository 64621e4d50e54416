.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

build: ## bin/understudy, and bin/understudy-lab, which measures, proves and shows
	CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -o bin/ ./cmd/understudy ./cmd/understudy-lab

demo: build ## three real processes lose and regain an active, in under a minute
	bin/understudy demo

servers: bin/etcd bin/etcdctl bin/etcdutl bin/consul ## the real etcd and Consul servers that the tests run, once: some minutes

bin/etcd: internal/lab/servers/etcd/go.mod
	@echo "building etcd, for the tests only"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ go.etcd.io/etcd/server/v3

bin/etcdctl: internal/lab/servers/etcd/go.mod
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ go.etcd.io/etcd/etcdctl/v3

bin/etcdutl: internal/lab/servers/etcd/go.mod
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ go.etcd.io/etcd/etcdutl/v3

bin/nats-server: internal/lab/servers/nats/go.mod
	@echo "building the NATS server, for make test-nats only"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ github.com/nats-io/nats-server/v2

bin/kube-apiserver: internal/lab/servers/kubernetes/go.mod
	@echo "building the API server of Kubernetes, for make test-kubernetes only: some minutes"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/kube-apiserver

# The first of them takes as long as bin/kube-apiserver, the next ones less: they share most of their code.
bin/kube-controller-manager bin/kube-scheduler bin/kubectl: internal/lab/servers/kubernetes/go.mod
	@echo "building $(@F), for make test-helm only: some minutes"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/$(@F)

bin/helm: internal/lab/servers/helm/go.mod
	@echo "building Helm, for make test-chart and test-helm only: some minutes"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ helm.sh/helm/v4/cmd/helm

bin/versitygw: internal/lab/servers/s3/go.mod
	@echo "building versitygw, for make test-s3: about a minute"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ github.com/versity/versitygw/cmd/versitygw

bin/consul: internal/lab/servers/consul/go.mod
	@echo "building Consul, for the tests only: about five minutes"
	cd $(<D) && CGO_ENABLED=0 go build -o $(CURDIR)/$@ github.com/hashicorp/consul

# All is compiled before anything runs: most tests are of real processes with real deadlines. They mostly wait, so two
# packages run at once, and three tests of the largest; more would make a machine of two cores one on which nobody
# keeps a role.
# The model of the state machine starts no goroutine, so it runs without the race detector alone; the long histories
# do a part with it, and the whole without.
LONG := ^Test(Day|Pauses|History|AnyNumberOfRequests)$$

test: servers build ## every test, with the race detector where the machine has a C compiler
	go vet ./...
	go vet -tags soak,chaos,mixed,report,baselines,postgres,kubernetes,nats,s3,haproxy,systemd,compose,helm ./admin ./backends/... ./cmd/... ./deploy/... ./internal/... ./conformance/...
	cd internal/failover/baselines && go vet .
	GOOS=darwin GOARCH=arm64 go vet ./...
	GOOS=darwin GOARCH=amd64 go build ./...
	GOOS=linux GOARCH=arm64 go build ./...
	GOOS=windows GOARCH=amd64 go build ./lock ./coordinator/... ./config/... ./backends/... ./fencing/... ./conformance/...
	go build ./...
	go list $(RACE) -test -export ./... >/dev/null # compiles the tests, too, and links nothing
	.ci/tests "$$(go list ./... | grep -v -e '/docs$$' -e '/internal/machine$$' -e '/cmd/understudy$$')" $(RACE) -vet=off -p 2 -timeout 40m -skip '^TestSuite'
	.ci/tests ./cmd/understudy $(RACE) -vet=off -parallel 3 -timeout 40m
	go test ./coordinator/internal/machine
	go test -timeout 20m -run '$(LONG)' ./coordinator ./state ./conformance
	.ci/tests "./backends/... ./examples/filestore" -timeout 20m -run '^TestSuite' # it measures time, which the race detector would stretch
	.ci/tests ./docs -timeout 20m # the suite's own command is among the pages', and measures time, too
	cd fencing/fencingsql/databases && go vet -tags postgres . && go test -timeout 5m .
	cd coordinator/coordinatorotel/sdktest && go vet . && go test -timeout 5m .
	cd examples/zookeeper && go vet -tags zookeeper .

test-docs-long: servers ## every command that README and docs/ show, the long ones too, and with a network: hours; those of the other stores are in their suites
	go test ./docs -run TestCommands -long -timeout 24h -v

# About half an hour. BENCH=--quick: about five minutes, nearly all of it the baselines.
BENCH ?= --runs 20 --ttl 2s

bench: build servers bin/baselines ## failover on every store, measured and drawn, with what others do beside: report/
	bin/understudy bench --baselines $(BENCH)

bin/baselines: $(wildcard internal/failover/baselines/*.go) internal/failover/baselines/go.mod
	cd internal/failover/baselines && CGO_ENABLED=0 go build -trimpath -o $(CURDIR)/$@ .

baselines: bin/baselines ## bin/baselines: contenders as they are written without understudy, for the bench only

bench-soak: servers ## nobody may lose the role while nothing fails: an hour idle, ten minutes busy, on each store; ten minutes of heavy writing; a disk that hangs
	go test ./cmd/understudy -tags soak -run "TestNoFalseTakeover|TestHeavyWriting|TestDiskHangsForLong" -timeout 24h -v $(SOAK)

benchmarks: ## Go benchmarks, printed as ratios
	go test -run '^$$' -bench . ./...

test-monitoring: servers ## alert rules and dashboard by promtool, and clients behind a real HAProxy: Debian's prometheus and haproxy
	cd deploy/monitoring && printf a-token-of-nobody >understudy.token && promtool check config prometheus.yaml; code=$$?; rm -f understudy.token; exit $$code
	promtool check rules deploy/monitoring/alerts.yaml
	promtool test rules deploy/monitoring/alerts_test.yaml deploy/monitoring/alerts_recorded_test.yaml
	go test ./admin -tags haproxy -run TestDashboardQueries -v
	go test ./cmd/understudy -tags haproxy -run TestHAProxy -v

record-monitoring: servers ## records anew what contenders show while one is killed, cut off and so on: six minutes
	go test ./cmd/understudy -tags haproxy -run TestRecordFaults -v

test-report: ## the bench's report in a headless Chromium
	.ci/tests ./internal/failover -tags report -run TestReportInABrowser

test-baselines: servers ## what is commonly written on etcd, Consul and Raft, through a stop, a kill, a hang and a cut: two minutes
	.ci/tests ./internal/failover -tags baselines -run TestRecipes -timeout 10m

# PAIRS='-pairs 5 -roles 40 -ttl 10s -idle 20s -stores etcd,consul,raft'
bench-pairs: servers ## this build beside that of BASE=REV, in turns: herds, idle cost, memory, clean stops
	go test ./internal/pairs -run TestPairs -base $(BASE) $(PAIRS) -timeout 24h -v

# LOSS: how long; Jepsen's runs were of two minutes.
LOSS ?= 2m

testloss: servers ## five processes, a pause every 5 s: updates lost without the token and with it, counted
	go test ./fencing/internal/fencingtest -run TestLoss -loss $(LOSS) -timeout 24h -v

testpostgres: servers ## the store, the SQL guard and the bench's baseline on real PostgreSQL servers of their own: takes Debian's postgresql and pgbouncer
	go vet -tags postgres ./backends/... ./cmd/...
	.ci/tests ./backends/postgres -tags postgres -skip '^TestSuite' -timeout 15m
	.ci/tests "./cmd/understudy ./cmd/understudy-lab ./backends/backendsfx" -p 1 -tags postgres -run 'TestPostgres$$' -timeout 10m
	.ci/tests ./docs -run 'TestCommands/postgres' -timeout 5m -args -postgres
	cd fencing/fencingsql/databases && go test -tags postgres -timeout 10m -v .
	.ci/tests ./internal/failover -tags postgres -run TestPostgres -timeout 10m

test-postgres-suite: ## the conformance suite on PostgreSQL, near, far and through PgBouncer, on a quiet machine: about ten minutes
	.ci/tests ./backends/postgres -tags postgres -run '^TestSuite' -timeout 30m
	.ci/tests ./docs -run 'TestCommands/postgres' -timeout 30m -args -postgres -long

test-kubernetes: servers bin/kube-apiserver ## the store on a real API server of Kubernetes with an etcd of its own; builds it once, some minutes
	go vet -tags kubernetes ./backends/... ./cmd/...
	.ci/tests ./backends/kubernetes -tags kubernetes -skip '^TestSuite' -timeout 15m
	.ci/tests "./cmd/understudy ./cmd/understudy-lab ./backends/backendsfx" -p 1 -tags kubernetes -run 'TestKubernetes$$' -timeout 15m
	.ci/tests ./docs -run 'TestCommands/kubernetes' -timeout 5m -args -kubernetes
	.ci/tests ./internal/failover -tags kubernetes -run TestKubernetes -timeout 10m

test-kubernetes-suite: servers bin/kube-apiserver ## the conformance suite on Kubernetes, near and far, on a quiet machine: about ten minutes
	.ci/tests ./backends/kubernetes -tags kubernetes -run '^TestSuite' -timeout 30m
	.ci/tests ./docs -run 'TestCommands/kubernetes' -timeout 30m -args -kubernetes -long

CONTROL_PLANE := bin/etcd bin/kube-apiserver bin/kube-controller-manager bin/kube-scheduler bin/kubectl

test-chart: bin/helm ## what the chart makes, and what it refuses, without a cluster; builds Helm once, some minutes
	.ci/tests ./deploy -tags helm -run 'TestManifests|TestChart' -timeout 5m

test-helm: bin/helm $(CONTROL_PLANE) ## the chart on a real control plane of Kubernetes, with nodes of our own on Docker: root, Docker; builds both once, many minutes
	go vet -tags helm ./deploy
	cd internal/lab/servers/kubernetes && go vet ./...
	go test ./deploy -tags helm -run 'TestManifests|TestChart|TestHelm' -timeout 10m -v
	go test ./docs -run 'TestCommands/helm' -timeout 5m -args -helm

# ROLLOUTS: how many rolling updates.
ROLLOUTS ?= 50

deploy-soak: bin/helm $(CONTROL_PLANE) ## fifty rolling updates of the chart, a node's death and a lost API server: root, Docker
	go test ./deploy -tags helm -run 'TestHelm$$' -rollouts $(ROLLOUTS) -timeout 24h -v

manifests: bin/helm ## deploy/kubernetes, anew from the chart
	go test ./deploy -tags helm -run TestManifests -update

test-nats: bin/nats-server build ## the store on real NATS servers; builds them once: a minute
	.ci/tests ./backends/nats -tags nats -skip '^TestSuite' -timeout 10m
	.ci/tests ./docs -run 'TestCommands/nats' -timeout 5m -args -nats

test-nats-suite: bin/nats-server build ## the suite on three NATS servers, near and far, and the commands, on a quiet machine: eight minutes
	.ci/tests ./backends/nats -tags nats -run '^TestSuite' -timeout 30m
	.ci/tests ./docs -run 'TestCommands/nats' -timeout 30m -args -nats -long
	.ci/tests "./cmd/understudy ./cmd/understudy-lab ./backends/backendsfx" -p 1 -tags nats -run 'TestNATS$$' -timeout 10m

test-s3: bin/versitygw build ## the store on a real S3 server, versitygw; builds it once: a minute
	.ci/tests ./backends/s3 -tags s3 -skip '^TestSuite' -timeout 10m
	.ci/tests ./docs -run 'TestCommands/s3' -timeout 5m -args -s3

test-s3-suite: bin/versitygw build ## the suite on S3, near and far, and the commands, on a quiet machine: five minutes
	.ci/tests ./backends/s3 -tags s3 -run '^TestSuite' -timeout 30m
	.ci/tests ./docs -run 'TestCommands/s3' -timeout 30m -args -s3 -long
	.ci/tests "./cmd/understudy ./cmd/understudy-lab ./backends/backendsfx" -p 1 -tags s3 -run 'TestS3$$' -timeout 15m

test-stores: testpostgres test-postgres-suite test-kubernetes test-kubernetes-suite test-nats test-nats-suite test-s3 test-s3-suite ## the tests and suites of PostgreSQL, Kubernetes, NATS and S3, one after the other, on a quiet machine

test-zookeeper: ## the example on ZooKeeper, and the suite on it, on real servers: takes Debian's zookeeper; three minutes
	cd examples/zookeeper && go vet -tags zookeeper . && go test -tags zookeeper -timeout 15m -v .

# FAR: the ttl and the part of a try that a round trip takes.
FAR ?= 1s/0.1,1s/0.5,1s/0.85,4s/0.1,4s/0.5,4s/0.85,10s/0.85

test-far: servers ## the suite far away from each store, at many distances: about a quarter of an hour
	go test ./backends/etcd ./backends/consul ./backends/raft -p 1 -run TestSuiteFar -far $(FAR) -timeout 60m -v

# CHAOS: how long machines fail; a night is CHAOS=8h.
CHAOS ?= 5m

raft-chaos: ## embedded Raft while its machines and their network fail, for CHAOS=5m and some minutes more: takes iproute2, and the right to make network namespaces
	go vet -tags chaos ./cmd/understudy ./internal/lab/hosts
	go test ./cmd/understudy -tags chaos -exec "unshare --net $$(test $$(id -u) = 0 || echo --map-root-user)" -run '^TestRaft(Returns|Chaos)$$' -chaos $(CHAOS) -timeout 24h -v

# ELECTIONS: how long nothing may happen; RUNS: of each figure.
ELECTIONS ?= 1h
RUNS ?= 11

raft-figures: servers ## what embedded Raft costs beside its floor and etcd: a commit, an election, catching up; and elections on a busy machine, in memory, for ELECTIONS=1h
	go test ./backends/raft -run '^$$' -bench '^BenchmarkCommit$$' -benchtime 1000x -timeout 1h
	go test ./backends/raft -run '^$$' -bench '^BenchmarkCatchUp$$' -benchtime 3x -timeout 1h
	go test ./cmd/understudy -run '^$$' -bench '^BenchmarkElection$$' -benchtime $(RUNS)x -timeout 1h
	TMPDIR=$$(mktemp -d -p /dev/shm) && export TMPDIR && { go test ./cmd/understudy -tags soak -run '^TestNoFalseElection$$' -soak $(ELECTIONS) -timeout 24h -v; code=$$?; rm -rf "$$TMPDIR"; exit $$code; }

log-stores: ## raft-boltdb beside raft-wal: commits, restarts, size and lost files; DIR: on which disk; three minutes
	cd internal/lab/logstores && go vet . && go test -v -timeout 30m -dir "$(DIR)" -commits 1000 .

test-mixed: ## a group of embedded Raft of this build and an earlier one, which it builds from the repository's history: two minutes
	go vet -tags mixed ./cmd/understudy
	go test ./cmd/understudy -tags mixed -run TestMixedBuilds -timeout 15m -v

soak: ## random walks over the protocol for an hour, and the search for every planted mistake
	go test ./coordinator/internal/machine -run 'TestWalks|TestMutants' -timeout 24h -soak 1h -v

soakwitness: servers ## 1,000 faults on wrapper, command and witness, on each store: about an hour
	go test ./cmd/understudy -run 'TestAnyOne|TestStoppedTogether' -rounds 1000 -timeout 24h -v

soakstate: servers ## 1,000 faults on contenders with a replicated log, on each store: two hours
	go test ./state -run TestKilled -faults 1000 -timeout 24h -v

testcontainer: servers ## run as the first process of a real container: takes Docker
	go test -tags container ./cmd/understudy -run TestContainer -v

test-systemd: ## the units under a real systemd, in namespaces of its own: takes root and Debian's systemd; a minute and a half
	go test ./deploy -tags systemd -run TestSystemd -v

release: ## tarballs, deb, rpm, checksums and SBOMs of this commit, the same bytes each time: dist/
	deploy/release/release.sh

release-images: ## images of what is in dist/, from scratch and without a pull: takes Docker
	deploy/release/images.sh

test-deploy: servers ## a release twice, its image, its package installed and upgraded, the files for Compose: root, Debian's systemd, Docker, docker-compose
	go test ./deploy -tags systemd,compose -run 'TestRelease|TestCompose' -v -timeout 30m

api: ## compares what every package exports with the baseline
	.ci/api

api-update: ## a change of the exported API is meant: writes the baseline anew
	.ci/api update

mutants: servers ## changes one condition after another, and counts what no test notices: MUTANTS='-package backends/kv'
	go run ./internal/mutants $(MUTANTS)

lint: ## golangci-lint, built from tools/go.mod; and no function that nothing reaches
	go tool -modfile=tools/go.mod golangci-lint run ./...
	.ci/dead

# The race detector needs cgo. Its processes wait for a second as they end, for races of what is left running: the
# tests themselves fail of what is.
export GORACE ?= atexit_sleep_ms=0
RACE := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

# The tests find the servers here, unless these name others.
export UNDERSTUDY_ETCD ?= $(CURDIR)/bin/etcd
export UNDERSTUDY_CONSUL ?= $(CURDIR)/bin/consul
export UNDERSTUDY_NATS_SERVER ?= $(CURDIR)/bin/nats-server
export UNDERSTUDY_KUBE_APISERVER ?= $(CURDIR)/bin/kube-apiserver
export UNDERSTUDY_VERSITYGW ?= $(CURDIR)/bin/versitygw

.PHONY: record-monitoring test-monitoring help build demo servers test test-docs-long bench baselines bench-soak bench-pairs benchmarks test-report test-baselines test-far raft-chaos raft-figures log-stores test-mixed soak soakwitness soakstate testloss testpostgres test-postgres-suite test-kubernetes test-kubernetes-suite test-nats test-nats-suite test-s3 test-s3-suite test-stores test-zookeeper testcontainer test-systemd test-chart test-helm deploy-soak manifests release release-images test-deploy api api-update lint mutants
