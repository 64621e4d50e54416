// Package fencingraft keeps small values beside the roles, in embedded Raft and in every other store
// whose Locker is a lock.Values, and refuses the writes of a term that is over. The comparison is
// part of the commit that writes, so no moment passes between the two.
package fencingraft

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// MaxBytes is how many bytes of keys and values a group of embedded Raft keeps in total. They are in
// the memory and in the snapshots of every node: room for what a coordinator must find again, such
// as how far it came, but not a database. lock.Values.Limits says what another store takes.
const MaxBytes = 1 << 20

// A KV writes under the guard of one term. It is safe for concurrent use.
type KV struct {
	values lock.Values
	role   string
	token  lock.Token
}

// NewKV returns a KV of the term of a role. locker must be a lock.Values. All roles of a store share
// its keys. It fails with lock.ErrPermanent for a locker of another store, and for an invalid role or
// token.
//
// From the first Write on, every node of the group must know values: a node that runs an older
// program stops, and says so.
func NewKV(locker lock.Locker, role string, t lock.Token) (*KV, error) {
	values, ok := locker.(lock.Values)
	if !ok {
		return nil, lock.Permanent(fmt.Errorf("this store keeps no values: use one of %s", lock.ValueStores))
	}
	return &KV{values, role, t}, fencing.Check(role, t)
}

// Write puts and deletes (nil) values, in one step, if the term goes on. Otherwise it fails with
// a *fencing.StaleError, having written nothing. A key must be valid as a role's name, of parts
// that are separated by single slashes. It fails with lock.ErrPermanent for an invalid key, and where a limit of the store
// would be exceeded. After any other error the outcome is unknown: the write may take effect later,
// as long as the term goes on.
func (k *KV) Write(ctx context.Context, changes map[string][]byte) error {
	current, err := k.values.Write(ctx, k.role, k.token, changes, nil)
	if errors.Is(err, lock.ErrMoved) {
		return &fencing.StaleError{Role: k.role, Token: k.token, Current: current}
	}
	return err
}

// Put writes one value, as Write does.
func (k *KV) Put(ctx context.Context, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return k.Write(ctx, map[string][]byte{key: value})
}

// Read returns the values of the keys that exist; all if none is named. A key that ends in "/"
// stands for all that begin with it. It is never older than what was written before it began: a
// new active finds every accepted write of the terms before, and no more of them are accepted.
// In embedded Raft each Read is an entry of the log.
func (k *KV) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	return k.values.Read(ctx, keys...)
}

// Get returns one value, and whether there is one, as Read does.
func (k *KV) Get(ctx context.Context, key string) (value []byte, ok bool, err error) {
	found, err := k.Read(ctx, key)
	value, ok = found[key]
	return value, ok, err
}
