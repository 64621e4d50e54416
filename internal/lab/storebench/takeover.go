package storebench

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/takeover"
)

// Takeover times takeovers, from the holder's stop to the successor's token, and
// in turn with them what the store needs for two writes and the delivery of the
// first. x-floor is the ratio of the medians.
func Takeover(b *testing.B, open func() kv.Store) {
	ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
	defer cancel()
	p := takeover.New(ctx, b, open)
	f := newFloor(ctx, b, open)
	var ours, floor []time.Duration
	for b.Loop() {
		token := p.Stage()
		ours = append(ours, p.Move(token, p.Holder.Close).Took)
		p.Over()
		floor = append(floor, f.once())
	}
	Ratio(b, ours, floor, "floor")
}

// A floor is one process that writes, and one that follows and writes then.
type floor struct {
	t        testing.TB
	ctx      context.Context
	one, two kv.Store
	key      string
	seen     chan struct{}
}

func newFloor(ctx context.Context, t testing.TB, open func() kv.Store) *floor {
	f := &floor{t: t, ctx: ctx, one: open(), two: open(), key: "floor/" + rand.Text(), seen: make(chan struct{})}
	f.write(f.one, f.key)
	v, err := f.two.Read(ctx, f.key)
	must(t, err)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range f.two.Follow(ctx, v, f.key) {
			if err == nil {
				f.seen <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		must(t, f.one.Close())
		must(t, f.two.Close())
	})
	return f
}

func (f *floor) write(s kv.Store, key string) {
	_, err := s.Commit(f.ctx, kv.Txn{Writes: []kv.Write{{Key: key, Value: []byte(strings.Repeat(rand.Text(), 16))}}})
	must(f.t, err)
}

func (f *floor) once() time.Duration {
	begin := time.Now()
	f.write(f.one, f.key)
	<-f.seen
	f.write(f.two, f.key+"2")
	return time.Since(begin)
}
