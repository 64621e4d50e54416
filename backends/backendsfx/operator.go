package backendsfx

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// A later says only when it is open whether its store keeps what operators decide. Where it
// does not, the calls fail with lock.ErrPermanent.
var _ lock.Operator = (*later)(nil)

func (l *later) operator(ctx context.Context) (lock.Operator, error) {
	locker, err := l.wait(ctx)
	if err != nil {
		return nil, err
	}
	if op, ok := locker.(lock.Operator); ok {
		return op, nil
	}
	return nil, lock.Permanent(fmt.Errorf("a %T keeps nothing that operators decide", locker))
}

func (l *later) Pause(ctx context.Context, role string, p lock.Pause) error {
	op, err := l.operator(ctx)
	if err != nil {
		return err
	}
	return op.Pause(ctx, role, p)
}

func (l *later) Resume(ctx context.Context, role string, seen lock.Pause) error {
	op, err := l.operator(ctx)
	if err != nil {
		return err
	}
	return op.Resume(ctx, role, seen)
}

func (l *later) Configure(ctx context.Context, id string, s lock.Settings) error {
	op, err := l.operator(ctx)
	if err != nil {
		return err
	}
	return op.Configure(ctx, id, s)
}

func (l *later) Configured(ctx context.Context) (map[string]lock.Settings, error) {
	op, err := l.operator(ctx)
	if err != nil {
		return nil, err
	}
	return op.Configured(ctx)
}

func (l *later) Record(ctx context.Context, role string, e lock.Event) error {
	op, err := l.operator(ctx)
	if err != nil {
		return err
	}
	return op.Record(ctx, role, e)
}

func (l *later) History(ctx context.Context, role string) ([]lock.Event, error) {
	op, err := l.operator(ctx)
	if err != nil {
		return nil, err
	}
	return op.History(ctx, role)
}

func (l *later) Fence(ctx context.Context, role string, f lock.Fence) error {
	op, err := l.operator(ctx)
	if err != nil {
		return err
	}
	return op.Fence(ctx, role, f)
}
