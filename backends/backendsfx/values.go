package backendsfx

import (
	"context"
	"fmt"

	"github.com/understudy-ha/understudy/lock"
)

// Values are what package ledger's are: small values beside the roles, which the Lockers
// of some backends keep, and package fencingraft asks for.
type values interface {
	Write(ctx context.Context, role string, t lock.Token, changes map[string][]byte) (current lock.Token, err error)
	Read(ctx context.Context, keys ...string) (map[string][]byte, error)
}

// A keeping is a later whose Locker keeps values.
type keeping struct{ *later }

var _ values = keeping{}

func (k keeping) values(ctx context.Context) (values, error) {
	locker, err := k.wait(ctx)
	if err != nil {
		return nil, err
	}
	if v, ok := locker.(values); ok {
		return v, nil
	}
	return nil, lock.Permanent(fmt.Errorf("a %T keeps no values", locker))
}

func (k keeping) Write(ctx context.Context, role string, t lock.Token, changes map[string][]byte) (lock.Token, error) {
	v, err := k.values(ctx)
	if err != nil {
		return 0, err
	}
	return v.Write(ctx, role, t, changes)
}

func (k keeping) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	v, err := k.values(ctx)
	if err != nil {
		return nil, err
	}
	return v.Read(ctx, keys...)
}
