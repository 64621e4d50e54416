package etcd

import (
	"fmt"
	"sync"
)

// A home is the cluster that the endpoints belong to, by its own ID. A restored cluster has a new
// one: then all members have it, or are silent. Whether it has the records that were seen is not
// judged here: see package kv. This only keeps calls away from an endpoint that was named by
// mistake.
type home struct {
	mu      sync.Mutex
	cluster uint64       // 0: unknown
	away    map[int]bool // the members that were silent or elsewhere since one answered from it
	foreign map[int]bool // those whose last answer was for another one
}

// answered notes which cluster a member of n answered for. It fails while another member may
// still belong to the known one.
func (h *home) answered(i, n int, cluster uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cluster != 0 && cluster != h.cluster {
		h.note(i)
		h.foreign[i] = true
		if len(h.away) < n {
			return fmt.Errorf("belongs to cluster %x, the others to %x: name members of one cluster", cluster, h.cluster)
		}
	}
	if h.cluster != cluster {
		clear(h.foreign)
	}
	h.cluster = cluster
	clear(h.away)
	delete(h.foreign, i)
	return nil
}

// belongs reports whether a member of n may be asked: its last answer was not for another
// cluster, or all of them answered so.
func (h *home) belongs(i, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.foreign[i] || len(h.foreign) == n
}

// silent notes that a member did not answer.
func (h *home) silent(i int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(i)
}

func (h *home) note(i int) {
	if h.away == nil {
		h.away, h.foreign = map[int]bool{}, map[int]bool{}
	}
	h.away[i] = true
}

// strange says why an answer from a cluster must not be believed.
func (h *home) strange(cluster uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cluster == 0 || cluster == h.cluster {
		return nil
	}
	return fmt.Errorf("it came from cluster %x, and not from %x", cluster, h.cluster)
}

// leave forgets the cluster: it is not the right one.
func (h *home) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cluster = 0
	clear(h.away)
	clear(h.foreign)
}
