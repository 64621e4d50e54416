package consul

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
)

func op(verb api.KVOp, key string) *api.TxnOp {
	return &api.TxnOp{KV: &api.KVTxnOp{Verb: verb, Key: key}}
}

// operations are the transaction as Consul does it, the guards first. A guard for an index is
// never a delete-cas, which succeeds if there is no key.
func operations(t kv.Txn, freed map[string]bool) api.TxnOps {
	var ops api.TxnOps
	for _, g := range t.Guards {
		switch {
		case g.Exists:
			ops = append(ops, op(api.KVGet, g.Key))
		case g.Revision == 0:
			ops = append(ops, op(api.KVCheckNotExists, g.Key))
		default:
			at := op(api.KVCheckIndex, g.Key)
			at.KV.Index = g.Revision
			ops = append(ops, at)
		}
	}
	for _, w := range t.Writes {
		// A set leaves a key on the session that it is on, and a lock fails on a key of another
		// session: so the old key is deleted first.
		if w.Value == nil || w.Lease == "" || freed[w.Key] {
			ops = append(ops, op(api.KVDelete, w.Key))
		}
		if w.Value != nil {
			put := op(api.KVSet, w.Key)
			if w.Lease != "" {
				put = op(api.KVLock, w.Key)
			}
			put.KV.Value, put.KV.Session = w.Value, string(w.Lease)
			ops = append(ops, put)
		}
	}
	return ops
}

// A verdict is why a transaction was refused: one of these.
type verdict struct {
	err   error  // anything else
	guard bool   // a guard did not hold
	held  string // this key is on another lease than the one of its write
}

// judge tells the refusals apart. Consul answers all of them alike: only the texts distinguish a
// guard that did not hold from a missing right or a lock delay. Errors that Consul finds before
// it looks at any key come alone.
func (s *store) judge(t kv.Txn, failed api.TxnErrors) verdict {
	var v verdict
	var noLease bool
	for _, f := range failed {
		key, isHeld := heldKey(t, f.What)
		switch {
		case f.OpIndex < len(t.Guards) && refusedBy(t.Guards[f.OpIndex], f.What):
			v.guard = true
		case isHeld:
			v.held = key
		case strings.HasPrefix(f.What, "invalid session "):
			noLease = true
		default:
			return verdict{err: s.refusal(failed)}
		}
	}
	if !v.guard && noLease {
		return verdict{err: kv.ErrNoLease}
	}
	return v
}

// refusedBy reports whether the text is about a guard that did not hold.
func refusedBy(g kv.Guard, what string) bool {
	switch {
	case g.Exists:
		return what == fmt.Sprintf("key %q doesn't exist", g.Key)
	case g.Revision == 0:
		return what == fmt.Sprintf("key %q exists", g.Key)
	}
	return what == fmt.Sprintf("failed to check index, key %q doesn't exist", g.Key) ||
		strings.HasPrefix(what, fmt.Sprintf("failed index check for key %q,", g.Key))
}

// allAbsent reports whether a refusal says of every guarded key that it is missing: so it is with
// the beat of a session that is gone.
func allAbsent(t kv.Txn, failed api.TxnErrors) bool {
	for i, g := range t.Guards {
		missing := slices.ContainsFunc(failed, func(f *api.TxnError) bool {
			return f.OpIndex == i && strings.HasSuffix(f.What, fmt.Sprintf("key %q doesn't exist", g.Key))
		})
		exists := slices.ContainsFunc(failed, func(f *api.TxnError) bool { return f.OpIndex == i })
		if !missing && (exists || g.Exists || g.Revision != 0) {
			return false
		}
	}
	return true
}

func heldKey(t kv.Txn, what string) (key string, ok bool) {
	for _, w := range t.Writes {
		if what == fmt.Sprintf("failed to lock key %q, lock is already held", w.Key) {
			return w.Key, true
		}
	}
	return "", false
}

// refusal is the error of a transaction that was refused for a reason that none of our callers
// handles.
func (s *store) refusal(failed api.TxnErrors) error {
	what := failed[0].What
	switch {
	case strings.Contains(what, "Permission denied"):
		return s.denied(what)
	case strings.HasPrefix(what, "unknown KV verb"), strings.HasPrefix(what, "unknown KV operation"): // until 1.13, and since
		return permanent("the server is too old (%s); Consul 1.14 or later is needed", what)
	}
	return errors.New("consul refused: " + what)
}
