module github.com/understudy-ha/understudy/examples/zookeeper

go 1.26.0

replace github.com/understudy-ha/understudy => ../..

require (
	github.com/go-zookeeper/zk v1.0.4
	github.com/understudy-ha/understudy v0.0.0-00010101000000-000000000000
	go.uber.org/goleak v1.3.0
)

require (
	github.com/anishathalye/porcupine v1.3.1 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)
