package fencingraft_test

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing/fencingraft"
	"github.com/understudy-ha/understudy/lock"
)

// The work finds how far the terms before came, and goes on from there. With embedded
// Raft the locker is raft.Open's; the memory store behaves as it does.
func Example() {
	locker := memory.New().Open()
	defer locker.Close()
	work := func(ctx context.Context, term coordinator.Term) error {
		kv, err := fencingraft.NewKV(locker, term.Role, term.Token)
		if err != nil {
			return err
		}
		cursor, found, err := kv.Get(ctx, "cursor")
		if err != nil {
			return err
		}
		fmt.Printf("cursor %q, found %v\n", cursor, found)
		return kv.Put(ctx, "cursor", []byte("42")) // fencing.ErrStale: another is active
	}
	for _, id := range []string{"a", "b"} {
		config := coordinator.Config{ID: id, Roles: []lock.Bid{{Role: "billing"}}}
		if err := coordinator.Run(context.Background(), locker, config, work); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// cursor "", found false
	// cursor "42", found true
}
