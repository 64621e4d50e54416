//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/lock"
)

// TestFirstAtOnce: contenders that start at once in an empty schema make its table together, and each is
// registered by its first call.
func TestFirstAtOnce(t *testing.T) {
	r := start(t)
	ctx := within(t, 2*time.Minute)
	for round := range 10 {
		schema := fmt.Sprintf("fresh%d", round)
		r.hand("understudy", "create schema "+schema+" authorization billing")
		must(t, r.first(ctx, schema+".understudy", 8))
	}
}

// first registers so many contenders in one moment. Each has a row of its own, so that they meet at the
// table alone.
func (r *rig) first(ctx context.Context, table string, many int) error {
	begin, said := make(chan struct{}), make(chan error, many)
	for i := range many {
		c := config(fmt.Sprint("g", i), r.Members[0])
		c.Table = table
		l, err := postgres.Open(ctx, c)
		must(r, err)
		for range l.Watch(ctx, "r") { // which connects, and makes no table
			break
		}
		go func() {
			<-begin
			_, err := l.Register(ctx, lock.Contender{ID: "a", Session: "session of a"}, lock.Promise{TTL: time.Minute, Skew: time.Second})
			said <- errors.Join(err, l.Close())
		}()
	}
	close(begin)
	var all []error
	for range many {
		all = append(all, <-said)
	}
	return errors.Join(all...)
}
