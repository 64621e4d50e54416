//go:build postgres && linux

package databases

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

func init() {
	for _, level := range []string{"read committed", "repeatable read", "serializable"} {
		kinds = append(kinds, struct {
			name string
			make func(testing.TB) database
		}{"postgres " + level, func(t testing.TB) database { return postgres(t, level) }})
	}
}

var server struct {
	sync.Once
	*servers.Cluster
	err   error
	count int
}

// postgres makes a database at a server of our own, with an isolation level.
func postgres(t testing.TB, level string) database {
	t.Helper()
	server.Do(func() {
		server.Cluster, server.err = servers.StartPostgres(within(t, time.Minute), "-c", "fsync=off")
		if server.err == nil {
			stops = append(stops, server.Stop)
		}
	})
	must(t, server.err)
	server.count++
	name := fmt.Sprint("test", server.count)
	dsn := func(name string) string {
		return "postgres://postgres@" + server.Members[0].Addr() + "/" + name + "?sslmode=disable"
	}
	run(t, database{"pgx", dsn("postgres")}.open(t), "CREATE DATABASE "+name)
	run(t, database{"pgx", dsn(name)}.open(t), "ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'")
	return database{"pgx", dsn(name)}
}

// TestPausedInATransaction stops a writer that has checked and not committed. It holds the
// lock; idle_in_transaction_session_timeout frees its successor, and its commit fails.
func TestPausedInATransaction(t *testing.T) {
	onEach(t, func(t *testing.T, d database, db *sql.DB) {
		if d.Driver == "sqlite" {
			return // the lock is the process's own: see the package's comment
		}
		d.DSN += "&idle_in_transaction_session_timeout=1000"
		first, second := writer{d, 5}.start(t), writer{d, 6}.start(t)
		first.Say("hold stale")
		first.Want("holding stale")
		must(t, first.Pause())
		first.Say("go on")
		second.Say("put second")
		second.Want("committed second")
		must(t, first.Resume())
		first.Want("failed stale")
		first.Say("put stale")
		first.Want("refused stale")
		wantValue(t, db, "second")
	})
}
