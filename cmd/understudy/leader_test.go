//go:build chaos || mixed

package main

import (
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/lab"
)

// leader waits until another node than the named one leads Raft.
func (r *trio) leader(not string) (id string) {
	r.t.Helper()
	r.eventually("somebody leads who is not "+not, func() bool {
		g, err := raft.Status(lab.Within(r.t, 3*time.Second), r.store.Raft)
		id = g.Leader
		return err == nil && id != "" && id != not
	})
	return id
}
