package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// Validate says which faults the chosen cases need that are neither provided, by a function of
// Store or Client, nor declared as lacking. For that it opens one store of New's and one Client.
// A suite that is not valid runs no case.
func (s Suite) Validate(ctx context.Context) (err error) {
	if s.New == nil {
		return errors.New("Suite.New: must be set")
	}
	store, err := s.New(ctx)
	if err != nil {
		return fmt.Errorf("Suite.New: %w", err)
	}
	if store.Close != nil {
		defer func() { err = errors.Join(err, store.Close()) }()
	}
	if store.Open == nil {
		return errors.New("Store.Open: must be set")
	}
	client, err := store.Open(ctx)
	if err != nil {
		return fmt.Errorf("Store.Open: %w", err)
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	var errs []error
	for _, f := range s.needed() {
		if where, given := given(f, store, client); !given && s.Lacks[f] == "" {
			errs = append(errs, fmt.Errorf("fault %s: neither is %s, nor does Suite.Lacks say why not", f, where))
		}
	}
	return errors.Join(errs...)
}

// needed are the faults that the chosen cases need, each once.
func (s Suite) needed() (all []Fault) {
	for _, c := range s.chosen() {
		all = append(all, c.needs...)
	}
	if s.Far > 0 {
		all = append(all, Far)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// given reports whether the fault is provided, and says what must be set for that.
func given(f Fault, s *Store, c *Client) (what string, ok bool) {
	if f == Operator {
		_, ok = c.Locker.(lock.Operator)
		return "Client.Locker a lock.Operator", ok
	}
	if f == Values {
		_, ok = c.Locker.(lock.Values)
		return "Client.Locker a lock.Values", ok
	}
	of := map[Fault]bool{
		Restart: s.Restart != nil, Pause: s.Pause != nil, KillLeader: s.KillLeader != nil, Save: s.Save != nil,
		Compact: s.Compact != nil, DeleteSession: s.DeleteSession != nil, RevokeLease: s.RevokeLease != nil,
		LoseNode: s.LoseNode != nil, DeleteRole: s.DeleteRole != nil, Overwrite: s.Overwrite != nil, Leftovers: s.Leftovers != nil,
	}
	if ok, known := of[f]; known {
		return "Store." + string(f) + " set", ok
	}
	of = map[Fault]bool{
		Cut: c.Cut != nil, CutReplies: c.CutReplies != nil, CutRequests: c.CutRequests != nil, Refuse: c.Refuse != nil, Far: c.Far != nil,
	}
	what, ok = "Client."+string(f), true
	if f != Far { // a cut must be healed
		what, ok = what+" or Client.Heal", c.Heal != nil
	}
	return what + " set", ok && of[f]
}
