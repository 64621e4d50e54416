package main

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

func dial(c contender) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: c.addresses, DialTimeout: 5 * time.Second})
}

// etcdElection is concurrency.Election as its documentation has it.
func etcdElection(ctx context.Context, c contender) error {
	client, err := dial(c)
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(int(c.ttl.Seconds())))
	if err != nil {
		return err
	}
	defer session.Close()
	election := concurrency.NewElection(session, c.key)
	say("standby", 0)
	if err := election.Campaign(ctx, c.id); err != nil {
		return err
	}
	// The election's own revision is older than that of whoever waited less.
	now, err := client.Get(ctx, election.Key())
	if err != nil {
		return err
	}
	token := uint64(now.Header.Revision)
	say("granted", token)
	if err := workUntil(ctx, session.Done(), token); err != nil {
		return err
	}
	give, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return election.Resign(give)
}

// milvus is the recipe of the Milvus coordinators: one key under a lease; the loser
// watches it and tries again when it is deleted.
func milvus(ctx context.Context, c contender) error {
	client, err := dial(c)
	if err != nil {
		return err
	}
	defer client.Close()
	lease, err := client.Grant(ctx, int64(c.ttl.Seconds()))
	if err != nil {
		return err
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	say("standby", 0)
	for {
		got, err := client.Txn(ctx).If(clientv3.Compare(clientv3.Version(c.key), "=", 0)).
			Then(clientv3.OpPut(c.key, c.id, clientv3.WithLease(lease.ID))).Commit()
		if err != nil {
			return err
		}
		if got.Succeeded {
			say("granted", uint64(got.Header.Revision))
			return milvusActive(ctx, client, lease.ID, alive, uint64(got.Header.Revision))
		}
		if err := untilDeleted(ctx, client, c.key, got.Header.Revision+1); err != nil {
			return err
		}
		say("told", 0)
	}
}

func untilDeleted(ctx context.Context, client *clientv3.Client, key string, from int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for w := range client.Watch(ctx, key, clientv3.WithRev(from)) {
		if w.Err() != nil {
			return w.Err()
		}
		for _, e := range w.Events {
			if e.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	return errors.New("the watch ended")
}

func milvusActive(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID, alive <-chan *clientv3.LeaseKeepAliveResponse, token uint64) error {
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		for range alive { // it is closed when the lease is lost
		}
	}()
	if err := workUntil(ctx, lost, token); err != nil {
		return err
	}
	give, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := client.Revoke(give, lease)
	return err
}
