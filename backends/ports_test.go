package backends_test

import (
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/backends/s3"
)

// TestPorts: every store that has its servers in settings refuses a port that there cannot be before it
// connects, and says which there can be.
func TestPorts(t *testing.T) {
	t.Parallel()
	for _, port := range []string{"0", "65536", "99999", "-1", "bar"} {
		big := port != "-1" && port != "bar" // others are not part of an address
		for name, c := range map[string]interface{ Validate() error }{
			"etcd":     etcd.Config{Endpoints: []string{"h:" + port}},
			"consul":   consul.Config{Address: "h:" + port},
			"nats":     nats.Config{URL: "nats://h:" + port},
			"postgres": postgres.Config{URL: "postgres://u@h:" + port + "/d?sslmode=disable"},
			"s3":       s3.Config{Bucket: "bucket", Endpoint: "https://h:" + port},
		} {
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "h:"+port) || big && !strings.Contains(err.Error(), "must be a number from 1 to 65535") {
				t.Errorf("%s with port %s: %v", name, port, err)
			}
		}
	}
}
