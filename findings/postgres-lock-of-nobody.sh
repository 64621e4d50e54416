#!/usr/bin/env bash
# In PostgreSQL a contender that was killed stays in line for an advisory lock, and a lock can have no holder at all.
#
# Guess: the server sees that a client's socket was closed by its end, so who waited for the lock waits
# no longer; and an advisory lock is in memory, so after a restart of the server nobody has it.
# What happens: a backend does not look at its socket while it waits. The dead one keeps its place,
# and is granted the lock before those that live. And a transaction that holds pg_advisory_xact_lock
# can be prepared: the lock is then of no process, and is there again after a restart.
# For users of understudy: one who waits in PostgreSQL sets client_connection_check_interval, and
# leaves max_prepared_transactions at 0, as it is by default.
set -euo pipefail
dir=$(mktemp -d)
stop() { kill -INT "$(head -1 "$dir/data/postmaster.pid" 2> /dev/null)" 2> /dev/null || true; wait; }
trap 'stop; rm -rf "$dir"' EXIT
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
serve() {
	"${as[@]}" postgres -D "$dir/data" -p 1 -c unix_socket_directories="$dir" -c listen_addresses= -c fsync=off -c shared_buffers=16MB \
		-c max_prepared_transactions=1 -c log_min_messages=info > server.log 2>&1 &
	until ask "select 1" > /dev/null 2>&1; do sleep 0.1; done
}
ask() { timeout 60 psql -h "$dir" -p 1 -U postgres -XAtqc "$1"; }
locks() { ask "select granted, count(*) from pg_locks where locktype = 'advisory' group by 1 order by 1" | tr '\n' ' '; }
until_locks() { for _ in $(seq 300); do [[ $(locks) != "$1" ]] || return 0; sleep 0.1; done; echo "CHANGED: not $1, $(locks)"; exit 1; }
"${as[@]}" initdb -D data -U postgres --auth=trust --no-sync > init.log
serve
ask "select version()"
mkfifo sql
psql -h "$dir" -p 1 -U postgres -XAtq < sql > /dev/null &
exec 3> sql
echo "select pg_advisory_lock(7);" >&3
until_locks "t|1 "
psql -h "$dir" -p 1 -U postgres -XAtqc "select pg_advisory_lock(7)" > /dev/null 3>&- &
waiter=$!
until_locks "f|1 t|1 "
kill -KILL "$waiter"
wait "$waiter" 2> /dev/null || true
sleep 3 # of a client that is gone
after=$(locks)
echo "one holds it, one waits and was killed 3 s ago; granted and count: $after"
exec 3>&-
until_locks ""
ask "begin; select pg_advisory_xact_lock(9); prepare transaction 'p'" > /dev/null
stop
serve
restarted=$(ask "select pid is null, granted from pg_locks where locktype = 'advisory'")
another=$(ask "select pg_try_advisory_lock(9)")
echo "prepared, and the server restarted; no process has it, and it is held: $restarted; another gets it: $another"
[[ $after == "f|1 t|1 " && $restarted == "t|t" && $another == f ]] || { echo "CHANGED"; exit 1; }
echo "as found: a dead client waits on, and a lock of nobody is held"
