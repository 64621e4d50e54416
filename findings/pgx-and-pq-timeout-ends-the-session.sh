#!/usr/bin/env bash
# With Go's drivers for PostgreSQL a query that ran into its time gives the session's lock away.
#
# Guess: where a query's context ends, the driver has the server cancel the query, as libpq does, and
# returns the error. The session goes on, and its advisory lock with it.
# What happens: pgx closes the connection. lib/pq has the query canceled, and then closes it, too. So
# one slow query of the holder's, with a timeout that was meant to be careful, ends its term: the
# server gives the lock to the next one, while the holder has only an error of a query.
# For users of understudy: whoever holds a lock in a session uses that connection for nothing else,
# and takes any error of it for the end of the lock. With statement_timeout the session goes on.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill -INT "$(head -1 "$dir/data/postmaster.pid" 2> /dev/null)" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial root
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--reinstall --download-only -y install postgresql-15 postgresql-client-15 libpq5 > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu PATH=$dir/root/usr/lib/postgresql/15/bin:$PATH
as=()
if ((EUID == 0)); then # which the server refuses
	as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
	chown nobody "$dir"
fi
"${as[@]}" initdb -D data -U postgres --auth=trust --no-sync > init.log
"${as[@]}" postgres -D "$dir/data" -p 1 -c unix_socket_directories="$dir" -c listen_addresses= -c fsync=off -c shared_buffers=16MB > server.log 2>&1 &
until timeout 60 psql -h "$dir" -p 1 -U postgres -XAtqc "select version()" 2> /dev/null; do sleep 0.1; done
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/jackc/pgx/v5@v5.12.0 -require github.com/lib/pq@v1.12.3
cat > main.go <<'GO'
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	ctx := context.Background()
	look := must(pgx.Connect(ctx, os.Args[1]))
	held := func() (n int) {
		must(0, look.QueryRow(ctx, "select count(*) from pg_locks where locktype = 'advisory' and granted").Scan(&n))
		return n
	}
	try := func(driver string, exec func(context.Context, string) error) {
		must(0, exec(ctx, "select pg_advisory_lock(7)"))
		before := held()
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		err := exec(short, "select pg_sleep(2)")
		for end := time.Now().Add(10 * time.Second); held() > 0 && time.Now().Before(end); {
			time.Sleep(100 * time.Millisecond)
		}
		fmt.Printf("%s: locks before: %d; query: %v; locks after: %d; next query: %v\n", driver, before, err, held(), exec(ctx, "select 1"))
	}
	c := must(pgx.Connect(ctx, os.Args[1]))
	try("pgx", func(ctx context.Context, q string) error { _, err := c.Exec(ctx, q); return err })
	p := must(must(sql.Open("postgres", os.Args[1])).Conn(ctx))
	try("pq", func(ctx context.Context, q string) error { _, err := p.ExecContext(ctx, q); return err })
}
GO
go mod tidy 2> /dev/null
go list -m github.com/jackc/pgx/v5 github.com/lib/pq
out=$(go run . "host=$dir port=1 user=postgres sslmode=disable")
echo "$out"
for want in "pgx: locks before: 1; .*deadline exceeded; locks after: 0; next query: conn closed" "pq: locks before: 1; .*canceling.*; locks after: 0; next query: driver: bad connection"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
# Where the server itself ends the query, the session goes on.
session=$(timeout 60 psql -h "$dir" -p 1 -U postgres -XAtq 2> errors <<'SQL'
select pg_advisory_lock(7);
set statement_timeout = 300;
select pg_sleep(2);
set statement_timeout = 0;
select count(*) from pg_locks where locktype = 'advisory' and granted and pid = pg_backend_pid();
SQL
)
echo "statement_timeout: $(cat errors); locks after: $(tail -1 <<< "$session")"
grep -q "statement timeout" errors && [[ $(tail -1 <<< "$session") == 1 ]] || { echo "CHANGED: statement_timeout"; exit 1; }
echo "as found: with both drivers the lock is gone"
