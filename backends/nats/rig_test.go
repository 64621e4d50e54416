//go:build nats

package nats_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	client "github.com/nats-io/nats.go"

	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var must, within, until, beat, register = lab.Must, lab.Within, lab.Until, lab.Beat, lab.Register

// A rig is real servers with a user root, and a user billing who has the rights of docs/nats.md.
type rig struct {
	testing.TB
	*servers.Cluster
}

func start(t testing.TB, n int) *rig {
	t.Helper()
	return &rig{t, serve.Start(t, "nats", n, servers.Options{Config: users(t, "secret")})}
}

// users are those of the rig, with the rights that docs/nats.md gives billing.
func users(t testing.TB, password string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/nats.md")
	must(t, err)
	rights := regexp.MustCompile(`(?s)permissions \{.*?\n\}`).FindString(string(page))
	if rights == "" {
		t.Fatal("docs/nats.md gives no rights")
	}
	return `authorization { users: [ { user: root, password: root }, { user: billing, password: ` + password + `, ` + rights + ` } ] }`
}

// admin is a connection that may do everything.
func (r *rig) admin() jetstream.JetStream {
	r.Helper()
	c, err := client.Connect("nats://root:root@" + r.Members[0].Addr())
	must(r, err)
	r.Cleanup(c.Close)
	js, err := jetstream.New(c)
	must(r, err)
	return js
}

// bucket makes one by hand.
func (r *rig) bucket(c jetstream.KeyValueConfig) jetstream.KeyValue {
	r.Helper()
	if c.Bucket == "" {
		c.Bucket = nats.DefaultName
	}
	kv, err := r.admin().CreateKeyValue(within(r, time.Minute), c)
	must(r, err)
	return kv
}

// config is that of a process that uses a group of contenders' key, as the user billing.
func (r *rig) config(group string, all ...*servers.Member) nats.Config {
	if len(all) == 0 {
		all = r.Members
	}
	var hosts []string
	for _, m := range all {
		hosts = append(hosts, m.Addr())
	}
	return nats.Config{URL: "nats://" + strings.Join(hosts, ","), Group: group, User: "billing", Password: "secret", MayForget: len(r.Members) == 1}
}

// open is a Locker that ends with the test.
func open(t testing.TB, c nats.Config) lock.Locker {
	t.Helper()
	l, err := nats.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}
