//go:build postgres || kubernetes || nats || s3

package main

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// testOutageIsFewLines is TestOutageIsFewLines on any store with servers: they hang for a minute, and then are dead for one.
func testOutageIsFewLines(t *testing.T, r *trio) {
	r.ttl = 4 * time.Second // enough for the slowest of these stores
	judge := hanging(r)
	time.Sleep(time.Minute) // it is the lines of a minute that are counted
	judge()
	r.settle()
	r.inLine(2)
	judge = r.lines(r.store.Backend, r.ids)
	time.Sleep(time.Minute) // and here
	judge()
	lab.Must(t, r.cluster.Restart(t.Context()))
	r.settle()
}
