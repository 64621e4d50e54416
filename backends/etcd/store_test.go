package etcd

import (
	"testing"

	"github.com/understudy-ha/understudy/backends/kv/kvtest"
	"github.com/understudy-ha/understudy/conformance/servers"
)

func TestStore(t *testing.T) {
	s := newStore(Config{Endpoints: endpoints(cluster(t, 1, servers.Options{}))})
	t.Cleanup(func() { must(t, s.Close()) })
	kvtest.Run(t, s, "kvtest/")
}
