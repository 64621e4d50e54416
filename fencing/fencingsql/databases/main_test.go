package databases

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/understudy-ha/understudy/fencing/fencingsql"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/guards"
)

func TestMain(m *testing.M) {
	guards.Main(m, childVariable, write, func() {
		for _, stop := range stops {
			stop()
		}
	})
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

var must, within, wantStale = lab.Must, lab.Within, guards.WantStale

func run(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement, args...)
	must(t, err)
}

// wantValue fails unless the table of data holds this.
func wantValue(t testing.TB, db *sql.DB, want string) {
	t.Helper()
	var v string
	must(t, db.QueryRowContext(t.Context(), `SELECT value FROM data WHERE name = 'k'`).Scan(&v))
	if v != want {
		t.Fatalf("the value is %q, want %q", v, want)
	}
}

// put returns what writes v.
func put(ctx context.Context, v string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE data SET value = $1 WHERE name = 'k'`, v)
		return err
	}
}

// repeatable reports whether the isolation level ended a transaction, which is to be tried
// again.
func repeatable(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == "40001"
}
