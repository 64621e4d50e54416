package object

import (
	"context"
	"errors"
	"time"

	"github.com/understudy-ha/understudy/internal/backoff"
)

// A paced Object says to the gate how each call ended, except a Changed, which may stand on a
// connection of its own and be long.
type paced struct {
	Object
	store *store
}

func (p paced) Get(ctx context.Context) (Value, error) {
	v, err := p.Object.Get(ctx)
	p.store.ended(ctx, err, &p.store.refusal)
	return v, err
}

func (p paced) Put(ctx context.Context, data []byte, version string) (Value, error) {
	v, err := p.Object.Put(ctx, data, version)
	p.store.ended(ctx, err, &p.store.refused)
	return v, err
}

func (p paced) Start(ctx context.Context) (uint64, error) {
	n, err := p.Object.Start(ctx)
	p.store.ended(ctx, err, &p.store.refusal)
	return n, err
}

// ended notes how a call ended, in last. One that had no answer in its time took long enough.
func (s *store) ended(ctx context.Context, err error, last *error) {
	switch {
	case err == nil || errors.Is(err, ErrConflict):
		s.gate.Answered()
		err = nil
	case ctx.Err() == nil:
		s.gate.Failed(s.most())
	default:
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	*last = err
}

// most is the longest pause between two calls that fail at once.
func (s *store) most() time.Duration { return backoff.Most(s.sight().shortest()) }
