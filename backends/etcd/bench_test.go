package etcd_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/understudy-ha/understudy/lock"
)

// BenchmarkCalls times each call of the contract, and in turn with it the raw
// client doing the same round trips with values as long. x-raw is the ratio of the
// medians.
func BenchmarkCalls(b *testing.B) {
	c := start(b, 1)
	r := newRig(b, c)
	l := r.locker()
	raw := &raw{rig: r, value: fmt.Sprintf("%-400s", "x")}
	var a, other lock.Session
	var token lock.Token
	var beat int64
	fresh := func() {
		a, other = r.join(l, "a"), r.join(l, "b")
		token = r.acquire(a)
	}
	over := func() {
		must(b, a.Close(r.ctx))
		must(b, other.Close(r.ctx))
	}
	nothing := func() {}
	for _, call := range []struct {
		name         string
		before       func()
		ours, theirs func() error
		after        func()
	}{
		{
			"Register", nothing, func() (err error) {
				a, err = l.Register(r.ctx, r.contender("a"), long, lock.Bid{Role: "r"})
				return err
			},
			func() error { return raw.do("get", "grant", "put") }, func() { must(b, a.Close(r.ctx)) },
		},
		{"Beat", fresh, func() error { return a.Beat(r.ctx) }, func() error { return raw.do("put") }, over},
		{"TryAcquire", fresh, func() error { _, err := a.TryAcquire(r.ctx, "q"); return err }, func() error { return raw.do("get", "put") }, over},
		{"Release", fresh, func() error { return a.Release(r.ctx, "r", token) }, func() error { return raw.do("get", "put") }, over},
		{"Handoff", fresh, func() error { return a.Handoff(r.ctx, "r", token, other.ID()) }, func() error { return raw.do("get", "put") }, over},
		{
			"Evict", func() { fresh(); _, beat = r.get("line/session/" + string(a.ID())) },
			func() error { return l.Evict(r.ctx, a.ID(), lock.Beat(beat), lock.End{By: "b", Why: "silent"}) },
			func() error { return raw.do("get", "keep", "put") }, over,
		},
		{"Close", fresh, func() error { return a.Close(r.ctx) }, func() error { return raw.do("get", "put", "get", "keep", "put") }, over},
	} {
		b.Run(call.name, func(b *testing.B) {
			r.ctx = b.Context()
			var ours, theirs []time.Duration
			time1 := func(all *[]time.Duration, f func() error) {
				begin := time.Now()
				must(b, f())
				*all = append(*all, time.Since(begin))
			}
			for b.Loop() {
				call.before()
				time1(&ours, call.ours)
				call.after()
				time1(&theirs, call.theirs)
			}
			slices.Sort(ours)
			slices.Sort(theirs)
			mine, plain := ours[len(ours)/2], theirs[len(theirs)/2]
			b.ReportMetric(float64(mine.Microseconds()), "µs")
			b.ReportMetric(float64(mine)/float64(plain), "x-raw")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A raw does round trips by the client alone.
type raw struct {
	*rig
	value string
	lease clientv3.LeaseID
}

func (w *raw) do(trips ...string) error {
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	for _, trip := range trips {
		var err error
		switch {
		case trip == "get":
			_, err = w.hand.Txn(ctx).Then(clientv3.OpGet("raw/a"), clientv3.OpGet("raw/b"), clientv3.OpGet("raw/c")).Commit()
		case trip == "grant" || w.lease == 0:
			var g *clientv3.LeaseGrantResponse
			if g, err = w.hand.Grant(ctx, 60); err == nil {
				w.lease = g.ID
			}
		case trip == "keep":
			_, err = w.hand.KeepAliveOnce(ctx, w.lease)
		default:
			_, err = w.hand.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision("raw/b"), "=", 0)).
				Then(clientv3.OpPut("raw/a", w.value), clientv3.OpDelete("raw/c")).Commit()
		}
		if err != nil {
			return err
		}
	}
	return nil
}
