// Package backends opens a store by name.
package backends

import (
	"context"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/lock"
)

// Names are the stores that can be opened; the first is the default.
func Names() []string { return []string{"raft", "memory"} }

// A Config says which store, and how to reach it.
type Config struct {
	Backend string // one of Names
	Raft    raft.Config
}

// Check says whether there is such a store, and which name was meant.
func Check(backend string) error {
	best, distance := "", 3
	for _, name := range Names() {
		if name == backend {
			return nil
		}
		if d := edits(name, backend); d < distance {
			best, distance = name, d
		}
	}
	hint := ""
	if best != "" {
		hint = fmt.Sprintf("; did you mean %s?", best)
	}
	return fmt.Errorf("backend %q: must be one of %s%s", backend, strings.Join(Names(), ", "), hint)
}

// Open returns a contender's Locker: with raft, a member of the group.
func Open(ctx context.Context, c Config) (lock.Locker, error) {
	switch c.Backend {
	case "memory":
		return memory.New().Open(), nil
	case "raft":
		return raft.Open(ctx, c.Raft)
	}
	return nil, Check(c.Backend)
}

// Dial returns a Locker that only looks, asks and raises, from anywhere.
func Dial(c Config) (lock.Locker, error) {
	switch c.Backend {
	case "memory":
		return nil, fmt.Errorf("backend memory: is within one process; there is nothing to reach from outside")
	case "raft":
		return raft.Dial(c.Raft)
	}
	return nil, Check(c.Backend)
}

// edits is how many letters must be changed to make b of a (Levenshtein).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
