package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// The limits of what a ledger keeps under lock.Values. All of it is in memory, in every snapshot, in
// one backup and in one answer: room for the log and the snapshots of a small state machine, but
// not a database.
const (
	MaxValues = 4 << 20 // bytes of keys and values in all
	MaxWrite  = 1 << 20 // bytes of keys and values in one Write
	maxKeys   = 1 << 10 // in one call
)

// maxBefore is MaxValues as programs know it that know no conditions. It holds until a Write with
// a condition was applied: then all who share the ledger know better.
const maxBefore = 1 << 20

var _ lock.Values = (*locker)(nil)

var limits = lock.Limits{Keys: maxKeys, Write: MaxWrite, Total: MaxValues}

func (l *locker) Write(ctx context.Context, role string, t lock.Token, changes, when map[string][]byte) (lock.Token, error) {
	if err := limits.CheckWrite(role, changes, when); err != nil {
		return 0, err
	}
	r, err := l.propose(ctx, Command{Op: Write, Role: role, Token: t, Values: changes, When: when})
	return r.Token, err
}

func (l *locker) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	if err := limits.CheckKeys(keys...); err != nil {
		return nil, err
	}
	r, err := l.propose(ctx, Command{Op: Read, Keys: keys})
	return r.Values, err
}

func (l *locker) Limits(context.Context) (lock.Limits, error) { return limits, nil }

// Follow looks for a later Write than the one that it has seen, and reads. Each Read is a command
// of its own.
func (l *locker) Follow(ctx context.Context, key string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		var seen, wrote Mark
		shown, bad := false, limits.CheckKeys(key)
		for ctx.Err() == nil {
			after := seen
			if !shown { // what is there already counts, too
				after.Revision = max(after.Revision, 1) - 1
			}
			v, err := l.store.Look(ctx, l.after(after), key)
			if err == nil {
				seen, err = v.Mark(), l.accept(v)
			}
			last := Mark{v.Identity, v.Written, v.Epoch}
			if err == nil && shown && last == wrote {
				continue
			}
			var found map[string][]byte
			if err = errors.Join(bad, err); err == nil {
				found, err = l.Read(ctx, key)
			}
			if l.over() {
				err = errClosed
			}
			if wrote, shown = last, err == nil; ctx.Err() != nil || !yield(found[key], err) || l.over() {
				return
			}
		}
	}
}

func (l *Ledger) write(c Command) Result {
	size, r := l.admit(c)
	if r.Code != OK {
		return r
	}
	if l.Values == nil {
		l.Values = map[string][]byte{}
	}
	for key, value := range c.Values {
		if value == nil {
			delete(l.Values, key)
		} else {
			l.Values[key] = bytes.Clone(value) // in memory the caller still has it
		}
	}
	l.Size, l.Written = size, l.Revision
	l.Conditions = l.Conditions || len(c.When) > 0
	return r
}

// Conditional reports whether only programs can apply c that know conditions of values.
func (c Command) Conditional() bool {
	return len(c.When) > 0 || c.Backup != nil && checkValues(c.Backup.Values, maxBefore) != nil
}

// Refusal is Apply's answer to a Write that it would refuse now; ok: it would not. So a store
// that logs commands need not log a large one that changes nothing.
func (l *Ledger) Refusal(c Command) (r Result, ok bool) {
	if c.Op != Write || c.Check() != nil || c.Identity != "" && !l.Is(c.Identity) {
		return Result{}, true
	}
	_, r = l.admit(c)
	r.Identity = l.Identity
	return r, r.Code == OK
}

// admit says how a Write would end, and how much would be kept then.
func (l *Ledger) admit(c Command) (size int, r Result) {
	now := l.Roles[c.Role].Term
	if c.Token == 0 || now.Token != c.Token || now.Over != "" {
		return 0, Result{Code: Moved, Token: now.Token}
	}
	for key, value := range c.When {
		if now, ok := l.Values[key]; ok != (value != nil) || !bytes.Equal(now, value) {
			return 0, Result{Code: Differs, Token: c.Token}
		}
	}
	size = l.Size
	for key, value := range c.Values {
		if old, ok := l.Values[key]; ok {
			size -= len(key) + len(old)
		}
		if value != nil {
			size += len(key) + len(value)
		}
	}
	most := maxBefore
	if l.Conditions || len(c.When) > 0 {
		most = MaxValues
	}
	if size > most {
		return 0, Result{Code: Permanent, Why: fmt.Sprintf("values: %d bytes would be kept in all, the limit is %d, and %d are kept now", size, most, l.Size)}
	}
	return size, Result{Token: now.Token}
}

func (l *Ledger) read(c Command) Result {
	found := map[string][]byte{}
	for key, value := range l.Values {
		if len(c.Keys) == 0 || names(c.Keys, key) {
			found[key] = bytes.Clone(value)
		}
	}
	return Result{Values: found}
}

// names reports whether one of the named keys stands for key.
func names(named []string, key string) bool {
	for _, n := range named {
		if n == key || strings.HasSuffix(n, "/") && strings.HasPrefix(key, n) {
			return true
		}
	}
	return false
}
