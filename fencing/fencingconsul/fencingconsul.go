// Package fencingconsul makes Consul refuse the writes of a term that is over, for roles that
// package consul keeps in the same datacenter. The comparison is in the transaction of the write,
// so no moment passes between the two.
package fencingconsul

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// A KV writes under the guard of one term. It is safe for concurrent use.
type KV struct {
	client *api.Client
	role   string
	token  lock.Token
	key    string        // of the role's record
	index  atomic.Uint64 // of the record while the term goes on; 0: not read yet
}

// NewKV returns a KV of the term of a role. prefix is the prefix of the role's store:
// kv.DefaultPrefix if it is empty. The keys to write are the caller's own.
func NewKV(client *api.Client, prefix, role string, t lock.Token) *KV {
	return &KV{client: client, role: role, token: t, key: kv.RoleKey(prefix, role)}
}

// Txn is api.Txn's Txn, done only while the term goes on. Otherwise it fails with a
// *fencing.StaleError, having written nothing. The guard takes one of the 64 operations that
// Consul allows; results and errors are numbered as the caller's operations are, without the
// guard. ops may be in any order and may be guards themselves. The first call reads the role's
// record; the token of q needs the right to do so.
//
// What a new active reads with RequireConsistent includes every accepted write of the terms
// before.
func (k *KV) Txn(ops api.TxnOps, q *api.QueryOptions) (bool, *api.TxnResponse, *api.QueryMeta, error) {
	index, err := k.current(q)
	if err != nil {
		return false, nil, nil, err
	}
	guard := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVCheckIndex, Key: k.key, Index: index}}
	ok, r, meta, err := k.client.Txn().Txn(append(api.TxnOps{guard}, ops...), q)
	if err != nil {
		return false, nil, nil, err
	}
	own := api.TxnErrors{}
	for _, e := range r.Errors {
		switch {
		case e.OpIndex > 0:
			own = append(own, &api.TxnError{OpIndex: e.OpIndex - 1, What: e.What})
		case k.refuses(e.What):
			return false, nil, nil, k.stale(q)
		default: // such as a right that is missing
			return false, nil, nil, fmt.Errorf("consul refused the comparison with the record of role %q: %s", k.role, e.What)
		}
	}
	r.Errors = own
	if ok {
		r.Results = r.Results[1:] // the first one is the comparison's
	}
	return ok, r, meta, nil
}

// refuses reports whether Consul's words mean that the record has changed.
func (k *KV) refuses(what string) bool {
	return what == fmt.Sprintf("failed to check index, key %q doesn't exist", k.key) ||
		strings.HasPrefix(what, fmt.Sprintf("failed index check for key %q,", k.key))
}

// current returns the index of the role's record if the term goes on. It reads it once: it stays
// the same for the whole term.
func (k *KV) current(q *api.QueryOptions) (uint64, error) {
	if err := fencing.Check(k.role, k.token); err != nil {
		return 0, err
	}
	if index := k.index.Load(); index != 0 {
		return index, nil
	}
	record, last, stands, err := k.read(q)
	switch {
	case err != nil:
		return 0, err
	case last != k.token || !stands:
		return 0, &fencing.StaleError{Role: k.role, Token: k.token, Current: last}
	}
	k.index.Store(record.Revision)
	return record.Revision, nil
}

// stale is the error for the current record.
func (k *KV) stale(q *api.QueryOptions) error {
	_, last, _, err := k.read(q)
	if err != nil {
		return fmt.Errorf("%w: role %q, token %d (which one is current: %w)", fencing.ErrStale, k.role, k.token, err)
	}
	return &fencing.StaleError{Role: k.role, Token: k.token, Current: last}
}

func (k *KV) read(q *api.QueryOptions) (r kv.Record, last lock.Token, stands bool, err error) {
	options := api.QueryOptions{}
	if q != nil {
		options = *q
	}
	options.RequireConsistent, options.AllowStale, options.UseCache = true, false, false
	options.WaitIndex, options.WaitTime = 0, 0
	pair, _, err := k.client.KV().Get(k.key, &options)
	if err != nil {
		return r, 0, false, fmt.Errorf("read the record of role %q: %w", k.role, err)
	}
	if pair != nil {
		r = kv.Record{Key: pair.Key, Value: pair.Value, Revision: pair.ModifyIndex}
	}
	last, stands, err = kv.Token(r)
	return r, last, stands, err
}
