// Package consul keeps the contract of package lock in a Consul datacenter of version 1.14 or
// later, through one agent. It uses plain transactions; Consul's sessions are only the janitor.
// Package kv says what each call compares and writes.
package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the datacenter. It connects when it is first used.
func Open(_ context.Context, c Config) (lock.Locker, error) {
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	return kv.NewLocker(s, c.Prefix), nil
}

// Hand returns a hand on the records that a Locker of the same Config keeps.
func Hand(c Config) (*kv.Hand, error) {
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	return kv.NewHand(s, c.Prefix), nil
}

// A store is the datacenter. Each call is one request to the agent, except for a transaction that
// Consul refuses.
type store struct {
	config Config
	client *api.Client
	token  token
	idle   func() // closes idle connections

	open   context.Context // done when the store is closed
	cancel context.CancelCauseFunc
}

var (
	_ kv.Store = (*store)(nil)

	errClosed = errors.New("the locker is closed")
)

func newStore(c Config) (*store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	host, secure, err := c.address()
	if err != nil {
		return nil, err
	}
	open, end := context.WithCancelCause(context.Background())
	t := newTransport(open, c, host)
	client, err := api.NewClient(&api.Config{
		Address: host, Scheme: schemes[secure], Datacenter: c.Datacenter, HttpClient: &http.Client{Transport: t},
	})
	if err != nil {
		end(err)
		return nil, fmt.Errorf("consul: %w", err)
	}
	s := &store{
		config: c, client: client, token: token{fixed: c.Token, file: c.TokenFile}, idle: t.wire.CloseIdleConnections,
		open: open, cancel: end,
	}
	go c.files().Mind(s.open, c.Logger)
	return s, nil
}

var schemes = map[bool]string{false: "http", true: "https"}

// call returns the context and the options of one request. The context is done
// when ctx is, and when the store is closed.
func (s *store) call(ctx context.Context) (*api.QueryOptions, *api.WriteOptions, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, beganKey{}, time.Now()))
	stop := context.AfterFunc(s.open, func() { cancel(errClosed) })
	done := func() { stop(); cancel(nil) }
	if ctx.Err() == nil && s.open.Err() != nil {
		cancel(errClosed)
	}
	if ctx.Err() != nil {
		done()
		return nil, nil, nil, context.Cause(ctx)
	}
	token := s.token.read()
	q := &api.QueryOptions{RequireConsistent: true, Token: token}
	return q.WithContext(ctx), (&api.WriteOptions{Token: token}).WithContext(ctx), done, nil
}

// Read is one transaction of reads. The greatest index of the records is the view's revision,
// because Consul does not return its own there.
func (s *store) Read(ctx context.Context, keys ...string) (kv.View, error) {
	var ops api.TxnOps
	for _, key := range keys {
		// Also for a prefix: records that we may not read are left out silently, but a single key
		// must have an answer.
		ops = append(ops, op(api.KVGetOrEmpty, key))
		if strings.HasSuffix(key, "/") {
			ops = append(ops, op(api.KVGetTree, key))
		}
	}
	results, failed, err := s.txn(ctx, ops)
	if err == nil && failed != nil {
		err = s.refusal(failed)
	}
	if err != nil {
		return kv.View{}, fmt.Errorf("read: %w", err)
	}
	found := map[string]kv.Record{}
	for _, r := range results {
		if r.KV != nil {
			found[r.KV.Key] = recordOf(r.KV)
		}
	}
	var v kv.View
	for _, key := range keys {
		if _, answered := found[key]; !answered {
			return kv.View{}, fmt.Errorf("read: %w", s.denied(fmt.Sprintf("reading %q", key)))
		}
	}
	for _, r := range found {
		if r.Revision != 0 {
			v.Records = append(v.Records, r)
			v.Revision = max(v.Revision, r.Revision)
		}
	}
	return v, nil
}

func recordOf(p *api.KVPair) kv.Record {
	return kv.Record{Key: p.Key, Value: p.Value, Revision: p.ModifyIndex, Lease: kv.Lease(p.Session)}
}

// Commit is one transaction: first the guards, then the writes. If it was refused without saying
// what the guarded keys are, a second one reads them.
func (s *store) Commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	r, err := s.commit(ctx, t)
	if err != nil {
		return kv.Result{}, fmt.Errorf("commit: %w", err)
	}
	return r, nil
}

func (s *store) commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	freed := map[string]bool{} // keys to take from another lease
	for {
		results, failed, err := s.txn(ctx, operations(t, freed))
		if err != nil {
			return kv.Result{}, err
		}
		if failed == nil {
			return committed(t, results)
		}
		var held string
		switch r := s.judge(t, failed); {
		case r.err != nil:
			return kv.Result{}, r.err
		case r.guard && allAbsent(t, failed):
			return kv.Result{}, nil
		case r.guard:
			var keys []string
			for _, g := range t.Guards {
				keys = append(keys, g.Key)
			}
			found, err := s.Read(ctx, keys...)
			return kv.Result{Found: found}, err
		default:
			held = r.held
		}
		if freed[held] {
			return kv.Result{}, s.refusal(failed)
		}
		freed[held] = true // nothing was written, so this does not repeat a write that may have been applied
	}
}

// committed takes the revision from the results of the writes.
func committed(t kv.Txn, results api.TxnResults) (kv.Result, error) {
	r := kv.Result{Committed: true}
	for _, one := range results { // by key: a delete and a guard for absence have none
		for _, w := range t.Writes {
			if one.KV != nil && w.Value != nil && one.KV.Key == w.Key {
				r.Revision = max(r.Revision, one.KV.ModifyIndex)
			}
		}
	}
	if r.Revision == 0 && slices.ContainsFunc(t.Writes, func(w kv.Write) bool { return w.Value != nil }) {
		return kv.Result{}, errors.New("consul committed without telling the index")
	}
	return r, nil
}

// txn sends one transaction. failed is why Consul refused it without writing anything.
func (s *store) txn(ctx context.Context, ops api.TxnOps) (results api.TxnResults, failed api.TxnErrors, err error) {
	q, _, done, err := s.call(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	ok, r, _, err := s.client.Txn().Txn(ops, q)
	switch {
	case err != nil:
		return nil, nil, s.explain(q, err)
	case ok:
		return r.Results, nil, nil
	case len(r.Errors) == 0:
		return nil, nil, errors.New("consul refused a transaction without saying why")
	}
	return nil, r.Errors, nil
}

func (s *store) Close() error {
	s.cancel(errClosed)
	s.idle()
	return nil
}
