package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says which Consul agent to use, and as whom. Every field may be empty. The tags are
// those of backends.Store.
type Config struct {
	Address    string `setting:"the agent: HOST:PORT or https://HOST:PORT (default 127.0.0.1:8500)"`
	Prefix     string `setting:"the prefix of all keys (default understudy/)"`
	Datacenter string `setting:"the datacenter (default the agent's)"`
	Token      string `secret:"the ACL token"`
	TokenFile  string `setting:"the ACL token, for nobody else to read"` // instead of Token; read for every call, so that a new token needs no restart
	CAFile     string `setting:"authorities that sign Consul's certificates"`
	CertFile   string `setting:"our certificate"`
	KeyFile    string `setting:"its key"`
	ServerName string `setting:"the name in the agent's certificate (default its host)"`

	// RaftMultiplier is the servers' performance.raft_multiplier. No call uses it.
	RaftMultiplier int `plan:"performance.raft_multiplier of the Consul servers, for plan: 1 to 10" default:"5"`

	Logger *slog.Logger `json:"-"` // warns of certificates that expire; nil: none

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// DefaultAddress is where an agent listens on its own host.
const DefaultAddress = "127.0.0.1:8500"

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, lock.InFields(fmt.Errorf(format, args...), field))
	}
	switch host, _, err := c.address(); {
	case err != nil:
		bad("Address", "%q %w", clientconf.Shown(c.Address), err)
	case strings.HasPrefix(c.Address, "http://") && c.files().Used():
		bad("Address", "%q is without TLS, and there are files for TLS; write https://%s", c.Address, host)
	}
	if c.Datacenter != "" {
		errs = append(errs, lock.InFields(lock.CheckName("", c.Datacenter), "Datacenter"))
	}
	switch {
	case c.Token != "" && c.TokenFile != "":
		errs = append(errs, lock.InFields(errors.New("give one of them"), "Token", "TokenFile"))
	case c.Token != "" && !isToken(c.Token):
		bad("Token", "must be one token and nothing else")
	case c.TokenFile != "":
		if text, err := clientconf.Secret(c.TokenFile); err != nil {
			bad("TokenFile", "%w", err)
		} else if !isToken(text) {
			bad("TokenFile", "%q must hold one token and nothing else, in one line", c.TokenFile)
		}
	}
	return errors.Join(append(errs, clientconf.CheckPrefix(c.Prefix), c.files().Check())...)
}

func (c Config) files() clientconf.TLSFiles {
	return clientconf.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, Name: c.ServerName, Named: "ServerName"}
}

// address is HOST:PORT of the agent, and whether it speaks TLS.
func (c Config) address() (host string, secure bool, err error) {
	host, secure = c.Address, c.files().Used()
	if host == "" {
		host = DefaultAddress
	}
	wrong := errors.New("is not an agent's address; write HOST:PORT, http://HOST:PORT or https://HOST:PORT, such as " + DefaultAddress)
	if strings.Contains(host, "://") {
		u, err := url.Parse(host)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			return "", false, wrong
		}
		host, secure = u.Host, u.Scheme == "https"
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" {
		return "", false, wrong
	}
	if err := clientconf.CheckPort(port); err != nil {
		return "", false, fmt.Errorf("is not an agent's address: %w", err)
	}
	return host, secure, nil
}

// isToken reports whether text can be in a header.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
