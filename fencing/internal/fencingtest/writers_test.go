package fencingtest

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencingconsul"
	"github.com/understudy-ha/understudy/fencing/fencingetcd"
	"github.com/understudy-ha/understudy/fencing/fencinggrpc"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
	"github.com/understudy-ha/understudy/fencing/fencingraft"
	"github.com/understudy-ha/understudy/lock"
)

type text = wrapperspb.StringValue

const method = "/resource/Put"

// dataKey is where contenders write in a store.
func dataKey(prefix string) string { return prefix + "-data" }

// writer is the user's code: it writes one value under the guard of a term.
func (c contender) writer(locker lock.Locker, role string, token lock.Token) (write func(context.Context, string) error, done func(), err error) {
	done = func() {}
	switch c.Guard {
	case "etcd":
		client, err := dialEtcd(c.Store.Etcd.Endpoints[0])
		if err != nil {
			return nil, nil, err
		}
		kv := fencingetcd.NewKV(client, c.Store.Etcd.Prefix, role, token)
		write = func(ctx context.Context, value string) error {
			_, err := kv.Put(ctx, dataKey(c.Store.Etcd.Prefix), value)
			return err
		}
		return write, func() { _ = client.Close() }, nil
	case "consul":
		client, transport, err := dialConsul(c.Store.Consul.Address)
		if err != nil {
			return nil, nil, err
		}
		kv := fencingconsul.NewKV(client, c.Store.Consul.Prefix, role, token)
		write = func(ctx context.Context, value string) error {
			put := &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: dataKey(c.Store.Consul.Prefix), Value: []byte(value)}}
			ok, _, _, err := kv.Txn(api.TxnOps{put}, (&api.QueryOptions{}).WithContext(ctx))
			if err == nil && !ok {
				err = fmt.Errorf("consul refused the put")
			}
			return err
		}
		return write, transport.CloseIdleConnections, nil
	case "raft":
		kv, err := fencingraft.NewKV(locker, role, token)
		return func(ctx context.Context, value string) error { return kv.Put(ctx, "data", []byte(value)) }, done, err
	case "http":
		client := &http.Client{Transport: &fencinghttp.Transport{}}
		return func(ctx context.Context, value string) error {
			return send(fencing.NewContext(ctx, role, token), client, http.MethodPut, c.URL, value, nil)
		}, done, nil
	case "grpc":
		conn, err := grpc.NewClient(c.URL, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(fencinggrpc.UnaryClient()))
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, value string) error {
			return conn.Invoke(fencing.NewContext(ctx, role, token), method, wrapperspb.String(value), &text{})
		}, func() { _ = conn.Close() }, nil
	}
	return nil, nil, fmt.Errorf("no guard %q", c.Guard)
}

// send makes one request, and reads the answer into answer, if it is not nil.
func send(ctx context.Context, client *http.Client, verb, url, body string, answer func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, verb, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	r, err := client.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	switch err := fencinghttp.Stale(r); {
	case err != nil:
		return err
	case r.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %s", verb, url, r.Status)
	case answer != nil:
		return answer(r)
	}
	return nil
}
