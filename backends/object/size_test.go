package object_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// TestSizeOfTheValue: docs/kubernetes.md says how large the record becomes, with names as pods have them and
// a work that fails until the history is full.
func TestSizeOfTheValue(t *testing.T) {
	for contenders, most := range map[int]int{3: 14 << 10, 10: 18 << 10} {
		t.Run(fmt.Sprint(contenders), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				server := objectmem.New()
				var all sync.WaitGroup
				for i := range contenders {
					l := object.Open(server.Open(), limit)
					c := coordinator.Config{
						ID: fmt.Sprintf("rootcoord-7d9f8b6c5d-x2x%02d_billing", i), Roles: []lock.Bid{{Role: "billing"}},
						Logger: slog.New(slog.DiscardHandler), Now: coordinator.Virtual,
					}
					all.Go(func() {
						if err := coordinator.Run(ctx, l, c, func(context.Context, coordinator.Term) error {
							time.Sleep(20 * time.Millisecond)
							return errors.New("connecting to the metadata store at 10.96.14.7:9000: connection refused")
						}); err != nil {
							t.Error(err)
						}
						_ = l.Close()
					})
				}
				largest := 0
				for range 10 * 60 {
					time.Sleep(time.Second)
					largest = max(largest, len(server.Value().Data))
				}
				stop()
				all.Wait()
				t.Logf("%d contenders: %.1f KiB", contenders, float64(largest)/1024)
				if largest < most/2 || largest > most {
					t.Errorf("%d bytes, want at most %d and not far less: docs/kubernetes.md says how much", largest, most)
				}
			})
		})
	}
}
