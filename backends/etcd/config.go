package etcd

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

// A Config says which etcd cluster to use, and as whom. Every field but Endpoints may be empty.
// The tags are those of backends.Store.
type Config struct {
	Endpoints    []string `setting:"every member: HOST:PORT or https://HOST:PORT,..."`
	Prefix       string   `setting:"the prefix of all keys (default understudy/)"`
	Username     string   `setting:"the user, unless a certificate names it"`
	Password     string   `secret:"the user's password"`
	PasswordFile string   `setting:"the user's password, for nobody else to read"` // instead of Password; read anew when etcd refuses the password
	CAFile       string   `setting:"authorities that sign etcd's certificates"`
	CertFile     string   `setting:"our certificate"`
	KeyFile      string   `setting:"its key"`

	Logger *slog.Logger `json:"-"` // warns of certificates that expire; nil: none

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// ParseEndpoints reads a list of endpoints, such as "h1:2379,h2:2379".
func ParseEndpoints(text string) []string {
	var all []string
	for e := range strings.SplitSeq(text, ",") {
		if e = strings.TrimSpace(e); e != "" {
			all = append(all, e)
		}
	}
	return all
}

func (c Config) files() clientconf.TLSFiles {
	return clientconf.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, Dialled: "Endpoints"}
}

// secure reports whether connections use TLS.
func (c Config) secure() bool {
	for _, e := range c.Endpoints {
		if strings.HasPrefix(e, "https://") {
			return true
		}
	}
	return c.files().Used()
}

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, lock.InFields(fmt.Errorf(format, args...), field))
	}
	if len(c.Endpoints) == 0 {
		bad("Endpoints", "none given; write the address of each member, such as h1:2379,h2:2379,h3:2379")
	}
	seen := map[string]bool{}
	for _, e := range c.Endpoints {
		host, err := address(e)
		switch {
		case err != nil:
			bad("Endpoints", "%q %w", clientconf.Shown(e), err)
		case seen[host]:
			bad("Endpoints", "%q is given twice", e)
		case strings.HasPrefix(e, "http://") && c.secure():
			bad("Endpoints", "%q is without TLS, which other endpoints or the files have; write https://%s", e, host)
		}
		seen[host] = true
	}
	if c.Password != "" && c.PasswordFile != "" {
		errs = append(errs, lock.InFields(errors.New("give one of them"), "Password", "PasswordFile"))
	}
	if (c.Username == "") != (c.Password+c.PasswordFile == "") {
		field := "PasswordFile"
		if c.PasswordFile == "" && c.Password != "" {
			field = "Password"
		}
		errs = append(errs, lock.InFields(errors.New("give a user and a password, or neither; a user of a certificate needs neither"), "Username", field))
	} else if c.PasswordFile != "" {
		_, err := clientconf.Secret(c.PasswordFile)
		errs = append(errs, lock.InFields(err, "PasswordFile"))
	}
	return errors.Join(append(errs, clientconf.CheckPrefix(c.Prefix), c.files().Check())...)
}

// host is the host of a valid endpoint.
func host(endpoint string) string {
	a, _ := address(endpoint)
	h, _, _ := net.SplitHostPort(a)
	return h
}

// address is HOST:PORT of an endpoint.
func address(endpoint string) (string, error) {
	if strings.Contains(endpoint, "://") {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			return "", errors.New("is not an endpoint; write HOST:PORT, http://HOST:PORT or https://HOST:PORT")
		}
		endpoint = u.Host
	}
	host, port, _ := net.SplitHostPort(endpoint) // both are "" with an error
	if host == "" || port == "" {
		return "", errors.New("is not an endpoint; write HOST:PORT, such as h1:2379")
	}
	if err := clientconf.CheckPort(port); err != nil {
		return "", fmt.Errorf("is not an endpoint: %w", err)
	}
	return endpoint, nil
}
