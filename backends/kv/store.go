// Package kv implements the contract of package lock on any key-value store that has transactions
// with comparisons, a watch, and leases that take keys with them. Packages etcd and consul are
// such stores. What each call compares and writes is written here, once, in the form of package
// ledger's transitions.
package kv

import (
	"context"
	"errors"
	"iter"
	"time"
)

// A Store is one process's access to one key-value store. It is safe for concurrent use. Every
// call obeys its context, and a call whose context is already done writes nothing. It does not
// retry anything that might have been applied. An error means that the outcome is unknown, unless
// it wraps ErrNoLease or lock.ErrPermanent.
//
// A key that ends in "/" stands for every key that begins with it.
type Store interface {
	// Read returns the records of the keys, all as of one revision, linearizably:
	// never older than anything that was committed before Read began.
	Read(ctx context.Context, keys ...string) (View, error)

	// Commit does all writes of t if all its guards hold, in one step, else none. If they do not,
	// Result.Found has the guarded keys, read in that step or after it. t has at most MaxOps
	// guards and writes; a key is written once, and may also be guarded.
	Commit(ctx context.Context, t Txn) (Result, error)

	// Follow yields every change of the keys since a View in which Read showed all of them, in
	// order for each key; changes that were overtaken may be left out. What one commit changed
	// under a key that ends in "/" comes in one step, possibly with what others changed at about
	// the same time. It ends with an error when a change might have been missed, and whenever ctx
	// is done; never without an error, and never silently while the store can be reached.
	Follow(ctx context.Context, since View, keys ...string) iter.Seq2[[]Record, error]

	// Grant returns a new lease. The store deletes the keys on it some time after it was last
	// kept alive: not before ttl, and within a few ttl.
	Grant(ctx context.Context, ttl time.Duration) (Lease, error)

	// Keep keeps a lease alive for another ttl. ErrNoLease: it is gone.
	Keep(ctx context.Context, l Lease) error

	// Revoke ends a lease, and deletes the keys on it.
	Revoke(ctx context.Context, l Lease) error

	// Close ends every call. It may be repeated, and called from anywhere.
	Close() error
}

// MaxOps is the most guards and writes that a transaction can have.
const MaxOps = 64

// ErrNoLease means that the lease is gone, and that nothing was written.
var ErrNoLease = errors.New("no such lease")

// A Lease is the store's own: etcd's lease, Consul's session. "": none.
type Lease string

// A Record is a key and its value.
type Record struct {
	Key      string
	Value    []byte
	Revision uint64 // of the write that made the value; 0: there is no such key
	Gone     uint64 // of the write that deleted the key, if a Follow can tell
	Lease    Lease  // that it is on
}

// A View is what Read found.
type View struct {
	Records  []Record // that exist, in any order
	Revision uint64   // no record is newer, and nothing up to it is missing
}

// Get returns the record of a key; its Revision is 0 if there is none.
func (v View) Get(key string) Record {
	for _, r := range v.Records {
		if r.Key == key {
			return r
		}
	}
	return Record{Key: key}
}

// A Txn is one transaction.
type Txn struct {
	Guards []Guard
	Writes []Write // one of a key at most
}

// A Guard is a condition on a key.
type Guard struct {
	Key      string
	Exists   bool   // it exists, at any revision
	Revision uint64 // else: its revision; 0: it does not exist
}

// A Write puts or deletes one key. Two puts never have the same value, so that
// each makes a revision.
type Write struct {
	Key   string
	Value []byte // nil: delete
	Lease Lease  // that the key is then on; "": none
}

// A Result is the outcome of a transaction.
type Result struct {
	Committed bool
	Revision  uint64 // of its writes: greater than that of every earlier write
	Found     View   // of the guarded keys, if it was not committed
}
