package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/understudy-ha/understudy/lock"
)

// MaxBackup is how many bytes of decisions a Backup holds that can be restored; its values are at
// most MaxValues.
const MaxBackup = 2 << 20

// A Backup is what outlives a ledger: all that operators decide and that Values keeps, and how far
// tokens went. Sessions, terms and what happened are of the ledger alone.
type Backup struct {
	Identity string                   // of the ledger that it is of
	Adopted  []string                 `json:",omitempty"` // the identities to which that answered besides
	Revision uint64                   // of the last command that is in it
	Last     lock.Token               // every token up to then was at most this
	Paused   map[string]lock.Pause    `json:",omitempty"`
	Settings map[string]lock.Settings `json:",omitempty"`
	Values   map[string][]byte        `json:",omitempty"`
}

// A Keeper saves a ledger and restores it. A Locker of NewLocker is one too.
type Keeper interface {
	// Save returns a Backup, which is never older than what was acknowledged before it began.
	Save(ctx context.Context) (Backup, error)

	// Restore replaces decisions and values by those of b, in one step, has the ledger answer
	// to the identities of b, and makes every later token greater than above, and than any of b.
	// ErrPermanent: nothing was done, as where a contender is registered.
	Restore(ctx context.Context, b Backup, above lock.Token) error
}

var _ Keeper = (*locker)(nil)

func (l *locker) Save(ctx context.Context) (Backup, error) {
	r, err := l.propose(ctx, Command{Op: Save})
	if err == nil && r.Backup == nil {
		err = lock.Permanent(errors.New("save: the store answers without a backup"))
	}
	if err != nil {
		return Backup{}, err
	}
	return *r.Backup, nil
}

func (l *locker) Restore(ctx context.Context, b Backup, above lock.Token) error {
	_, err := l.propose(ctx, Command{Op: Restore, Backup: &b, Token: above})
	return err
}

// Backup returns what outlives l. It is a copy.
func (l *Ledger) Backup() Backup {
	return Backup{
		Identity: l.Identity, Adopted: slices.Clone(l.Adopted), Revision: l.Revision,
		Last: max(l.Floor, lock.Token(l.Revision+l.Offset)), Paused: maps.Clone(l.Paused), Settings: l.configured().Settings,
		Values: l.read(Command{}).Values,
	}
}

func (l *Ledger) save() Result {
	b := l.Backup()
	return Result{Backup: &b}
}

// Check says what is wrong with a backup that is to be restored. The error is lock.ErrPermanent.
func (b Backup) Check() error {
	errs := []error{checkValues(b.Values, MaxValues), lock.CheckFloor(b.Last)}
	for _, id := range b.identities() {
		errs = append(errs, lock.CheckName("identity", id))
	}
	size := 0
	for role, p := range b.Paused {
		errs = append(errs, lock.CheckName("role", role), lock.CheckPause(p))
		size += len(role) + len(p.By) + len(p.Why)
	}
	for id, s := range b.Settings {
		errs = append(errs, lock.CheckName("id", id), lock.CheckSettings(s))
		size += len(id) + len(s.By)
		for role := range s.Priorities {
			size += len(role) + 8
		}
	}
	if n := max(len(b.Paused), len(b.Settings)); n > MaxDecisions {
		errs = append(errs, lock.Permanent(fmt.Errorf("backup: %d decisions of one kind, the limit is %d", n, MaxDecisions)))
	}
	if size > MaxBackup {
		errs = append(errs, lock.Permanent(fmt.Errorf("backup: %d bytes of decisions, the limit is %d", size, MaxBackup)))
	}
	return errors.Join(errs...)
}

// identities are those to which the ledger answered that b is of, the latest last.
func (b Backup) identities() []string {
	if b.Identity == "" {
		return b.Adopted
	}
	return append(slices.Clone(b.Adopted), b.Identity)
}

func (c Command) checkBackup() error {
	if c.Backup == nil {
		return lock.Permanent(errors.New("restore: without a backup"))
	}
	return errors.Join(c.Backup.Check(), lock.CheckFloor(c.Token))
}

// restore refuses where somebody is registered: values would be others under an active's feet.
func (l *Ledger) restore(c Command) Result {
	if len(l.Sessions) > 0 {
		ids := slices.Sorted(maps.Keys(l.Claims))
		return Result{Code: Permanent, Why: fmt.Sprintf("restore: %d contenders are registered, such as %q: stop them all, or end the sessions of those that are dead by understudy evict", len(ids), ids[0])}
	}
	b := *c.Backup
	for _, id := range b.identities() {
		l.adopt(Command{Adopt: id})
	}
	l.Paused, l.Settings = maps.Clone(b.Paused), (&Ledger{Settings: b.Settings}).configured().Settings
	l.Values, l.Size = nil, 0
	for key, value := range b.Values {
		if l.Values == nil {
			l.Values = map[string][]byte{}
		}
		l.Values[key] = bytes.Clone(value)
		l.Size += len(key) + len(value)
	}
	l.Written, l.Conditions = l.Revision, l.Conditions || c.Conditional()
	return l.raise(Command{Token: max(c.Token, b.Last)})
}
