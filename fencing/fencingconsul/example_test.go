package fencingconsul_test

import (
	"context"
	"errors"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing/fencingconsul"
)

// The work writes by its own client, to keys of its own, in the datacenter that keeps the
// role. Each transaction is refused once its term is over.
func ExampleKV_Txn() {
	var client *api.Client // of the program that works
	_ = func(ctx context.Context, term coordinator.Term) error {
		kv := fencingconsul.NewKV(client, "", term.Role, term.Token)
		ok, _, _, err := kv.Txn(api.TxnOps{
			{KV: &api.KVTxnOp{Verb: api.KVSet, Key: "billing/cursor", Value: []byte("42")}},
		}, (&api.QueryOptions{}).WithContext(ctx))
		if err == nil && !ok {
			err = errors.New("an operation of ours was refused")
		}
		return err // fencing.ErrStale: another is active
	}
}
