package kv

import "github.com/understudy-ha/understudy/lock"

// RoleKey returns the key of a role's record below a prefix: DefaultPrefix if it is
// empty. During a term nobody writes it, so a write that compares its revision in the
// same transaction is refused as soon as the term is over.
func RoleKey(prefix, role string) string { return keysUnder(prefix).role(role) }

// Token returns the token of the term in a role's record, zero if there is no record, and whether
// the record says that the term goes on. It may say so after the holder's session has ended,
// until that is written into the record or another term begins: nobody else has written. It fails
// with lock.ErrPermanent if the record is newer than this program, or not ours.
func Token(r Record) (t lock.Token, stands bool, err error) {
	role, err := decodeRole(r)
	return role.token(), role.held(), err
}
