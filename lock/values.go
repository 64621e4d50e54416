package lock

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Values keeps small values beside the roles: the active of a role writes them, and everybody
// reads them. A Locker whose store can do so implements it: use a type assertion. All roles of a
// store share its keys. It is safe for concurrent use. Every call obeys its context as a Locker's
// does, and needs no session. Bad input is ErrPermanent, and nothing is written.
type Values interface {
	// Write puts and deletes (nil) values, in one commit in which the term t of the role stands and
	// in which every value of when is as given (nil: there is none). A term stands until its end is
	// written in the role's record, or the next one begins. ErrDiffers: a value is not as given, and
	// nothing was written. Any other ErrMoved: the term is over, nothing was written, and current is
	// the token of the role's last term. ErrPermanent: nothing was written, for example because a
	// limit would be exceeded. After any other error the outcome is unknown: the write may still
	// take effect later, while the term stands and the values are as given.
	Write(ctx context.Context, role string, t Token, changes, when map[string][]byte) (current Token, err error)

	// Read returns the values of the keys that exist, as of one moment; all if none is named. A key
	// that ends in "/" stands for all that begin with it. It includes everything that anybody had
	// written before it began.
	Read(ctx context.Context, keys ...string) (map[string][]byte, error)

	// Follow yields the value of a key now, and again after every change; nil: there is none. It may
	// skip what was overtaken, but never ends on a value that is stale. After an error it goes on when
	// the consumer does, and yields the value again, changed or not. It ends when ctx does.
	Follow(ctx context.Context, key string) iter.Seq2[[]byte, error]

	// Limits returns how much the store takes. It is the same for every call.
	Limits(ctx context.Context) (Limits, error)
}

// ValueStores names the stores whose Lockers are Values, for errors about the others.
const ValueStores = "raft, etcd, consul and memory"

// Limits are how much a store keeps under Values.
type Limits struct {
	Keys  int // that a call names, in changes and conditions together
	Write int // bytes of keys and values that one Write puts and compares
	Total int // bytes of keys and values in all. Where the store cannot count, the writer must keep to it
}

// ErrDiffers means that a value is not as the caller gave it, and that nothing was written. Look
// again. It is an ErrMoved.
var ErrDiffers = fmt.Errorf("a value is not as given: %w", ErrMoved)

// CheckKeys says what is wrong with the keys of a Read or a Follow. A key is a name, of parts that
// are separated by single slashes.
func (l Limits) CheckKeys(keys ...string) error {
	var errs []error
	if len(keys) > l.Keys {
		errs = append(errs, Permanent(fmt.Errorf("%d keys in one call, the limit is %d", len(keys), l.Keys)))
	}
	for _, key := range keys {
		errs = append(errs, checkKey(key, strings.TrimSuffix(key, "/")))
	}
	return errors.Join(errs...)
}

// CheckWrite says what is wrong with the arguments of a Write.
func (l Limits) CheckWrite(role string, changes, when map[string][]byte) error {
	errs := []error{CheckName("role", role)}
	if n := len(changes) + len(when); n > l.Keys {
		errs = append(errs, Permanent(fmt.Errorf("%d keys in one call, the limit is %d", n, l.Keys)))
	}
	size := 0
	for key, value := range changes {
		if value != nil {
			size += len(key) + len(value)
		}
		errs = append(errs, checkKey(key, key))
	}
	for key, value := range when {
		size += len(key) + len(value)
		errs = append(errs, checkKey(key, key))
	}
	if size > l.Write {
		errs = append(errs, Permanent(fmt.Errorf("values: %d bytes in one write, the limit is %d", size, l.Write)))
	}
	return errors.Join(errs...)
}

// checkKey says what is wrong with a key; parts is what of it is divided by slashes.
func checkKey(key, parts string) error {
	if err := CheckName("key", key); err != nil {
		return err
	}
	for part := range strings.SplitSeq(parts, "/") {
		if part == "" {
			return Permanent(fmt.Errorf("key %q: has an empty part; write single slashes, and none at its ends", key))
		}
	}
	return nil
}
