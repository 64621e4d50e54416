// Package etcd keeps the contract of package lock in an etcd cluster of version 3.5 or later. It
// uses plain transactions; etcd's leases are only the janitor. Package kv says what each call
// compares and writes.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the cluster. It connects when it is first used.
func Open(_ context.Context, c Config) (lock.Locker, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return kv.NewLocker(newStore(c), c.Prefix), nil
}

// Hand returns a hand on the records that a Locker of the same Config keeps.
func Hand(c Config) (*kv.Hand, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return kv.NewHand(newStore(c), c.Prefix), nil
}

// A store is the cluster. Each call is one request to one member.
type store struct {
	members *members
	prefix  string
}

var _ kv.Store = (*store)(nil)

func newStore(c Config) *store { return &store{members: newMembers(c), prefix: c.Prefix} }

func (s *store) Read(ctx context.Context, keys ...string) (kv.View, error) {
	var ops []clientv3.Op
	for _, key := range keys {
		ops = append(ops, get(key))
	}
	r, err := s.txn(ctx, clientv3.OpTxn(nil, ops, nil))
	if err != nil {
		return kv.View{}, fmt.Errorf("read: %w", err)
	}
	return viewOf(r), nil
}

func get(key string) clientv3.Op {
	if strings.HasSuffix(key, "/") {
		return clientv3.OpGet(key, clientv3.WithPrefix())
	}
	return clientv3.OpGet(key)
}

func (s *store) Commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	var if_ []clientv3.Cmp
	var then, else_ []clientv3.Op
	for _, g := range t.Guards {
		if g.Exists {
			if_ = append(if_, clientv3.Compare(clientv3.Version(g.Key), ">", 0))
		} else {
			if_ = append(if_, clientv3.Compare(clientv3.ModRevision(g.Key), "=", int64(g.Revision)))
		}
		else_ = append(else_, clientv3.OpGet(g.Key))
	}
	for _, w := range t.Writes {
		op, err := write(w)
		if err != nil {
			return kv.Result{}, err
		}
		then = append(then, op)
	}
	r, err := s.txn(ctx, clientv3.OpTxn(if_, then, else_))
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return kv.Result{}, kv.ErrNoLease
	case err != nil:
		return kv.Result{}, fmt.Errorf("commit: %w", err)
	case !r.Succeeded:
		return kv.Result{Found: viewOf(r)}, nil
	}
	return kv.Result{Committed: true, Revision: uint64(r.Header.Revision)}, nil
}

func write(w kv.Write) (clientv3.Op, error) {
	if w.Value == nil {
		return clientv3.OpDelete(w.Key), nil
	}
	if w.Lease == "" {
		return clientv3.OpPut(w.Key, string(w.Value)), nil
	}
	id, err := leaseID(w.Lease)
	return clientv3.OpPut(w.Key, string(w.Value), clientv3.WithLease(id)), err
}

func (s *store) txn(ctx context.Context, op clientv3.Op) (*clientv3.TxnResponse, error) {
	var r *clientv3.TxnResponse
	err := s.members.call(ctx, func(ctx context.Context, c *clientv3.Client) (*pb.ResponseHeader, error) {
		out, err := c.Do(ctx, op)
		if err != nil {
			return nil, err
		}
		r = out.Txn()
		return r.Header, nil
	})
	return r, err
}

// viewOf is what the gets of a transaction found.
func viewOf(r *clientv3.TxnResponse) kv.View {
	v := kv.View{Revision: uint64(r.Header.Revision)}
	for _, op := range r.Responses {
		for _, found := range op.GetResponseRange().GetKvs() {
			v.Records = append(v.Records, recordOf(found))
		}
	}
	return v
}

func recordOf(found *mvccpb.KeyValue) kv.Record {
	return kv.Record{
		Key: string(found.Key), Value: found.Value, Revision: uint64(found.ModRevision), Lease: leaseOf(found.Lease),
	}
}

// leaseOf writes a lease's ID as etcdctl does.
func leaseOf(id int64) kv.Lease {
	if id == 0 {
		return ""
	}
	return kv.Lease(strconv.FormatInt(id, 16))
}

func leaseID(l kv.Lease) (clientv3.LeaseID, error) {
	id, err := strconv.ParseInt(string(l), 16, 64)
	if err != nil {
		return 0, lock.Permanent(fmt.Errorf("%q is not a lease of etcd", l))
	}
	return clientv3.LeaseID(id), nil
}

// Follow watches at the member that answered last. It ends when that member's connection breaks,
// and when it has no leader: the client would wait silently.
func (s *store) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		began, err := s.follow(ctx, since, keys, yield)
		if isStale(err) && !began { // once more with another token
			_, err = s.follow(ctx, since, keys, yield)
		}
		if err != nil {
			yield(nil, s.members.explain(err))
		}
	}
}

// follow yields changes until it fails, or the consumer has enough: then err is nil. The watches
// have a stream of their own, because an open one keeps the token with which it began.
func (s *store) follow(ctx context.Context, since kv.View, keys []string, yield func([]kv.Record, error) bool) (began bool, err error) {
	ctx, end := context.WithCancelCause(clientv3.WithRequireLeader(ctx))
	var group sync.WaitGroup
	defer group.Wait()
	defer end(nil)
	i, c, err := s.members.contact(ctx)
	if err != nil {
		return false, err
	}
	at := s.members.all[i]
	token, watcher := at.token.now(), clientv3.NewWatcher(c)
	defer func() { end(nil); _ = watcher.Close() }()
	group.Go(func() { end(lost(ctx, c.ActiveConnection())) })
	all := make(chan clientv3.WatchResponse)
	for _, key := range keys {
		opts := []clientv3.OpOption{clientv3.WithRev(int64(since.Revision) + 1)}
		if strings.HasSuffix(key, "/") {
			opts = append(opts, clientv3.WithPrefix())
		}
		group.Go(func() { end(pass(ctx, watcher.Watch(ctx, key, opts...), all)) })
	}
	for {
		select {
		case r := <-all:
			if err := s.members.home.strange(r.Header.ClusterId); err != nil {
				return began, err
			}
			var changes []kv.Record
			for _, e := range r.Events {
				changes = append(changes, changeOf(e))
			}
			if began = true; !yield(changes, nil) {
				return began, nil
			}
		case <-ctx.Done():
			err := context.Cause(ctx)
			if errors.Is(err, rpctypes.ErrPermissionDenied) && token != "" { // older servers call it that, too
				at.drop(token, errStale)
			} else if isStale(err) {
				at.drop(token, err)
			}
			return began, err
		}
	}
}

// pass hands on what a watch sends, until it ends, and returns why.
func pass(ctx context.Context, from clientv3.WatchChan, to chan<- clientv3.WatchResponse) error {
	for r := range from {
		if err := r.Err(); err != nil {
			return refusal(err)
		}
		select {
		case to <- r:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.New("etcd ended the watch")
}

// refusal names why a watch was refused: the client passes on the server's text.
func refusal(err error) error {
	if _, text, ok := strings.Cut(err.Error(), " desc = "); ok {
		if named := rpctypes.Error(errors.New(text)); named.Error() == text {
			return named
		}
	}
	return err
}

func changeOf(e *clientv3.Event) kv.Record {
	if e.Type == clientv3.EventTypeDelete {
		return kv.Record{Key: string(e.Kv.Key), Gone: uint64(e.Kv.ModRevision)}
	}
	return recordOf(e.Kv)
}

func (s *store) Grant(ctx context.Context, ttl time.Duration) (l kv.Lease, err error) {
	seconds := int64((ttl + time.Second - 1) / time.Second)
	err = s.members.call(ctx, func(ctx context.Context, c *clientv3.Client) (*pb.ResponseHeader, error) {
		r, err := c.Grant(ctx, seconds)
		if err != nil {
			return nil, err
		}
		l = leaseOf(int64(r.ID))
		return r.ResponseHeader, nil
	})
	return l, err
}

// Keep makes one request on a stream of its own: the client's KeepAliveOnce goes on trying if
// there is no connection.
func (s *store) Keep(ctx context.Context, l kv.Lease) error {
	return s.lease(ctx, l, func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) (*pb.ResponseHeader, error) {
		ctx, cancel := context.WithCancel(ctx) // ends the stream
		defer cancel()
		stream, err := pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx, grpc.WaitForReady(false))
		if err != nil {
			return nil, rpctypes.Error(err)
		}
		if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
			return nil, rpctypes.Error(err)
		}
		r, err := stream.Recv()
		if err != nil {
			return nil, rpctypes.Error(err)
		}
		if r.TTL <= 0 {
			return nil, rpctypes.ErrLeaseNotFound
		}
		return r.Header, nil
	})
}

func (s *store) Revoke(ctx context.Context, l kv.Lease) error {
	return s.lease(ctx, l, func(ctx context.Context, c *clientv3.Client, id clientv3.LeaseID) (*pb.ResponseHeader, error) {
		r, err := c.Revoke(ctx, id)
		if err != nil {
			return nil, err
		}
		return r.Header, nil
	})
}

// lease makes one call about a lease.
func (s *store) lease(ctx context.Context, l kv.Lease, f func(context.Context, *clientv3.Client, clientv3.LeaseID) (*pb.ResponseHeader, error)) error {
	id, err := leaseID(l)
	if err != nil {
		return err
	}
	err = s.members.call(ctx, func(ctx context.Context, c *clientv3.Client) (*pb.ResponseHeader, error) { return f(ctx, c, id) })
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return kv.ErrNoLease
	}
	return err
}

// Elsewhere sends the next call to another member, of any cluster.
func (s *store) Elsewhere() {
	s.members.home.leave()
	s.members.pass(int(s.members.last.Load()))
}

func (s *store) Close() error { return s.members.close() }
