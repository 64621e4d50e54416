#!/usr/bin/env bash
# A PostgreSQL standby grants the advisory lock that a session of its primary holds.
#
# Guess: a hot standby is read-only, so it refuses pg_advisory_lock; or it knows the primary's lock, as
# it does those of ACCESS EXCLUSIVE.
# What happens: advisory locks are kept in each server's memory, and a standby gives its own. A
# contender whose connection came to the standby, as after a failover or with several hosts in its
# connection string, leads beside the one at the primary. The lock outlives the standby's promotion.
# For users of understudy: a lock in PostgreSQL asks with target_session_attrs=read-write, and
# guards what it writes by a token in a table, as the lock itself says nothing of the other server's.
set -euo pipefail
dir=$(mktemp -d)
trap 'for d in "$dir"/primary "$dir"/standby; do kill -INT "$(head -1 "$d/postmaster.pid" 2> /dev/null)" 2> /dev/null || true; done; wait; rm -rf "$dir"' EXIT
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
serve() { # DIRECTORY PORT
	"${as[@]}" postgres -D "$dir/$1" -p "$2" -c unix_socket_directories="$dir" -c listen_addresses= -c fsync=off -c shared_buffers=16MB > "$1.log" 2>&1 &
	until ask "$2" "select 1" > /dev/null 2>&1; do sleep 0.1; done
}
ask() { timeout 60 psql -h "$dir" -p "$1" -U postgres -XAtqc "$2"; } # PORT SQL
"${as[@]}" initdb -D primary -U postgres --auth=trust --no-sync > init.log
serve primary 1
"${as[@]}" pg_basebackup -h "$dir" -p 1 -U postgres -D standby -R -X stream -c fast --no-sync
serve standby 2
ask 1 "select version()"
ask 1 "select pg_advisory_lock(7), pg_sleep(60)" > /dev/null 2>&1 &
until [[ $(ask 1 "select count(*) from pg_locks where locktype = 'advisory'") == 1 ]]; do sleep 0.1; done
second=$(ask 1 "select pg_try_advisory_lock(7)")
echo "held at the primary; another session of the primary gets it: $second"
mkfifo sql
psql -h "$dir" -p 2 -U postgres -XAtq < sql > session &
exec 3> sql
until_lines() { for _ in $(seq 300); do (($(wc -l < session) < $1)) || return 0; sleep 0.1; done; echo "CHANGED: no answer"; exit 1; }
echo "select pg_is_in_recovery(), pg_try_advisory_lock(7);" >&3
until_lines 1
echo "a session of the standby: in recovery, and gets it: $(sed -n 1p session)"
ask 2 "select pg_promote()" > /dev/null
echo "select pg_is_in_recovery(), count(*) from pg_locks where locktype = 'advisory' and granted and pid = pg_backend_pid();" >&3
until_lines 2
echo "the same session after the promotion: in recovery, and locks: $(sed -n 2p session)"
exec 3>&-
[[ $second == f && $(cat session) == $'t|t\nf|1' ]] || { echo "CHANGED"; exit 1; }
echo "as found: two sessions hold the lock"
