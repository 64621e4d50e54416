package etcd_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestConnectionThatFallsSilent: a connection that stands and loses what comes, from whichever
// word of the member on, keeps nobody from the next one, which is well.
func TestConnectionThatFallsSilent(t *testing.T) {
	c := start(t, 1)
	for words := range 5 {
		t.Run(fmt.Sprint(words), func(t *testing.T) {
			t.Parallel()
			deafConnections(t, c.Members[0].Addr(), 1, words)
		})
	}
	t.Run("three in a row", func(t *testing.T) { // gRPC says that it has failed after two, and waits for the third
		t.Parallel()
		deafConnections(t, c.Members[0].Addr(), 3, 0)
	})
}

// deafConnections works on a store whose first connections hear so many words each.
func deafConnections(t *testing.T, address string, deafs int32, words int) {
	dial, made := lab.Deaf(deafs, words)
	l, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{address}, Prefix: t.Name(), Dial: dial})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	lab.WorksBehindDeaf(t, l, 30*time.Second, made)
}
