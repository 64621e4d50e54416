//go:build race

package lab

// Race says that the race detector is on: what only computes takes ten times as long then, so the long histories
// do a part of it, and the whole of it where it is off. `make test` does both.
const Race = true
