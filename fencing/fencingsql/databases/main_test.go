package databases

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencingsql"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(childVariable); ok {
		if err := write(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// stops are run after all tests.
var stops []func()

// A database is what database/sql opens.
type database struct{ Driver, DSN string }

// kinds are the databases that the tests run on, each of which is made anew.
var kinds = []struct {
	name string
	make func(testing.TB) database
}{{"sqlite", sqlite}}

func sqlite(t testing.TB) database {
	return database{"sqlite", "file:" + filepath.Join(t.TempDir(), "db") + "?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)"}
}

// onEach runs a test on each kind of database, with the table of tokens and one of data.
func onEach(t *testing.T, test func(*testing.T, database, *sql.DB)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d := k.make(t)
			db := d.open(t)
			must(t, table.Create(t.Context(), db))
			must(t, table.Create(t.Context(), db)) // there is one already
			run(t, db, `CREATE TABLE data (name VARCHAR(20) PRIMARY KEY, value VARCHAR(40))`)
			run(t, db, `INSERT INTO data VALUES ('k', 'none')`)
			test(t, d, db)
		})
	}
}

const table = fencingsql.DefaultTable

func (d database) open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.Driver, d.DSN)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

var must, within = lab.Must, lab.Within

func run(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement, args...)
	must(t, err)
}

// value is what stands in the table of data.
func value(t testing.TB, db *sql.DB) (v string) {
	t.Helper()
	must(t, db.QueryRowContext(t.Context(), `SELECT value FROM data WHERE name = 'k'`).Scan(&v))
	return v
}

// put returns what writes v.
func put(ctx context.Context, v string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE data SET value = $1 WHERE name = 'k'`, v)
		return err
	}
}

// wantStale fails unless err is a *StaleError of role r with these tokens.
func wantStale(t testing.TB, err error, token, current lock.Token) {
	t.Helper()
	var stale *fencing.StaleError
	if !errors.As(err, &stale) || *stale != (fencing.StaleError{Role: "r", Token: token, Current: current}) {
		t.Fatalf("got %v, want token %d refused for %d", err, token, current)
	}
}

// repeatable reports whether the isolation level ended a transaction, which is to be tried
// again.
func repeatable(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == "40001"
}
