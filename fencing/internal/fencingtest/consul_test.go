package fencingtest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/fencing/fencingconsul"
	"github.com/understudy-ha/understudy/lock"
)

func op(verb api.KVOp, key, value string) *api.TxnOp {
	return &api.TxnOp{KV: &api.KVTxnOp{Verb: verb, Key: key, Value: []byte(value)}}
}

// TestConsul: what a term may write, and that the same is refused for good from the
// moment at which it is over.
func TestConsul(t *testing.T) {
	client, c := consulClient(t), newContest(t, storeOf(t, "consul", nil, 0))
	q, key, other := (&api.QueryOptions{}).WithContext(within(t, time.Minute)), prefix(t)+"-data/k", prefix(t)+"-data/other"
	s, token := c.term()
	mine := fencingconsul.NewKV(client, prefix(t), "r", token)
	ok, r, _, err := mine.Txn(api.TxnOps{op(api.KVSet, key, "1"), op(api.KVGet, key, "")}, q)
	if err != nil || !ok || len(r.Results) != 2 || r.Results[0].KV.Key != key || string(r.Results[1].KV.Value) != "1" {
		t.Fatal(ok, r, err)
	}
	// The caller's own comparisons keep their meaning, and their place.
	ok, r, _, err = mine.Txn(api.TxnOps{op(api.KVSet, other, "1"), op(api.KVCheckNotExists, key, "")}, q)
	if err != nil || ok || len(r.Errors) != 1 || r.Errors[0].OpIndex != 1 || !strings.Contains(r.Errors[0].What, "exists") {
		t.Fatal(ok, r, err)
	}

	// Nobody else is active yet: a write is good until the end stands in the role's record.
	c.evict(s)
	last := "1"
	if ok, _, _, err = mine.Txn(api.TxnOps{op(api.KVSet, key, "2")}, q); err != nil {
		wantStale(t, err, token, token)
	} else if last = "2"; !ok {
		t.Fatal("refused without an error")
	}
	_, next := c.term()
	refused := func(kv *fencingconsul.KV, token, current lock.Token) {
		t.Helper()
		for _, verb := range []api.KVOp{api.KVSet, api.KVDelete, api.KVCheckNotExists} {
			ok, _, _, err := kv.Txn(api.TxnOps{op(verb, key, "stale")}, q)
			if wantStale(t, err, token, current); ok {
				t.Fatal("refused, and committed")
			}
		}
	}
	refused(mine, token, next)
	refused(fencingconsul.NewKV(client, prefix(t), "r", token), token, next) // that had not read the record before
	refused(fencingconsul.NewKV(client, prefix(t), "r", next+1), next+1, next)
	pair, _, err := client.KV().Get(key, q)
	if err != nil || string(pair.Value) != last {
		t.Fatal(pair, err)
	}
}

// TestConsulOver: a term that was released is over, though no other began; a raised floor
// shifts tokens from indexes; and where there is no role nobody writes.
func TestConsulOver(t *testing.T) {
	client, c := consulClient(t), newContest(t, storeOf(t, "consul", nil, 0))
	ctx := within(t, time.Minute)
	key := prefix(t) + "-data"
	c.over(func(token lock.Token) func() error {
		guard := fencingconsul.NewKV(client, prefix(t), "r", token)
		return func() error {
			ok, _, _, err := guard.Txn(api.TxnOps{op(api.KVSet, key, time.Now().String())}, nil)
			if err == nil && !ok {
				return errors.New("refused without an error")
			}
			return err
		}
	}, func() error {
		_, err := client.KV().Delete(kv.RoleKey(prefix(t), "r"), (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
}
