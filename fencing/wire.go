package fencing

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/understudy-ha/understudy/lock"
)

// The names by which a role and a token travel: headers of HTTP, and in lower case gRPC's
// metadata. All three are in a refusal by HTTP.
const (
	RoleHeader    = "Fencing-Role"    // percent-encoded, as a path element of a URL is
	TokenHeader   = "Fencing-Token"   // decimal
	CurrentHeader = "Fencing-Current" // decimal
)

// maxToken is the length of the longest valid number.
const maxToken = 20

// FormatRole returns a role as in RoleHeader.
func FormatRole(role string) string { return url.PathEscape(role) }

// FormatToken returns a token as in TokenHeader and CurrentHeader.
func FormatToken(t lock.Token) string { return strconv.FormatUint(uint64(t), 10) }

// Parse reads the values of a request. Its error is lock.ErrPermanent.
func Parse(role, token string) (string, lock.Token, error) {
	if most := 3 * lock.MaxName; len(role) > most { // percent-encoding makes three of a byte
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
