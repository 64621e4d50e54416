//go:build postgres

package postgres_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var must, within, until = lab.Must, lab.Within, lab.Until

// A rig is a real server, with the database and the user of docs/postgres.md.
type rig struct {
	testing.TB
	*servers.Cluster
}

func start(t testing.TB, args ...string) *rig {
	t.Helper()
	c, err := servers.StartPostgres(within(t, time.Minute), args...)
	must(t, err)
	t.Cleanup(c.Stop)
	r := &rig{t, c}
	r.hand("postgres", "create role billing login")
	r.hand("postgres", "create database understudy")
	r.hand("understudy", table(t))
	return r
}

// table is what docs/postgres.md has the operator do, for the user billing.
func table(t testing.TB) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/postgres.md")
	must(t, err)
	all := ""
	for _, one := range regexp.MustCompile(`psql -c "(.*)"`).FindAllStringSubmatch(string(page), -1) {
		all += one[1] + "; "
	}
	return all
}

// hand runs statements as the server's superuser, and returns what the last one says in its first
// row.
func (r *rig) hand(database, statements string) string {
	r.Helper()
	return hand(r, r.Members[0], database, statements)
}

func hand(t testing.TB, m *servers.Member, database, statements string) string {
	t.Helper()
	return handAs(t, "postgres", m, database, statements)
}

func handAs(t testing.TB, user string, m *servers.Member, database, statements string) string {
	t.Helper()
	ctx := within(t, time.Minute)
	c, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", user, m.Addr(), database))
	must(t, err)
	defer c.Close(ctx)
	rs, err := c.Exec(ctx, statements).ReadAll()
	must(t, err)
	if last := rs[len(rs)-1]; len(last.Rows) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// config is that of a process that uses a group of contenders' row, through all of these servers.
func config(group string, all ...*servers.Member) postgres.Config {
	hosts := ""
	for _, m := range all {
		hosts += "," + m.Addr()
	}
	return postgres.Config{URL: "postgres://billing@" + hosts[1:] + "/understudy?sslmode=disable", Group: group}
}

func open(t testing.TB, c postgres.Config) lock.Locker {
	t.Helper()
	l, err := postgres.Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// register registers a contender, however long the store is away.
func register(t testing.TB, ctx context.Context, l lock.Locker, id string) lock.Session {
	t.Helper()
	return registerFor(t, ctx, l, id, 10*time.Second)
}

func registerFor(t testing.TB, ctx context.Context, l lock.Locker, id string, ttl time.Duration) lock.Session {
	t.Helper()
	for {
		short, cancel := context.WithTimeout(ctx, time.Second)
		s, err := l.Register(short, lock.Contender{ID: id, Session: lock.SessionID("session of " + id)}, lock.Promise{TTL: ttl, Skew: time.Second}, lock.Bid{Role: "r"})
		cancel()
		if err == nil {
			return s
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
