package ledger

import (
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// MaxAdopted is how many identities a ledger answers to in addition to its own: the latest.
const MaxAdopted = 16

// Is reports whether the ledger answers to an identity: its own, or an adopted one.
func (l *Ledger) Is(identity string) bool {
	return identity == l.Identity || slices.Contains(l.Adopted, identity)
}

func (l *Ledger) adopt(c Command) Result {
	if !l.Is(c.Adopt) {
		l.Adopted = append(l.Adopted, c.Adopt)
		l.Adopted = l.Adopted[max(0, len(l.Adopted)-MaxAdopted):]
	}
	return Result{Changed: true}
}

// A View is what a ledger says about its roles.
type View struct {
	Revision  uint64   // of the ledger
	Identity  string   `json:",omitempty"`
	Adopted   []string `json:",omitempty"`
	Standings []lock.Standing
	Epoch     uint64 `json:",omitempty"` // see Mark; set by the Store
	Written   uint64 `json:",omitempty"` // the revision of the last Write of values
}

// View has the standings of the named roles, or of all roles if none is named.
func (l *Ledger) View(roles ...string) View {
	return View{Revision: l.Revision, Identity: l.Identity, Adopted: slices.Clone(l.Adopted), Standings: l.Standings(roles...), Written: l.Written}
}

// Standings returns the standings of the named roles, or of all roles if none is named.
func (l *Ledger) Standings(roles ...string) []lock.Standing {
	if len(roles) == 0 {
		roles = l.names()
	}
	all := make([]lock.Standing, 0, len(roles))
	for _, role := range roles {
		all = append(all, l.Standing(role))
	}
	return all
}

// Is reports whether v's ledger answers to an identity.
func (v View) Is(identity string) bool {
	return identity == v.Identity || slices.Contains(v.Adopted, identity)
}

// Mark is v's moment.
func (v View) Mark() Mark { return Mark{v.Identity, v.Revision, v.Epoch} }

// A Mark is a moment in the history of one ledger.
type Mark struct {
	Identity string `json:",omitempty"` // empty: any ledger's
	Revision uint64 `json:",omitempty"`
	Epoch    uint64 `json:",omitempty"` // how often this Store was certain that its ledger was put back to what it had been
}

// After reports whether v is after m: it has a greater revision or a later epoch, or is of another
// ledger. A copy that has no identity yet may only be late.
func (v View) After(m Mark) bool {
	other := m.Identity != "" && v.Identity != "" && v.Identity != m.Identity
	return v.Epoch > m.Epoch || v.Epoch == m.Epoch && (v.Revision > m.Revision || other)
}
