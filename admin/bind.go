package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/understudy-ha/understudy/lock"
)

// bind listens on an address, if there is one.
func bind(field, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, unbound(field, err)
	}
	return &bounded{Listener: l, hosts: map[string]int{}}, nil
}

// unbound says what to do where nobody may listen.
func unbound(field string, err error) error {
	cure := "free the address, or give another one"
	if errors.Is(err, fs.ErrPermission) {
		cure = "a port below 1024 takes a right that this user lacks; give a greater one"
	}
	return lock.InFields(fmt.Errorf("%w; %s", err, cure), field)
}
