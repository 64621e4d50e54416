package backendsfx

import (
	"context"
	"fmt"
	"iter"

	"github.com/understudy-ha/understudy/lock"
)

// A keeping is a later whose Locker keeps values.
type keeping struct{ *later }

var _ lock.Values = keeping{}

func (k keeping) values(ctx context.Context) (lock.Values, error) {
	locker, err := k.wait(ctx)
	if err != nil {
		return nil, err
	}
	if v, ok := locker.(lock.Values); ok {
		return v, nil
	}
	return nil, lock.Permanent(fmt.Errorf("this store keeps no values: use one of %s", lock.ValueStores))
}

func (k keeping) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	v, err := k.values(ctx)
	if err != nil {
		return 0, err
	}
	return v.Write(ctx, role, t, changes, when)
}

func (k keeping) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	v, err := k.values(ctx)
	if err != nil {
		return nil, err
	}
	return v.Read(ctx, keys...)
}

func (k keeping) Follow(ctx context.Context, key string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		v, err := k.values(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		v.Follow(ctx, key)(yield)
	}
}

func (k keeping) Limits(ctx context.Context) (lock.Limits, error) {
	v, err := k.values(ctx)
	if err != nil {
		return lock.Limits{}, err
	}
	return v.Limits(ctx)
}
