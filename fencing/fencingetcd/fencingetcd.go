// Package fencingetcd makes etcd refuse the writes of a term that is over, for roles that package
// etcd keeps in the same cluster. The comparison is in the transaction of the write, so no moment
// passes between the two.
package fencingetcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/lock"
)

// NewKV returns client with the guard of one term before every write: a Put, a Delete, a Txn, and
// any other Op that writes is done only while the term goes on, and otherwise fails with a
// *fencing.StaleError, having written nothing. A Get is passed on unchanged. role and t are the
// term's; prefix is the prefix of the role's store: kv.DefaultPrefix if it is empty. The keys to
// write are the caller's own.
//
// A transaction is nested in another one. Its response is the inner one's, with the outer header;
// Succeeded reports the caller's own comparisons. The first write reads the role's record; the
// user of client needs the right to read it.
//
// What a new active reads includes every accepted write of the terms before. Compact bypasses the
// guard, and so do leases that are revoked or expire.
func NewKV(client clientv3.KV, prefix, role string, t lock.Token) clientv3.KV {
	return &guarded{KV: client, role: role, token: t, key: kv.RoleKey(prefix, role)}
}

type guarded struct {
	clientv3.KV
	role     string
	token    lock.Token
	key      string       // of the role's record
	revision atomic.Int64 // of the record while the term goes on; 0: not read yet
}

func (g *guarded) Put(ctx context.Context, key, value string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	r, err := g.Do(ctx, clientv3.OpPut(key, value, opts...))
	return r.Put(), err
}

func (g *guarded) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	r, err := g.Do(ctx, clientv3.OpDelete(key, opts...))
	return r.Del(), err
}

func (g *guarded) Txn(ctx context.Context) clientv3.Txn { return &txn{guarded: g, ctx: ctx} }

// Do does op if the term goes on, in one transaction.
func (g *guarded) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if op.IsGet() {
		return g.KV.Do(ctx, op)
	}
	revision, err := g.current(ctx)
	if err != nil {
		return clientv3.OpResponse{}, err
	}
	r, err := g.KV.Do(ctx, clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(g.key), "=", revision)},
		[]clientv3.Op{op},
		[]clientv3.Op{clientv3.OpGet(g.key)},
	))
	if err != nil {
		return clientv3.OpResponse{}, err
	}
	outer := r.Txn()
	if len(outer.Responses) != 1 {
		return clientv3.OpResponse{}, fmt.Errorf("etcd answered %d operations, one was asked", len(outer.Responses))
	}
	if !outer.Succeeded {
		return clientv3.OpResponse{}, g.stale(outer.Responses[0].GetResponseRange().GetKvs())
	}
	return inner(outer)
}

// inner is the response of the one operation in a transaction, as if the operation had been sent
// alone.
func inner(outer *clientv3.TxnResponse) (clientv3.OpResponse, error) {
	switch r := outer.Responses[0]; {
	case r.GetResponsePut() != nil:
		put := (*clientv3.PutResponse)(r.GetResponsePut())
		put.Header = outer.Header
		return put.OpResponse(), nil
	case r.GetResponseDeleteRange() != nil:
		del := (*clientv3.DeleteResponse)(r.GetResponseDeleteRange())
		del.Header = outer.Header
		return del.OpResponse(), nil
	case r.GetResponseTxn() != nil:
		txn := (*clientv3.TxnResponse)(r.GetResponseTxn())
		txn.Header = outer.Header
		return txn.OpResponse(), nil
	}
	return clientv3.OpResponse{}, errors.New("etcd answered another operation than was asked")
}

// current returns the revision of the role's record if the term goes on. It reads it once: it
// stays the same for the whole term.
func (g *guarded) current(ctx context.Context) (int64, error) {
	if err := fencing.Check(g.role, g.token); err != nil {
		return 0, err
	}
	if revision := g.revision.Load(); revision != 0 {
		return revision, nil
	}
	r, err := g.Get(ctx, g.key)
	if err != nil {
		return 0, fmt.Errorf("read the record of role %q: %w", g.role, err)
	}
	record := recordOf(r.Kvs)
	last, stands, err := kv.Token(record)
	switch {
	case err != nil:
		return 0, err
	case last != g.token || !stands:
		return 0, &fencing.StaleError{Role: g.role, Token: g.token, Current: last}
	}
	g.revision.Store(int64(record.Revision))
	return int64(record.Revision), nil
}

// stale is the error for the record that was found instead.
func (g *guarded) stale(found []*mvccpb.KeyValue) error {
	last, _, err := kv.Token(recordOf(found))
	if err != nil {
		return err
	}
	return &fencing.StaleError{Role: g.role, Token: g.token, Current: last}
}

func recordOf(found []*mvccpb.KeyValue) kv.Record {
	if len(found) == 0 {
		return kv.Record{}
	}
	return kv.Record{Key: string(found[0].Key), Value: found[0].Value, Revision: uint64(found[0].ModRevision)}
}

// A txn collects what clientv3.Txn is given.
type txn struct {
	*guarded
	ctx         context.Context
	if_         []clientv3.Cmp
	then, else_ []clientv3.Op
}

func (t *txn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.if_ = append(t.if_, cs...)
	return t
}

func (t *txn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.then = append(t.then, ops...)
	return t
}

func (t *txn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.else_ = append(t.else_, ops...)
	return t
}

func (t *txn) Commit() (*clientv3.TxnResponse, error) {
	r, err := t.Do(t.ctx, clientv3.OpTxn(t.if_, t.then, t.else_))
	return r.Txn(), err
}
