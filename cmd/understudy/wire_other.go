//go:build !linux

package main

import (
	"errors"
	"os"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

type wire struct{}

func newWire() (*wire, *os.File, error) { return nil, nil, errors.ErrUnsupported }

func (*wire) say(string) error         { return errors.ErrUnsupported }
func (*wire) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (*wire) close()                   {}

type page struct{ file *os.File }

func newPage() (*page, error) { return nil, errors.ErrUnsupported }

func (*page) set(lock.Token, coordinator.Instant) {}
