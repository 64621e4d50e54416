//go:build !linux

package procgroup

import "time"

// A Deadline is Linux's alone.
type Deadline struct{}

// NewDeadline returns one that nobody holds.
func NewDeadline() (*Deadline, error) { return &Deadline{}, nil }

// Set has nobody to tell.
func (*Deadline) Set(raw, boot time.Duration) {}
