//go:build !linux

package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

type notices struct{}

func listenForNotices(time.Duration, *slog.Logger) (*notices, error) {
	return nil, errors.ErrUnsupported
}

func (*notices) environment() []string   { return nil }
func (*notices) follow(coordinator.Term) {}
func (*notices) close()                  {}
