package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/lock"
)

// A Config says which PostgreSQL server to use, and as whom. Every field but URL may be empty. The
// tags are those of backends.Store.
type Config struct {
	URL          string `setting:"the primary, or every server that may be it: postgres://USER@HOST:PORT,HOST:PORT/DATABASE"`
	Table        string `setting:"the table, with its schema if it needs one (default understudy)"`
	Group        string `setting:"the row of this group of contenders (default understudy)"`
	Password     string `secret:"the user's password"`
	PasswordFile string `setting:"the user's password, for nobody else to read"` // instead of Password; read for every connection
	CAFile       string `setting:"authorities that sign PostgreSQL's certificates (default the system's)"`
	CertFile     string `setting:"our certificate"`
	KeyFile      string `setting:"its key"`
	ServerName   string `setting:"the name in the server's certificate (default its host)"`
	MayForget    bool   `setting:"take a server that may forget what it acknowledged: with fsync or synchronous_commit off" default:"false"`

	Logger *slog.Logger `json:"-"` // told of certificates that expire, and of a pooler; nil: nothing is logged

	// Dial makes the connections. TLS is made over what it returns. Nil: as usual.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// DefaultName is that of the table and of its row.
const DefaultName = "understudy"

const example = "postgres://understudy@h1:5432/understudy"

// tableName leaves room for what is put behind it.
var tableName = regexp.MustCompile(`^([a-z_][a-z0-9_]{0,39}\.)?[a-z_][a-z0-9_]{0,39}$`)

// Validate says everything that is wrong with c. Each error is a lock.FieldError, with the
// value and what to write instead.
func (c Config) Validate() error {
	_, secure, err := c.parse()
	if err == nil && !secure && c.files().Used() {
		err = errors.New("says sslmode=disable, and there are files for TLS; leave it out")
	}
	errs := []error{lock.InFields(err, "URL")}
	if c.Table != "" && !tableName.MatchString(c.Table) {
		errs = append(errs, lock.InFields(fmt.Errorf("%q must be small letters, digits and underscores, at most 40, such as %s or ops.%s", c.Table, DefaultName, DefaultName), "Table"))
	}
	if c.Group != "" {
		errs = append(errs, lock.InFields(lock.CheckName("", c.Group), "Group"))
	}
	if c.Password != "" && c.PasswordFile != "" {
		errs = append(errs, lock.InFields(errors.New("give one of them"), "Password", "PasswordFile"))
	} else if c.PasswordFile != "" {
		_, err := clientconf.Secret(c.PasswordFile)
		errs = append(errs, lock.InFields(err, "PasswordFile"))
	}
	return errors.Join(append(errs, c.files().Check())...)
}

func (c Config) files() clientconf.TLSFiles {
	return clientconf.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile, Name: c.ServerName, Named: "ServerName"}
}

// parse reads the URL. Of what libpq knows behind the question mark there is sslmode alone, and
// host for a socket: the others have settings, or no use here.
func (c Config) parse() (config *pgconn.Config, secure bool, err error) {
	wrong := errors.New("is not the URL of a PostgreSQL server; write it as " + example)
	base, query, _ := strings.Cut(c.URL, "?")
	scheme, rest, ok := strings.Cut(base, "://")
	if !ok || scheme != "postgres" && scheme != "postgresql" || rest == "" {
		if c.URL == "" {
			return nil, false, errors.New("none given; write it as " + example)
		}
		if strings.Contains(c.URL, "password") {
			return nil, false, wrong
		}
		return nil, false, fmt.Errorf("%q %w", clientconf.Shown(c.URL), wrong)
	}
	authority, _, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 && strings.Contains(authority[:at], ":") {
		return nil, false, errors.New("has a password in it, where others see it; give it by --postgres-password-file, or UNDERSTUDY_POSTGRES_PASSWORD")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, false, wrong
	}
	for host := range strings.SplitSeq(authority[strings.LastIndex(authority, "@")+1:], ",") {
		if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
			if err := clientconf.CheckPort(port); err != nil {
				return nil, false, fmt.Errorf("%q is not HOST:PORT of a PostgreSQL server: %w", host, err)
			}
		}
	}
	for key := range values {
		if key != "sslmode" && key != "host" {
			return nil, false, fmt.Errorf("has %s, which means nothing here; only sslmode and host may follow the question mark", key)
		}
	}
	mode := values.Get("sslmode")
	if !slices.Contains([]string{"", "verify-full", "disable"}, mode) {
		return nil, false, fmt.Errorf("has sslmode=%s, which trusts a server whose name nobody has checked; leave it out for verify-full, or write disable", mode)
	}
	values.Set("sslmode", "disable") // TLS is ours, see config
	if config, err = pgconn.ParseConfig(base + "?" + values.Encode()); err != nil {
		return nil, false, fmt.Errorf("%q %w", base, wrong)
	}
	return config, mode != "disable" && !strings.HasPrefix(config.Host, "/"), nil
}

// config is what one connection is made with, with the files as they are now. It begins with the
// first host, or, by the number of the connection, with another one.
func (c Config) config(number int) (*pgconn.Config, error) {
	config, secure, err := c.parse()
	if err != nil {
		return nil, err
	}
	all := hosts(config)
	for _, h := range all {
		if secure {
			h.TLSConfig = c.files().Config(h.Host, func(error) {})
		}
	}
	n := number % len(all)
	all = append(all[n:], all[:n]...)
	config.Host, config.Port, config.TLSConfig, config.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
	config.RuntimeParams["application_name"], config.RuntimeParams["client_encoding"] = "understudy", "UTF8"
	if c.Password != "" {
		config.Password = c.Password
	}
	if c.PasswordFile != "" {
		if config.Password, err = clientconf.Secret(c.PasswordFile); err != nil {
			return nil, err
		}
	}
	if c.Dial != nil {
		config.DialFunc = c.Dial
	}
	return config, nil
}

// hosts are all that the URL names.
func hosts(c *pgconn.Config) []*pgconn.FallbackConfig {
	return append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port}}, c.Fallbacks...)
}

// Hosts are HOST:PORT of each server that the URL names.
func (c Config) Hosts() (all []string) {
	if config, _, err := c.parse(); err == nil {
		for _, h := range hosts(config) {
			all = append(all, net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port))))
		}
	}
	return all
}

// Secure reports whether connections use TLS.
func (c Config) Secure() bool {
	_, secure, _ := c.parse()
	return secure
}

// Use has the URL name other servers. Where there is none it names the database postgres, its user,
// and no TLS, as a server that was just made has them.
func (c *Config) Use(hosts ...string) {
	scheme, rest, ok := strings.Cut(c.URL, "://")
	if !ok {
		scheme, rest = "postgres", "postgres@/postgres?sslmode=disable"
	}
	authority, path, _ := strings.Cut(rest, "/")
	user, _, named := strings.Cut(authority, "@")
	if user += "@"; !named {
		user = ""
	}
	c.URL = scheme + "://" + user + strings.Join(hosts, ",") + "/" + path
}
