//go:build nats

package nats_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestNumberAgain: after a restore NATS gives the same revisions to other values. A writer that has seen the
// earlier one does not replace the later one.
func TestNumberAgain(t *testing.T) {
	r := start(t, 1)
	ctx, kv := within(t, time.Minute), r.bucket(jetstream.KeyValueConfig{})
	a := register(t, ctx, open(t, r.config("g")), "a")
	restore, err := r.Save(ctx, t.TempDir())
	must(t, err)
	for range 5 {
		must(t, until(ctx, beat(a)))
	}
	revision := func() (n uint64) {
		must(t, until(ctx, func(ctx context.Context) error {
			e, err := kv.Get(ctx, "g")
			if err == nil {
				n = e.Revision()
			}
			return err
		}))
		return n
	}
	before := revision()
	must(t, restore(ctx))
	b := register(t, ctx, open(t, r.config("g")), "b")
	for revision() < before {
		must(t, until(ctx, beat(b)))
	}
	if now := revision(); now != before {
		t.Fatalf("revision %d, want %d again", now, before)
	}
	must(t, until(ctx, beat(a)))
	if err := until(ctx, beat(b)); err != nil {
		t.Errorf("b, which was registered since, was overwritten: %v", err)
	}
}
