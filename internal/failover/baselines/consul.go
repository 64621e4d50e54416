package main

import (
	"context"
	"errors"

	"github.com/hashicorp/consul/api"
)

// consulLock is api.Lock with its defaults: a session of 15 s, and the server's
// lock-delay of 15 s.
func consulLock(ctx context.Context, c contender) error {
	config := api.DefaultConfig()
	config.Address = c.addresses[0]
	client, err := api.NewClient(config)
	if err != nil {
		return err
	}
	lock, err := client.LockOpts(&api.LockOptions{Key: c.key, Value: []byte(c.id)})
	if err != nil {
		return err
	}
	say("standby", 0)
	lost, err := lock.Lock(ctx.Done())
	if err != nil || lost == nil {
		return errors.Join(err, ctx.Err())
	}
	pair, _, err := client.KV().Get(c.key, &api.QueryOptions{RequireConsistent: true})
	if err != nil || pair == nil {
		return errors.Join(err, errors.New("the lock's key is gone"))
	}
	say("granted", pair.ModifyIndex)
	if err := workUntil(ctx, lost, pair.ModifyIndex); err != nil {
		return err
	}
	return lock.Unlock()
}
