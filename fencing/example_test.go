package fencing_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/understudy-ha/understudy/fencing"
)

// A resource in one process, spoken to by whatever protocol: enter the gate with what the
// request carries, and leave it when the request is done.
func ExampleGate() {
	gate := fencing.NewGate(&fencing.Memory{}, "billing")
	serve := func(role, token string) error {
		name, t, err := fencing.Parse(role, token)
		if err != nil {
			return err
		}
		ctx, leave, err := gate.Enter(context.Background(), name, t)
		if err != nil {
			return err
		}
		defer leave()
		return ctx.Err() // here the resource is written, as long as ctx stands
	}
	fmt.Println(serve("billing", "33"))
	fmt.Println(serve("billing", "34"))
	err := serve("billing", "33") // it was paused, and comes back
	fmt.Println(err)
	fmt.Println(errors.Is(err, fencing.ErrStale))
	// Output:
	// <nil>
	// <nil>
	// stale fencing token: role "billing", token 33: the current one is 34
	// true
}
