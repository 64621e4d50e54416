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
	Barred  []string // those of Silent with which TLS fails from here: they may well work; sorted
	Failing []string // Members that answer and cannot be relied on, as one whose disk is full; sorted
	Refuses string   // why every write is refused although members answer, and the way out; "": nothing is known of it
	Unasked bool     // not each of Members was asked, so that Silent says nothing
}

// Quorum is how many of the members must work.
func (h Health) Quorum() int { return len(h.Members)/2 + 1 }

// Margin is how many more members may fail before nothing can be written; negative if too many
// have failed. ok is false if that is not known, as where it hangs on members with which TLS fails.
func (h Health) Margin() (n int, ok bool) {
	n = len(h.Members) - len(h.Silent) - len(h.Failing) - h.Quorum()
	return n, len(h.Members) > 0 && !h.Unasked && (n >= 0 || n+len(h.Barred) < 0)
}

// String is one line for people; "": nothing is known.
func (h Health) String() string {
	if len(h.Members) == 0 {
		return ""
	}
	var away []string
	if len(h.Silent) > 0 {
		away = append(away, "silent: "+strings.Join(h.Silent, ", "))
	}
	if len(h.Failing) > 0 {
		away = append(away, "failing: "+strings.Join(h.Failing, ", "))
	}
	margin, known := h.Margin()
	if margin < 0 && !known && !h.Unasked {
		text := fmt.Sprintf("whether a majority works is not known here: TLS with %s fails", strings.Join(h.Barred, ", "))
		if h.Leader != "" {
			text += "; the leader is " + h.Leader + " by its own word"
		}
		return text
	}
	if known && margin < 0 { // what a leader says of itself counts for nothing then
		text := fmt.Sprintf("no majority: %d of %d must work; %s", h.Quorum(), len(h.Members), strings.Join(away, ", "))
		if h.Refuses != "" {
			text += "; " + h.Refuses
		}
		return text
	}
	text := fmt.Sprintf("%d members, leader %s", len(h.Members), cmp.Or(h.Leader, "unknown"))
	if len(h.Members) == 1 {
		text = "1 member"
	}
	text = strings.Join(append([]string{text}, away...), ", ")
	switch {
	case !known:
	case margin == 0:
		text += "; none may fail"
	default:
		text += fmt.Sprintf("; %d more may fail", margin)
	}
	if h.Refuses != "" {
		text += "; " + h.Refuses
	}
	return text
}

func raftHealth(ctx context.Context, c Config) (Health, error) {
	g, err := raft.Inspect(ctx, c.Raft)
	h := Health{Members: g.Voters, Leader: g.Leader, Silent: g.Silent, Barred: g.Barred, Failing: g.Failing}
	if n, known := h.Margin(); known && n < 0 && g.Fails != "" {
		h.Refuses = fmt.Sprintf("%s: %s", g.Failing[0], g.Fails)
	}
	return h, err
}

func etcdHealth(ctx context.Context, c Config) (Health, error) {
	m, err := etcd.Inspect(ctx, c.Etcd)
	h := healthOf(m.Members, m.Leader, m.Answered)
	if m.Full {
		h.Refuses = "out of space, so every write is refused: make room, then etcdctl alarm disarm (docs/etcd.md)"
	}
	return h, err
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
