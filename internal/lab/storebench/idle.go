package storebench

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A load counts what one process asks of the store, and what that tells it.
type load struct {
	kv.Store
	calls, told *atomic.Int64
}

func (l load) Read(ctx context.Context, keys ...string) (kv.View, error) {
	l.calls.Add(1)
	return l.Store.Read(ctx, keys...)
}

func (l load) Commit(ctx context.Context, t kv.Txn) (kv.Result, error) {
	l.calls.Add(1)
	return l.Store.Commit(ctx, t)
}

func (l load) Keep(ctx context.Context, lease kv.Lease) error {
	l.calls.Add(1)
	return l.Store.Keep(ctx, lease)
}

func (l load) Follow(ctx context.Context, since kv.View, keys ...string) iter.Seq2[[]kv.Record, error] {
	return func(yield func([]kv.Record, error) bool) {
		for changes, err := range l.Store.Follow(ctx, since, keys...) {
			l.told.Add(int64(max(1, len(changes))))
			if !yield(changes, err) {
				return
			}
		}
	}
}

// Idle counts what ten contenders of one role ask of a store while nothing
// happens, beside the floor: a beat of one every ttl/4, and of the others every 7/8 ttl.
func Idle(b *testing.B, open func() kv.Store) {
	const contenders, ttl, window = 10, 2 * time.Second, 10 * time.Second
	ctx, cancel := context.WithCancel(b.Context())
	var calls, told atomic.Int64
	var all sync.WaitGroup
	prefix := "idle/" + rand.Text()
	for i := range contenders {
		l := kv.NewLocker(load{open(), &calls, &told}, prefix)
		c := coordinator.Config{ID: fmt.Sprint(i), TTL: ttl, Roles: []lock.Bid{{Role: "r"}}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
		all.Go(func() {
			if err := coordinator.Run(ctx, l, c, func(ctx context.Context, _ coordinator.Term) error { <-ctx.Done(); return nil }); err != nil {
				b.Error(err)
			}
			if err := l.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	defer all.Wait()
	defer cancel()
	time.Sleep(2 * ttl) // until what the start caused has passed
	for b.Loop() {
		beforeCalls, beforeTold := calls.Load(), told.Load()
		time.Sleep(window) // the time that is measured
		b.ReportMetric(float64(calls.Load()-beforeCalls)/window.Seconds(), "calls/s")
		b.ReportMetric(float64(told.Load()-beforeTold)/window.Seconds(), "told/s")
	}
	one := coordinator.Config{TTL: ttl}
	b.ReportMetric(1/one.BeatEvery().Seconds()+(contenders-1)/one.IdleEvery().Seconds(), "floor/s")
	b.ReportMetric(0, "ns/op")
}
