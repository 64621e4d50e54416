package ledger

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/understudy-ha/understudy/lock"
)

// MaxValues is how many bytes of keys and values a ledger keeps in total. They are in memory, in
// every snapshot and in one answer: room for what a coordinator must find again, such as how far
// it came, but not a database.
const MaxValues = 1 << 20

// Values are small values that are kept beside the roles, and written by the active of one of
// them. A Locker of NewLocker is a Values, too. It is safe for concurrent use.
type Values interface {
	// Write puts and deletes (nil) values, in one step, if the term t of the role goes on.
	// ErrMoved: it does not, nothing was written, and current is the token of the role's last
	// term. ErrPermanent: a key is not valid, or more than MaxValues bytes would be kept. After
	// any other error the outcome is unknown, as for every call.
	Write(ctx context.Context, role string, t lock.Token, changes map[string][]byte) (current lock.Token, err error)

	// Read returns the values of the keys that exist; all if none is named. A key that ends in
	// "/" stands for all that begin with it. It includes everything that anybody had written
	// before it began. Each Read is a command of its own.
	Read(ctx context.Context, keys ...string) (map[string][]byte, error)
}

var _ Values = (*locker)(nil)

func (l *locker) Write(ctx context.Context, role string, t lock.Token, changes map[string][]byte) (lock.Token, error) {
	r, err := l.propose(ctx, Command{Op: Write, Role: role, Token: t, Values: changes})
	return r.Token, err
}

func (l *locker) Read(ctx context.Context, keys ...string) (map[string][]byte, error) {
	r, err := l.propose(ctx, Command{Op: Read, Keys: keys})
	return r.Values, err
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
	l.Size = size
	return r
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
	size = l.Size
	for key, value := range c.Values {
		if old, ok := l.Values[key]; ok {
			size -= len(key) + len(old)
		}
		if value != nil {
			size += len(key) + len(value)
		}
	}
	if size > MaxValues {
		return 0, Result{Code: Permanent, Why: fmt.Sprintf("values: %d bytes would be kept in all, the limit is %d, and %d are kept now", size, MaxValues, l.Size)}
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
