package backends

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-ha/understudy/backends/consul"
	"github.com/understudy-ha/understudy/backends/etcd"
	"github.com/understudy-ha/understudy/backends/raft"
)

// Health is what a store's servers say about themselves; with embedded Raft, its voters.
type Health struct {
	Members []string // those that vote, sorted; empty: none, or unknown
	Leader  string   // one of Members; "": unknown
	Silent  []string // Members that do not answer, sorted
	Unasked bool     // not each of Members was asked, so that Silent says nothing
}

// Quorum is how many of the members must answer.
func (h Health) Quorum() int { return len(h.Members)/2 + 1 }

// Margin is how many more members may fail before nothing can be written; negative if too many
// have failed. ok is false if that is not known.
func (h Health) Margin() (n int, ok bool) {
	return len(h.Members) - len(h.Silent) - h.Quorum(), len(h.Members) > 0 && !h.Unasked
}

// String is one line for people; "": nothing is known.
func (h Health) String() string {
	if len(h.Members) == 0 {
		return ""
	}
	text := fmt.Sprintf("%d members, leader %s", len(h.Members), cmp.Or(h.Leader, "unknown"))
	if len(h.Members) == 1 {
		text = "1 member"
	}
	margin, known := h.Margin()
	if len(h.Silent) > 0 {
		text += ", silent: " + strings.Join(h.Silent, ", ")
	}
	switch {
	case !known:
	case margin < 0:
		text += fmt.Sprintf("; no majority: %d of %d must answer", h.Quorum(), len(h.Members))
	case margin == 0:
		text += "; none may fail"
	default:
		text += fmt.Sprintf("; %d more may fail", margin)
	}
	return text
}

func raftHealth(ctx context.Context, c Config) (Health, error) {
	g, err := raft.Inspect(ctx, c.Raft)
	return Health{Members: g.Voters, Leader: g.Leader, Silent: g.Silent}, err
}

func etcdHealth(ctx context.Context, c Config) (Health, error) {
	m, err := etcd.Inspect(ctx, c.Etcd)
	return healthOf(m.Members, m.Leader, m.Answered), err
}

func consulHealth(ctx context.Context, c Config) (Health, error) {
	s, err := consul.Inspect(ctx, c.Consul)
	return healthOf(s.Members, s.Leader, s.Healthy), err
}

// healthOf returns the health of a store's members. alive names those that answered; nil: not
// each was asked.
func healthOf(members []string, leader string, alive []string) Health {
	h := Health{Members: slices.Sorted(slices.Values(members)), Leader: leader, Unasked: alive == nil}
	for _, name := range h.Members {
		if alive != nil && !slices.Contains(alive, name) {
			h.Silent = append(h.Silent, name)
		}
	}
	return h
}
