package certs

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

// TestEvery: of errors that are joined each one counts, wherever the join stands; one that wraps several is one.
func TestEvery(t *testing.T) {
	t.Parallel()
	eof := func(err error) bool { return errors.Is(err, io.EOF) }
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, true},
		{io.ErrNoProgress, false},
		{fmt.Errorf("a: %w", io.EOF), true},
		{errors.Join(io.EOF, io.EOF), true},
		{errors.Join(io.EOF, io.ErrNoProgress), false},
		{fmt.Errorf("all: %w", errors.Join(io.EOF, fmt.Errorf("b: %w", io.ErrNoProgress))), false},
		{fmt.Errorf("%w: %w", io.EOF, io.ErrNoProgress), true},
	} {
		if got := Every(c.err, eof); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
