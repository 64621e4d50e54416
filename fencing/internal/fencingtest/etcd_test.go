package fencingtest

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/fencing/fencingetcd"
	"github.com/understudy-ha/understudy/lock"
)

// TestEtcd: what a term may write, and that the same is refused for good from the moment
// at which it is over.
func TestEtcd(t *testing.T) {
	client, c := etcdClient(t), newContest(t, storeOf(t, "etcd", nil, 0))
	ctx, key, other := within(t, time.Minute), prefix(t)+"-data/k", prefix(t)+"-data/other"
	s, token := c.term()
	mine := fencingetcd.NewKV(client, prefix(t), "r", token)
	put, err := mine.Put(ctx, key, "1")
	must(t, err)
	found, err := mine.Get(ctx, key)
	must(t, err)
	if len(found.Kvs) != 1 || found.Kvs[0].ModRevision != put.Header.Revision {
		t.Fatalf("put at %d, found %v", put.Header.Revision, found.Kvs)
	}
	put, err = mine.Put(ctx, key, "2", clientv3.WithPrevKV())
	if err != nil || string(put.PrevKv.GetValue()) != "1" {
		t.Fatal(put, err)
	}
	// The caller's own comparisons keep their meaning.
	txn := func(kv clientv3.KV, if_ string) (*clientv3.TxnResponse, error) {
		return kv.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", if_)).
			Then(clientv3.OpPut(other, "then"), clientv3.OpGet(key)).
			Else(clientv3.OpGet(key)).Commit()
	}
	r, err := txn(mine, "2")
	if err != nil || !r.Succeeded || len(r.Responses) != 2 || r.Header.GetRevision() <= put.Header.Revision {
		t.Fatal(r, err)
	}
	r, err = txn(mine, "1")
	if err != nil || r.Succeeded || string(r.Responses[0].GetResponseRange().Kvs[0].Value) != "2" {
		t.Fatal(r, err)
	}
	deleted, err := mine.Delete(ctx, other)
	if err != nil || deleted.Deleted != 1 {
		t.Fatal(deleted, err)
	}

	// Nobody else is active yet: a write is good until the end stands in the role's record.
	c.evict(s)
	last := "2"
	if _, err = mine.Put(ctx, key, "3"); err != nil {
		wantStale(t, err, token, token)
	} else {
		last = "3"
	}
	_, next := c.term()
	refused := func(kv clientv3.KV, token, current lock.Token) {
		t.Helper()
		_, err := kv.Put(ctx, key, "stale")
		wantStale(t, err, token, current)
		_, err = kv.Delete(ctx, key)
		wantStale(t, err, token, current)
		_, err = txn(kv, last)
		wantStale(t, err, token, current)
	}
	refused(mine, token, next)
	refused(fencingetcd.NewKV(client, prefix(t), "r", token), token, next) // that had not read the record before
	refused(fencingetcd.NewKV(client, prefix(t), "r", next+1), next+1, next)
	found, err = client.Get(ctx, key)
	if err != nil || string(found.Kvs[0].Value) != last {
		t.Fatal(found, err)
	}
}

// TestEtcdOver: a term that was released is over, though no other began; a raised floor
// shifts tokens from revisions; and where there is no role nobody writes.
func TestEtcdOver(t *testing.T) {
	client, c := etcdClient(t), newContest(t, storeOf(t, "etcd", nil, 0))
	ctx, key := within(t, time.Minute), prefix(t)+"-data"
	c.over(func(token lock.Token) func() error {
		guard := fencingetcd.NewKV(client, prefix(t), "r", token)
		return func() error { _, err := guard.Put(ctx, key, "v"); return err }
	}, func() error { _, err := client.Delete(ctx, kv.RoleKey(prefix(t), "r")); return err })
}
