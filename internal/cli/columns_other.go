//go:build !unix

package cli

import "io"

// Columns has no way to know them here.
func Columns(io.Writer) int { return 0 }
