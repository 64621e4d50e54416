//go:build !race

package lab

// Race says that the race detector is on.
const Race = false
