package fencing

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/understudy-ha/understudy/lock"
)

// The names under which a role and a token travel: headers of HTTP, and in lower case
// gRPC's metadata. All three come back with a refusal by HTTP.
const (
	RoleHeader    = "Fencing-Role"    // percent-encoded, as a path element of a URL is
	TokenHeader   = "Fencing-Token"   // decimal
	CurrentHeader = "Fencing-Current" // decimal
)

// maxToken is the length of the longest number that is one.
const maxToken = 20

// FormatRole writes a role as RoleHeader has it.
func FormatRole(role string) string { return url.PathEscape(role) }

// FormatToken writes a token as TokenHeader and CurrentHeader have it.
func FormatToken(t lock.Token) string { return strconv.FormatUint(uint64(t), 10) }

// Parse reads what a request carries. Its error is lock.ErrPermanent.
func Parse(role, token string) (string, lock.Token, error) {
	if most := 3 * lock.MaxName; len(role) > most { // a byte is percent-encoded as three
		return "", 0, lock.Permanent(fmt.Errorf("%s has %d bytes, the limit is %d", RoleHeader, len(role), most))
	}
	if len(token) > maxToken {
		return "", 0, lock.Permanent(fmt.Errorf("%s has %d bytes, the limit is %d", TokenHeader, len(token), maxToken))
	}
	name, err := url.PathUnescape(role)
	if err != nil {
		return "", 0, lock.Permanent(fmt.Errorf("%s %q: must be percent-encoded", RoleHeader, role))
	}
	t, err := strconv.ParseUint(token, 10, 64)
	if err != nil {
		return "", 0, lock.Permanent(fmt.Errorf("%s %q: must be a decimal number", TokenHeader, token))
	}
	return name, lock.Token(t), Check(name, lock.Token(t))
}
