package etcd_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/fencing/fencingetcd"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// BenchmarkAppend appends to a log beside fenced puts of the raw client, by as many callers.
func BenchmarkAppend(b *testing.B) {
	r := newRig(b, start(b, 1))
	l := r.locker()
	var m void
	log, err := state.Open(b.Context(), l, "bench", func() *void { return &m }, state.Options{})
	if err != nil {
		b.Fatal(err)
	}
	command := fmt.Appendf(nil, "%-100s", "x")
	work := func(ctx context.Context, t coordinator.Term) error {
		raw := fencingetcd.NewKV(r.hand, strings.TrimSuffix(r.prefix, "/"), "bench", t.Token)
		for _, callers := range []int{1, 16, 256} {
			var n atomic.Int64
			for name, call := range map[string]func() error{
				"append": func() error { return log.Append(ctx, t, command) },
				"raw": func() error {
					_, err := raw.Put(ctx, fmt.Sprint("raw/", n.Add(1)), string(command))
					return err
				},
			} {
				b.Run(fmt.Sprintf("%s/%d", name, callers), func(b *testing.B) {
					b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if err := call(); err != nil {
								b.Error(err)
								return
							}
						}
					})
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
				})
			}
		}
		return nil
	}
	c := coordinator.Config{ID: "a", Roles: []lock.Bid{{Role: "bench"}}, Standby: log.Standby}
	if err := coordinator.Run(b.Context(), l, c, log.Work(work)); err != nil {
		b.Fatal(err)
	}
}

// A void is a machine that keeps nothing.
type void struct{}

func (*void) Apply([]byte)             {}
func (*void) Snapshot(io.Writer) error { return nil }
func (*void) Restore(io.Reader) error  { return nil }
