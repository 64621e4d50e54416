package fencingetcd_test

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing/fencingetcd"
)

// The work writes by its own client, to keys of its own, in the cluster that keeps the
// role. Each write is refused once its term is over.
func ExampleNewKV() {
	var client *clientv3.Client // of the program that works
	_ = func(ctx context.Context, term coordinator.Term) error {
		kv := fencingetcd.NewKV(client, "", term.Role, term.Token)
		if _, err := kv.Put(ctx, "billing/cursor", "41"); err != nil {
			return fmt.Errorf("move the cursor: %w", err) // fencing.ErrStale: another is active
		}
		_, err := kv.Txn(ctx).
			If(clientv3.Compare(clientv3.Value("billing/cursor"), "=", "41")).
			Then(clientv3.OpPut("billing/cursor", "42"), clientv3.OpPut("billing/42", "paid")).
			Commit()
		return err
	}
}
