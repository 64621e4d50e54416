//go:build !linux

package main

// traceWithoutWaiting has no way to do that here.
func traceWithoutWaiting() {}
