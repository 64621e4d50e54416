package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvtest"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/internal/lab/storebench"
	"github.com/understudy-ha/understudy/lock"
)

// opener starts a server, and opens stores that whoever asks for them closes.
func opener(t testing.TB) func() kv.Store {
	c := cluster(t, 1, servers.Options{})
	return func() kv.Store { return newStore(Config{Endpoints: endpoints(c)}) }
}

// TestStore: etcd is what package kv needs.
func TestStore(t *testing.T) { kvtest.Run(t, opener(t)) }

func BenchmarkTakeover(b *testing.B) { storebench.Takeover(b, opener(b)) }

func BenchmarkIdle(b *testing.B) { storebench.Idle(b, opener(b)) }

// TestKeep: a lease that is kept alive is renewed by the server.
func TestKeep(t *testing.T) {
	c := cluster(t, 1, servers.Options{})
	s, ctx := newStore(Config{Endpoints: endpoints(c)}), timeout(t, 20*time.Second)
	t.Cleanup(func() { must(t, s.Close()) })
	l, err := s.Grant(ctx, time.Minute)
	must(t, err)
	before := renewals(ctx, t, c)
	must(t, s.Keep(ctx, l))
	if n := renewals(ctx, t, c) - before; n != 1 {
		t.Errorf("%d renewals, want 1", n)
	}
}

// renewals is how many renewals of leases the server counts.
func renewals(ctx context.Context, t *testing.T, c *servers.Cluster) (n int) {
	_, rest, _ := strings.Cut(metrics(ctx, t, c), "\netcd_debugging_lease_renewed_total ")
	_, err := fmt.Sscan(rest, &n)
	must(t, err)
	return n
}

// metrics are what the first server shows.
func metrics(ctx context.Context, t *testing.T, c *servers.Cluster) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Members[0].Addr()+"/metrics", nil)
	must(t, err)
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	text, err := io.ReadAll(res.Body)
	must(t, errors.Join(err, res.Body.Close()))
	http.DefaultClient.CloseIdleConnections()
	return string(text)
}

// TestARecordThatIsTooLarge registers a contender with so many bids that its record is more than the server takes
// in one request: that is said at once, is for good, and leaves nothing.
func TestARecordThatIsTooLarge(t *testing.T) {
	open := opener(t)
	s, l, ctx := open(), kv.NewLocker(open(), ""), timeout(t, 20*time.Second)
	t.Cleanup(func() { must(t, s.Close()); must(t, l.Close()) })
	var bids []lock.Bid
	for i := range 2 << 20 / lock.MaxName {
		bids = append(bids, lock.Bid{Role: fmt.Sprintf("%0*d", lock.MaxName, i)})
	}
	if _, err := l.Register(ctx, lock.Contender{ID: "a", Session: "a-1"}, lock.Promise{TTL: time.Minute}, bids...); !errors.Is(err, lock.ErrPermanent) {
		t.Errorf("%v, want ErrPermanent", err)
	}
	v, err := s.Read(ctx, kv.DefaultPrefix)
	must(t, err)
	if len(v.Records) != 0 {
		t.Errorf("a part of it was written: %+v", v.Records)
	}
}
