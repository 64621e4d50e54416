//go:build !linux

package cli

// traceWithoutWaiting has no way to do that here.
func traceWithoutWaiting() {}
