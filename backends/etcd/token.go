package etcd

import (
	"context"
	"errors"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/credentials"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A token is what a member gave for the user's password. Every call carries it.
type token struct {
	mu    sync.Mutex
	text  string
	given int32 // on which connection; see wires
}

var _ credentials.PerRPCCredentials = (*token)(nil)

// GetRequestMetadata is what a call has to carry.
func (t *token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if text := t.now(); text != "" {
		return map[string]string{rpctypes.TokenFieldNameGRPC: text}, nil
	}
	return nil, nil
}

// RequireTransportSecurity leaves it to the operator whether there is TLS.
func (t *token) RequireTransportSecurity() bool { return false }

// now is the token; "": there is none.
func (t *token) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text
}

// hasToken reports whether there is a token of the current connection. One from an earlier
// connection may be of a server that was restored since: see drop.
func (at *member) hasToken() bool {
	at.token.mu.Lock()
	defer at.token.mu.Unlock()
	return at.token.text != "" && at.token.given == at.wires.dialed.Load()
}

// isStale reports whether a token was refused, and with it a call that did nothing.
func isStale(err error) bool {
	err = rpctypes.Error(err) // as a stream has it
	return errors.Is(err, errStale) || errors.Is(err, rpctypes.ErrInvalidAuthToken) || errors.Is(err, rpctypes.ErrAuthOldRevision)
}

// errStale replaces the error of a refused token below the client, which would ask for another
// and wait for it within the call.
var errStale = errors.New("etcd refuses the token")

// drop gives up the token with which a call failed, if it is still that one: the next call waits
// for another. A token names the index at which it was given, and a server that has not reached
// that index lets calls wait: for ever, if it was restored to an earlier state. So a token is
// given up, too, if a call with it has timed out on a later connection than the token's.
func (at *member) drop(used string, err error) {
	t := &at.token
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == used && (isStale(err) || at.wires.dialed.Load() > t.given) {
		t.text = ""
	}
}

// authenticate fetches a token. The password is read anew for each.
func (m *members) authenticate(ctx context.Context, at *member, c *clientv3.Client) error {
	password := m.config.Password
	if m.config.PasswordFile != "" {
		var err error
		if password, err = clientconf.Secret(m.config.PasswordFile); err != nil {
			return lock.Permanent(lock.InFields(err, "PasswordFile"))
		}
	}
	given := at.wires.dialed.Load()
	r, err := c.Authenticate(ctx, m.config.Username, password)
	if err != nil {
		return err
	}
	at.token.mu.Lock()
	defer at.token.mu.Unlock()
	at.token.text, at.token.given = r.Token, given
	return nil
}
