package lock

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

var (
	// ErrHeld means that another session holds what was asked for, and that nothing
	// was changed. Wait for the next standing. It is never returned to the holder
	// itself.
	ErrHeld = errors.New("held by another")

	// ErrLost means that the session is gone for good. Stop, close it, register
	// again under a new ID. It is never returned for a call whose outcome is
	// unknown, however long the store has been silent.
	ErrLost = errors.New("session lost")

	// ErrMoved means that the beat or the term is not the current one any more, or that the role
	// is paused, and that nothing was changed. Look again.
	ErrMoved = errors.New("moved on")

	// ErrGone means that the named session has no record, or that the role is paused and cannot
	// be handed to it, and that nothing was changed. Look again.
	ErrGone = errors.New("no such session")

	// ErrRolledBack means that the store gives tokens that are not greater than one that it gave
	// before. Do not compete until the floor has been raised.
	ErrRolledBack = errors.New("the store was rolled back")

	// ErrOtherStore means that the store is not the one that this Locker has seen: it has another
	// identity, or none. Nothing was changed, and no standing was shown. Keep trying, and say so
	// once, until the old store is back or an operator has adopted the new one. It is always an
	// *OtherStoreError.
	ErrOtherStore = errors.New("another store")

	// ErrPermanent means that no try can succeed before somebody changes something: credentials,
	// a foreign value in our place, a newer format. It is never returned for a store that is
	// merely unreachable.
	ErrPermanent = errors.New("permanent failure")

	// ErrRefused means that the store answered, and refused the call for a reason that may pass
	// without anybody acting here: a password that is being changed, no connection left. Try again,
	// as after any error whose outcome is unknown.
	ErrRefused = errors.New("refused for now")
)

// Refusal returns err as an ErrRefused. It says what err says, and err stays in its chain.
// Refusal(nil) is nil.
func Refusal(err error) error {
	if err == nil {
		return nil
	}
	return &namedError{err, ErrRefused}
}

// Permanent returns err as an ErrPermanent. It says what err says, and err stays in its
// chain. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &namedError{err, ErrPermanent}
}

// A namedError is also the error of this package that is its name.
type namedError struct{ err, name error }

func (e *namedError) Error() string        { return e.err.Error() }
func (e *namedError) Unwrap() error        { return e.err }
func (e *namedError) Is(target error) bool { return target == e.name }

// An Outcome classifies how a call went by what its caller does next.
type Outcome uint8

// The outcomes, one for each of this package's errors.
const (
	Unknown Outcome = iota // it may have taken effect, or may yet: try again
	OK
	Held       // wait
	Lost       // register again
	Moved      // look again
	Gone       // look again
	RolledBack // do not compete
	OtherStore // wait for an operator
	Refused    // give up: ErrPermanent
)

// String is the outcome in a word or two.
func (o Outcome) String() string {
	return [...]string{"unknown", "ok", "held", "lost", "moved", "gone", "rolled back", "other store", "refused"}[o]
}

// OutcomeOf returns the outcome that an error of a Locker or Session means; nil: OK.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OK
	}
	for _, known := range []struct {
		err     error
		outcome Outcome
	}{
		{ErrHeld, Held},
		{ErrLost, Lost},
		{ErrMoved, Moved},
		{ErrGone, Gone},
		{ErrRolledBack, RolledBack},
		{ErrOtherStore, OtherStore},
		{ErrPermanent, Refused},
	} {
		if errors.Is(err, known.err) {
			return known.outcome
		}
	}
	return Unknown
}

// A HeldError names the holder of the role, or of the contender's ID, that was asked for. It is
// an ErrHeld.
type HeldError struct {
	Name   string // of the role or of the contender
	Holder Member
	Token  Token // of the holder's term; zero if Name is a contender's
}

// Error names what is held, by whom, where, and under which token.
func (e *HeldError) Error() string {
	where := ""
	if e.Holder.Address != "" {
		where = " at " + e.Holder.Address
	}
	if e.Token == 0 {
		return fmt.Sprintf("ID %q is in use by session %s%s", e.Name, e.Holder.Session, where)
	}
	return fmt.Sprintf("role %q is held by %q%s (token %d)", e.Name, e.Holder.ID, where, e.Token)
}

// Unwrap returns ErrHeld.
func (e *HeldError) Unwrap() error { return ErrHeld }

// An OtherStoreError says which store this Locker holds to, and which one it found instead. It is
// an ErrOtherStore.
type OtherStoreError struct {
	Seen  string // the identity that this Locker holds to
	Found string // the identity found now; empty: none
}

// Error names both, and the remedy.
func (e *OtherStoreError) Error() string {
	found := fmt.Sprintf("it has the identity %s", e.Found)
	switch e.Found {
	case "":
		found = "it has no identity, like an empty store"
	case e.Seen:
		found = "its identity is incomplete"
	}
	return fmt.Sprintf("%v: %s, but the store seen here before has %s; nothing was changed: "+
		"reach the old one again, or, if this one takes its place for good, run: understudy adopt --identity %s", ErrOtherStore, found, e.Seen, e.Seen)
}

// Unwrap returns ErrOtherStore.
func (e *OtherStoreError) Unwrap() error { return ErrOtherStore }

// MaxName is the greatest length of a name, in bytes.
const MaxName = 256

// CheckName says what is wrong with the name of a role or of a contender: it must be 1 to MaxName
// bytes of UTF-8 without unprintable characters. The error is ErrPermanent and begins with what,
// which may be empty.
func CheckName(what, name string) error {
	bad := func(why string, args ...any) error {
		return Permanent(errors.New(strings.TrimPrefix(fmt.Sprintf("%s %q: ", what, name)+fmt.Sprintf(why, args...), " ")))
	}
	switch {
	case name == "":
		return bad("must not be empty")
	case len(name) > MaxName:
		return bad("has %d bytes, the limit is %d", len(name), MaxName)
	case !utf8.ValidString(name):
		return bad("is not valid UTF-8")
	}
	for i, r := range name {
		if !unicode.IsPrint(r) {
			return bad("has the unprintable character %U at byte %d", r, i)
		}
	}
	return nil
}

// The limits of a Contender, whose record every reader of a role gets.
const (
	MaxAddress = 1024 // the greatest length of an address, in bytes
	MaxLabels  = 32   // each has a key and a value of at most MaxName bytes
)

// CheckContender says what is wrong with a contender: its ID and its session must be names, as CheckName has them, its
// address may have MaxAddress bytes, and it may have MaxLabels labels.
func CheckContender(c Contender) error {
	return errors.Join(CheckName("id", c.ID), CheckName("session", string(c.Session)), CheckAddress(c.Address), CheckLabels(c.Labels))
}

// CheckAddress says what is wrong with the address of a contender. The error is a FieldError.
func CheckAddress(address string) error {
	if len(address) > MaxAddress {
		return InFields(Permanent(fmt.Errorf("%q has %d bytes, the limit is %d", shortened(address), len(address), MaxAddress)), "Address")
	}
	return nil
}

// CheckLabels says what is wrong with the labels of a contender. Each error is a FieldError.
func CheckLabels(labels map[string]string) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, InFields(Permanent(fmt.Errorf(format, args...)), "Labels"))
	}
	if len(labels) > MaxLabels {
		bad("there are %d, the limit is %d", len(labels), MaxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		switch value := labels[key]; {
		case len(key) > MaxName:
			bad("the key %q has %d bytes, the limit is %d", shortened(key), len(key), MaxName)
		case len(value) > MaxName:
			bad("the value %q of %q has %d bytes, the limit is %d", shortened(value), key, len(value), MaxName)
		}
	}
	return errors.Join(errs...)
}

// shortened is the beginning of a text that is too long to be shown.
func shortened(text string) string {
	if len(text) <= 40 {
		return text
	}
	return strings.ToValidUTF8(text[:40], "") + "..."
}

// CheckBids says what is wrong with bids: each names a role, and no role is named twice.
func CheckBids(bids ...Bid) error {
	var errs []error
	seen := map[string]bool{}
	for _, b := range bids {
		errs = append(errs, CheckName("role", b.Role))
		if seen[b.Role] {
			errs = append(errs, Permanent(fmt.Errorf("role %q: there are two bids for it; give one", b.Role)))
		}
		seen[b.Role] = true
	}
	return errors.Join(errs...)
}

// MaxTTL is the longest TTL, and the longest skew.
const MaxTTL = 366 * 24 * time.Hour

// CheckPromise says what is wrong with a promise. One of zero is silent at once.
func CheckPromise(p Promise) error {
	if p.TTL < 0 || p.TTL > MaxTTL || p.Skew < 0 || p.Skew > MaxTTL {
		return Permanent(fmt.Errorf("promise of ttl %v and skew %v: each must be between 0 and %v", p.TTL, p.Skew, MaxTTL))
	}
	return nil
}

// CheckEnd says what is wrong with an end: it must say by whom or why.
func CheckEnd(e End) error {
	if e == (End{}) {
		return Permanent(errors.New("end: must say by whom or why"))
	}
	return nil
}

// CheckFloor says what is wrong with a token to raise above.
func CheckFloor(above Token) error {
	if above > MaxFloor {
		return Permanent(fmt.Errorf("above %d: must be at most %d", above, MaxFloor))
	}
	return nil
}
