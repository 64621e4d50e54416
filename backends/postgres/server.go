package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/lock"
)

// What is refused, by name.
var (
	// ErrStandby means that the server is a standby, not the primary.
	ErrStandby = errors.New("this server is a standby; name the primary, or every server that may be it")

	// ErrOlder means that a replica was promoted since this server was the primary.
	ErrOlder = errors.New("this server is a primary that came back after another was promoted; stop it, and make it a standby of that one")

	// ErrForgets means that the server may lose what it has acknowledged when it crashes.
	ErrForgets = errors.New("this server may forget what it has acknowledged")
)

// A server is whose data a connection led to, and in which history of it: a promotion begins one.
type server struct {
	system   string
	timeline uint64
}

func (s server) era() string { return fmt.Sprintf("%s/%d", s.system, s.timeline) }

// fresh says whose the answer is that came with this timeline, if it may be believed. Else the
// connection has ended.
func (s *store) fresh(c *conn, timeline string) (now server, err error) {
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	if timeline == "" {
		return server{}, ErrStandby
	}
	n, err := strconv.ParseUint(timeline, 16, 32)
	if err != nil {
		return server{}, err
	}
	now = server{c.server.system, n}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.system == s.latest.system && now.timeline < s.latest.timeline {
		return now, fmt.Errorf("%w: it is on timeline %d, and %d was seen", ErrOlder, now.timeline, s.latest.timeline)
	}
	s.latest = now
	return now, nil
}

// oldest is the first version that has everything that is asked for here.
const oldest = 12

// begin looks at the server before anything else is asked of it.
func (s *store) begin(ctx context.Context, c *conn) error {
	major, _, _ := strings.Cut(c.ParameterStatus("server_version"), ".")
	if n, err := strconv.Atoi(major); err == nil && n < oldest { // a version that is not a number is a newer one: 19beta1
		return lock.Permanent(fmt.Errorf("PostgreSQL %d is too old: %d or later is needed", n, oldest))
	}
	rs, err := c.query(ctx, `select system_identifier, current_setting('fsync'), `+timeline+`, current_setting('synchronous_commit'), pg_backend_pid() from pg_control_system()`)
	if err != nil {
		return err
	}
	said := rs[0].Rows[0]
	c.direct = string(said[4]) == strconv.FormatUint(uint64(c.PID()), 10) // a pooler makes up its own
	c.server.system = string(said[0])
	if c.server, err = s.fresh(c, string(said[2])); err != nil || s.MayForget {
		return err
	}
	for name, value := range map[string][]byte{"fsync": said[1], "synchronous_commit": said[3]} {
		if string(value) == "off" {
			return lock.Permanent(lock.InFields(fmt.Errorf("%w: %s is off; set it on, or allow it here", ErrForgets, name), "MayForget"))
		}
	}
	return nil
}

// A Primary is the server that takes writes.
type Primary struct {
	Address  string // HOST:PORT
	ReadOnly bool   // it refuses them: default_transaction_read_only is on
}

// Inspect looks at the primary. It writes nothing.
func Inspect(ctx context.Context, c Config) (p Primary, err error) {
	c.Logger = nil
	s, err := newStore(c)
	if err != nil {
		return p, err
	}
	err = s.calls.with(ctx, func(ctx context.Context, c *conn) error {
		p.Address = c.Conn().RemoteAddr().String()
		rs, err := c.query(ctx, `select current_setting('default_transaction_read_only')`)
		if err == nil {
			p.ReadOnly = string(rs[0].Rows[0][0]) == "on"
		}
		return err
	})
	return p, errors.Join(s.named(err), s.Close())
}

// SQLSTATEs.
const (
	noTable       = "42P01"
	noRight       = "42501"
	noColumn      = "42703"
	tooMany       = "53300" // connections
	wrongPassword = "28P01" // or no such user
)

var (
	made      = []string{"23505", "42P07", "42710"}                // by another just now: "if not exists" does not see what is not committed
	overtaken = []string{"40001", "40P01"}                         // by another transaction: nothing was written
	refused   = []string{"28000", wrongPassword, "3D000", noRight} // until somebody changes something
)

func is(err error, states ...string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && slices.Contains(states, pg.Code)
}

// noTLS is what the library says of any answer to its request for TLS but a yes. It has no value for it.
const noTLS = "server refused TLS connection"

// unknown says that the server does not take this user with this password, and where they are written.
func (s *store) unknown(err error) error {
	switch {
	case s.Password != "":
		return lock.InFields(fmt.Errorf("the server refuses this user and this password: %w", err), "URL", "Password")
	case s.PasswordFile != "":
		return lock.InFields(fmt.Errorf("the server refuses this user and this password: %w", err), "URL", "PasswordFile")
	}
	return lock.InFields(fmt.Errorf("the server refuses this user, and no password is given here; write it into a file: %w", err), "URL", "PasswordFile")
}

// named says what to do about an error, and whether trying again can help.
func (s *store) named(err error) error {
	s.mu.Lock()
	worked := s.latest != server{}
	s.mu.Unlock()
	var foreign *pgproto3.ExceededMaxBodyLenErr
	switch {
	case err != nil && strings.Contains(err.Error(), noTLS):
		why := certs.Mismatch(lock.InFields(fmt.Errorf("the server speaks no TLS, or is not PostgreSQL (%w); if it is meant to have none, add ?sslmode=disable", err), "URL"))
		if worked || !certs.Every(err, func(one error) bool { return strings.Contains(one.Error(), noTLS) }) {
			return lock.Refusal(why) // another of the servers may be back
		}
		return lock.Permanent(why)
	case errors.As(err, &foreign):
		return lock.InFields(fmt.Errorf("what answers there is not PostgreSQL; write the address of a server, whose port is 5432 by default (%w)", err), "URL")
	case is(err, wrongPassword):
		err = s.unknown(err)
		if worked { // it is being changed
			return lock.Refusal(err)
		}
		return lock.Permanent(err)
	case is(err, noColumn):
		return lock.Permanent(lock.InFields(fmt.Errorf("%s is not a table of ours; name another one: %w", s.Table, err), "Table"))
	case is(err, noRight):
		return lock.Permanent(lock.InFields(fmt.Errorf("%w; see docs/postgres.md for the rights, and for how the table is made", err), "URL"))
	case is(err, refused...) && !worked:
		return lock.Permanent(lock.InFields(err, "URL"))
	case is(err, refused...), is(err, tooMany): // a right that was there is being changed, say
		return lock.Refusal(err)
	}
	return err
}
