package etcd_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/internal/lab/storebench"
)

// BenchmarkCalls times each call of the contract beside the raw client.
func BenchmarkCalls(b *testing.B) {
	r := newRig(b, start(b, 1))
	raw := &raw{rig: r, value: fmt.Sprintf("%-400s", "x")}
	storebench.Calls(b, r.locker(), raw.do)
}

// A raw does round trips by the client alone.
type raw struct {
	*rig
	value string
	lease clientv3.LeaseID
}

func (w *raw) do(trip string) error {
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	var err error
	switch {
	case trip == "get":
		_, err = w.hand.Txn(ctx).Then(clientv3.OpGet("raw/a"), clientv3.OpGet("raw/b"), clientv3.OpGet("raw/c")).Commit()
	case trip == "grant" || w.lease == 0:
		var g *clientv3.LeaseGrantResponse
		if g, err = w.hand.Grant(ctx, 60); err == nil {
			w.lease = g.ID
		}
	case trip == "keep":
		_, err = w.hand.KeepAliveOnce(ctx, w.lease)
	case trip == "swap":
		none := func(key string) clientv3.Cmp { return clientv3.Compare(clientv3.ModRevision(key), "=", 0) }
		_, err = w.hand.Txn(ctx).If(none("raw/b"), none("raw/c"), none("raw/d"), none("raw/e")).
			Then(clientv3.OpPut("raw/a", w.value), clientv3.OpDelete("raw/c"), clientv3.OpDelete("raw/d")).Commit()
	default:
		_, err = w.hand.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("raw/b"), "=", 0)).
			Then(clientv3.OpPut("raw/a", w.value), clientv3.OpDelete("raw/c")).Commit()
	}
	return err
}
