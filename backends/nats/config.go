package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says which NATS servers to use, and as whom. Every field but URL may be empty. The
// tags are those of backends.Store.
type Config struct {
	URL             string `setting:"the servers, with JetStream: tls://HOST:PORT,HOST:PORT, or nats:// without TLS"`
	Bucket          string `setting:"the key-value bucket (default understudy)"`
	Group           string `setting:"the key of this group of contenders (default understudy)"`
	User            string `setting:"the user"`
	Password        string `secret:"the user's password"`
	PasswordFile    string `setting:"the user's password, for nobody else to read"` // instead of Password; read for every connection
	Token           string `secret:"a token, instead of a user"`
	TokenFile       string `setting:"a token, for nobody else to read"`                                   // instead of Token; read for every connection
	CredentialsFile string `setting:"a user's JWT and seed, as nsc writes them, for nobody else to read"` // instead of both; read for every connection
	CAFile          string `setting:"authorities that sign the servers' certificates (default the system's)"`
	CertFile        string `setting:"our certificate"`
	KeyFile         string `setting:"its key"`
	ServerName      string `setting:"the name in the servers' certificate (default its host)"`
	MayForget       bool   `setting:"take a bucket that may forget what it acknowledged: of one replica, or in memory" default:"false"`

	Logger *slog.Logger `json:"-"` // told of certificates that expire; nil: nothing is logged

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// DefaultName is that of the bucket and of its key.
const DefaultName = "understudy"

var (
	bucketName = regexp.MustCompile(`^[-_a-zA-Z0-9]{1,64}$`)
	keyName    = regexp.MustCompile(`^[-_=/a-zA-Z0-9]{1,200}$`)
)

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	all, err := c.servers()
	if err == nil && all[0].Scheme == "nats" && c.files().Used() {
		err = errors.New("begins with nats://, and there are files for TLS; write tls://")
	}
	errs := []error{lock.InFields(err, "URL"), c.files().Check()}
	if c.Bucket != "" && !bucketName.MatchString(c.Bucket) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be letters, digits, dashes and underscores, at most 64", c.Bucket), "Bucket"))
	}
	if c.Group != "" && !keyName.MatchString(c.Group) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be letters, digits and any of -_=/, at most 200", c.Group), "Group"))
	}
	for _, one := range []struct{ value, file, field string }{
		{c.Password, c.PasswordFile, "Password"}, {c.Token, c.TokenFile, "Token"}, {"", c.CredentialsFile, "Credentials"},
	} {
		if one.value != "" && one.file != "" {
			errs = append(errs, lock.InFields(errors.New("give one of them"), one.field, one.field+"File"))
		} else if one.file != "" {
			text, err := clientconf.Secret(one.file)
			if err == nil && one.field == "Credentials" {
				err = checkCredentials(one.file, text)
			}
			errs = append(errs, lock.InFields(err, one.field+"File"))
		}
	}
	token, password := c.Token+c.TokenFile != "", c.Password+c.PasswordFile != ""
	switch {
	case c.CredentialsFile != "" && (token || password || c.User != ""), token && (password || c.User != ""):
		errs = append(errs, lock.InFields(errors.New("give a user with a password, a token, or a file of credentials"), "User", "Token", "CredentialsFile"))
	case password != (c.User != ""):
		errs = append(errs, lock.InFields(errors.New("give both a user and a password, or none"), "User", "Password"))
	}
	return errors.Join(errs...)
}

// checkCredentials says what is missing in a file of credentials. The library would say so with every connection.
func checkCredentials(path, text string) error {
	_, noToken := nkeys.ParseDecoratedJWT([]byte(text))
	_, noSeed := nkeys.ParseDecoratedUserNKey([]byte(text))
	if noToken != nil || noSeed != nil {
		return fmt.Errorf("%s: holds no user's JWT with its seed, as nsc writes them", path)
	}
	return nil
}

// credentials are the fields that say who we are.
func (c Config) credentials() []string {
	switch {
	case c.CredentialsFile != "":
		return []string{"CredentialsFile"}
	case c.Token != "":
		return []string{"Token"}
	case c.TokenFile != "":
		return []string{"TokenFile"}
	case c.Password != "":
		return []string{"User", "Password"}
	case c.User != "":
		return []string{"User", "PasswordFile"}
	}
	return []string{"URL"}
}

// unknown says that the servers do not know who we are, and where that is written.
func (c Config) unknown(err error) error {
	if fields := c.credentials(); fields[0] != "URL" {
		return lock.InFields(fmt.Errorf("the server refuses these: %w", err), fields...)
	}
	return lock.InFields(fmt.Errorf("the server requires a login; give a user and a password, or a token: %w", err), "User", "PasswordFile")
}

func (c Config) files() clientconf.TLSFiles {
	return clientconf.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, Name: c.ServerName, Named: "ServerName"}
}

// servers reads the URL.
func (c Config) servers() (all []*url.URL, err error) {
	scheme, hosts, _ := strings.Cut(c.URL, "://")
	if scheme != "nats" && scheme != "tls" || hosts == "" {
		if c.URL == "" {
			return nil, errors.New("none given; write it as tls://h1:4222,h2:4222")
		}
		return nil, fmt.Errorf("%q is not the URL of NATS servers; write it as tls://h1:4222,h2:4222", clientconf.Shown(c.URL))
	}
	for host := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse(scheme + "://" + strings.TrimPrefix(host, scheme+"://"))
		switch {
		case strings.Contains(host, "@"):
			return nil, errors.New("has a user in it, where others see the password; give --nats-user and --nats-password-file, or --nats-token-file")
		case err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/")+u.RawQuery != "":
			return nil, fmt.Errorf("%q is not HOST:PORT of a NATS server", host)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), "4222")
		}
		if err := clientconf.CheckPort(u.Port()); err != nil {
			return nil, fmt.Errorf("%q is not HOST:PORT of a NATS server: %w", host, err)
		}
		all = append(all, u)
	}
	return all, nil
}

// options are what one connection to a server is made with, with the files as they are now. A call
// that fails is the caller's: nothing is buffered or sent again.
func (c Config) options(server *url.URL) ([]nats.Option, error) {
	all := []nats.Option{
		nats.Name("understudy"), nats.NoReconnect(), nats.Timeout(patience), nats.SkipHostLookup(), nats.NoCallbacksAfterClientClose(),
		nats.CustomInboxPrefix("_INBOX." + DefaultName), nats.IgnoreDiscoveredServers(),
	}
	if server.Scheme == "tls" {
		all = append(all, nats.Secure(c.files().Config(server.Hostname(), func(error) {})))
	}
	secret := func(value, file string) (string, error) {
		if file == "" {
			return value, nil
		}
		return clientconf.Secret(file)
	}
	switch {
	case c.CredentialsFile != "":
		if _, err := clientconf.Secret(c.CredentialsFile); err != nil {
			return nil, err
		}
		return append(all, nats.UserCredentials(c.CredentialsFile)), nil
	case c.User != "":
		password, err := secret(c.Password, c.PasswordFile)
		return append(all, nats.UserInfo(c.User, password)), err
	case c.Token+c.TokenFile != "":
		token, err := secret(c.Token, c.TokenFile)
		return append(all, nats.Token(token)), err
	}
	return all, nil
}

// Hosts are HOST:PORT of each server that the URL names.
func (c Config) Hosts() (hosts []string) {
	all, _ := c.servers() // none if it is wrong
	for _, one := range all {
		hosts = append(hosts, one.Host)
	}
	return hosts
}

// Secure reports whether connections use TLS.
func (c Config) Secure() bool { return strings.HasPrefix(c.URL, "tls://") }

// Use has the URL name other servers, without TLS if there was none.
func (c *Config) Use(hosts ...string) {
	scheme := "nats://"
	if c.Secure() {
		scheme = "tls://"
	}
	c.URL = scheme + strings.Join(hosts, ",")
}
