// Package postgres keeps the contract of package lock in one row of a table of PostgreSQL 12 or
// later, on the primary alone. Package object says what is in the row, and what each call does.
//
// Each call is one message of the simple protocol: the server has all of it or nothing, so a
// network that is cut in the middle leaves no row locked. See docs/postgres.md.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// Open returns a Locker on the row. It connects when it is first used.
func Open(_ context.Context, c Config) (lock.Locker, error) {
	s, err := newStore(c)
	if err != nil {
		return nil, err
	}
	return object.Open(s, limit), nil
}

// limit is how many bytes a row's data may have.
const limit = 1 << 20

// A store is the row.
type store struct {
	Config
	calls, ears *pool // ears hear of changes
	minding     sync.WaitGroup
	pooled      sync.Once   // it was said
	held        atomic.Bool // the last write had no answer in time

	mu     sync.Mutex
	latest server // whose answer was taken last
}

var _ object.Object = (*store)(nil)

func newStore(c Config) (*store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Table, c.Group = cmp.Or(c.Table, DefaultName), cmp.Or(c.Group, DefaultName)
	s := &store{Config: c}
	s.calls = newPool(c, s.begin)
	s.ears = newPool(c, s.listen)
	if c.Logger != nil && c.files().Used() {
		s.minding.Go(func() { c.files().Mind(s.calls.ctx, c.Logger) })
	}
	return s, nil
}

// listen begins a connection that hears of changes. Behind a pooler it does not listen: the pooler would give the
// notifications to whichever client uses that server connection next. The row is polled there.
func (s *store) listen(ctx context.Context, c *conn) error {
	if err := s.begin(ctx, c); err != nil {
		return err
	}
	if c.direct {
		_, err := c.query(ctx, `listen "%s"`, s.Table)
		return err
	}
	if s.Logger != nil {
		s.pooled.Do(func() {
			s.Logger.Info("a pooler stands before PostgreSQL, and may swallow notifications: the row is read every " + poll.String())
		})
	}
	return nil
}

// row is what every answer has: the row's version and data, unless these are of a version that is
// known, and the timeline, which a standby does not have.
const (
	row      = `select r.version, case when r.version = %s then '' else r.data end, ` + timeline + ` from (select) as one left join %s as r on r.name = %s`
	timeline = `case when pg_is_in_recovery() then '' else substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) end`
)

// Get is object.Object's. A missing table counts as a missing row.
func (s *store) Get(ctx context.Context) (v object.Value, err error) {
	err = s.calls.with(ctx, func(ctx context.Context, c *conn) error {
		v, err = s.read(ctx, c, "")
		return err
	})
	return v, s.named(err)
}

// read reads the row. Its data is left out if its nonce is the known one.
func (s *store) read(ctx context.Context, c *conn, known string) (v object.Value, err error) {
	c.news = ""
	rs, err := c.query(ctx, row, text(known), s.Table, text(s.Group))
	if is(err, noTable) {
		return object.Value{Era: c.server.era()}, nil
	} else if err != nil {
		return v, err
	}
	v, err = s.value(c, rs)
	c.news = cmp.Or(c.news, nonce(v.Version))
	return v, err
}

// value is what the last answer says.
func (s *store) value(c *conn, rs []*pgconn.Result) (v object.Value, err error) {
	said := rs[len(rs)-1].Rows[0]
	now, err := s.fresh(c, string(said[2]))
	if v.Era = now.era(); said[0] != nil {
		v.Version, v.Data = string(said[2])+"."+string(said[0]), said[1]
	}
	return v, err
}

// nonce is what the row holds of a version.
func nonce(version string) string {
	_, of, _ := strings.Cut(version, ".")
	return of
}

// Put is object.Object's. A version begins with the timeline, which the very statement that writes
// compares: through a pooler it may reach another server than the read before.
func (s *store) Put(ctx context.Context, data []byte, version string) (v object.Value, err error) {
	next, conflict := text(rand.Text()), false
	write := `insert into %s (version, data, name) values (%s, %s, %s) on conflict (name) do nothing`
	args := []any{s.Table, next, text(data), text(s.Group)}
	if on, old, there := strings.Cut(version, "."); there {
		write = `update %s set version = %s, data = %s, written = now() where name = %s and version = %s and ` + timeline + ` = %s`
		args = append(args, text(old), text(on))
	}
	mark, guarded := s.mark(), version != "" && s.held.Load()
	if guarded {
		write += ` and (select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid() and starts_with(query, %s)) < %d`
		args = append(args, text(mark), mostWaiting)
	}
	args = append(args, text(s.Table), next, next, s.Table, text(s.Group))
	err = s.calls.with(ctx, func(ctx context.Context, c *conn) error {
		rs, err := c.query(ctx, mark+` with put as (`+write+` returning name) select pg_notify(%s, %s) from put; `+row, args...)
		if conflict = is(err, overtaken...); conflict || err != nil {
			return err
		}
		v, err = s.value(c, rs)
		if conflict = err == nil && len(rs[0].Rows) == 0; conflict && guarded && v.Version == version {
			v, conflict, err = object.Value{}, false, errWaiting
		}
		return err
	})
	switch {
	case conflict, err == nil:
		s.held.Store(false)
	case ctx.Err() != nil:
		s.held.Store(true)
	}
	if conflict {
		return v, object.ErrConflict
	}
	return v, s.named(err)
}

// Changed is object.Object's. Until a first notification has come through a connection it reads
// now and then: behind a pooler none may come.
func (s *store) Changed(ctx context.Context, version string) (v object.Value, err error) {
	err = s.ears.with(ctx, func(ctx context.Context, c *conn) error {
		for {
			if c.news == "" || c.news != nonce(version) {
				if v, err = s.read(ctx, c, nonce(version)); err != nil || v.Version != version {
					if len(v.Data) == 0 { // on another timeline, or gone
						v = object.Value{}
					}
					return err
				}
			}
			if err := c.wait(ctx); err != nil {
				return err
			}
		}
	})
	return v, s.named(err)
}

// Start is object.Object's: of each timeline and each row there, far above what one row comes to.
// It makes the table.
func (s *store) Start(ctx context.Context) (count uint64, err error) {
	err = s.calls.with(ctx, func(ctx context.Context, c *conn) error {
		const next = `select nextval('%s_start'), ` + timeline
		rs, err := c.query(ctx, next, s.Table)
		if is(err, noTable) {
			rs, err = c.query(ctx, tables+next, s.Table, s.Table, s.Table)
		}
		for tries := 0; is(err, made...) && tries < 2; tries++ { // once for the table, once for the sequence
			rs, err = c.query(ctx, tables+next, s.Table, s.Table, s.Table)
		}
		if err != nil {
			return err
		}
		said := rs[len(rs)-1].Rows[0]
		now, err := s.fresh(c, string(said[1]))
		if err == nil {
			count, err = strconv.ParseUint(string(said[0]), 10, 64)
		}
		count = now.timeline<<44 + count<<36
		return err
	})
	return count, s.named(err)
}

// tables makes what is needed. docs/postgres.md shows it.
const tables = `create table if not exists %s (
	name text primary key, version text not null, data text not null, written timestamptz not null default now());
create sequence if not exists %s_start; `

// mostWaiting is how many writes of one row may wait in the server, those of all processes together. The server does not
// notice that a connection was closed while its write waits. So while somebody holds the row, or a synchronous replica is away,
// each try to beat would add one, until nobody gets a connection any more. A process whose last write had no answer therefore
// has the server count first, in the write itself.
const mostWaiting = 8

var errWaiting = fmt.Errorf("%d writes wait in the server already, because somebody holds the row or its table, or a synchronous replica is away", mostWaiting)

// mark is what the writes of the row begin with, so that the server can count them.
func (s *store) mark() string {
	sum := sha256.Sum256([]byte(s.Table + "\x00" + s.Group))
	return fmt.Sprintf("/* understudy %x */", sum[:8])
}

// Close is object.Object's.
func (s *store) Close() error {
	s.calls.close()
	s.ears.close()
	s.minding.Wait()
	return nil
}
