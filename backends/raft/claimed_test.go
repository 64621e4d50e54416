package raft

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestOutdatedListBeginsNoGroup: nodes that have lost their directories, all that their lists name, begin no second group while
// members that their lists do not name count them: these reach them, whether they have a leader or not.
func TestOutdatedListBeginsNoGroup(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]int{"with a leader": 2, "without": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGroup(t, 5, nil).start()
			first := acquire(t, register(t, g.lockers[4], "a"))
			for i := range lost {
				g.stop(i)
				must(t, os.RemoveAll(g.configs[i].Dir))
			}
			errs := make(chan error, lost)
			for i := range lost {
				c := g.configs[i]
				c.Peers, c.listen = c.Peers[:lost], 0
				go func() {
					n, err := open(timeout(t, 5*time.Second), c)
					if err == nil {
						err = errors.Join(errors.New("it began"), n.Close())
					}
					errs <- err
				}()
			}
			for range lost {
				if err := <-errs; !strings.Contains(err.Error(), g.nodes[4].dir.read().Group+" counts this node") {
					t.Errorf("want an error that names the group that there is: %v", err)
				}
			}
			if lost == 2 {
				g.start(0, 1) // with the whole list
				standing(t, g.lockers[0], holds(first))
			}
		})
	}
}

// TestNewGroupWhereAnotherWas: members that are stopped count nobody.
func TestNewGroupWhereAnotherWas(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	for i := range g.nodes {
		g.stop(i)
	}
	for i := range 2 {
		must(t, os.RemoveAll(g.configs[i].Dir))
		g.configs[i].Peers, g.configs[i].listen = g.configs[i].Peers[:2], 0
	}
	g.start(0, 1)
}
