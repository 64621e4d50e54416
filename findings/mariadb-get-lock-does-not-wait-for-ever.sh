#!/usr/bin/env bash
# MariaDB does not wait at all in GET_LOCK with a negative timeout.
#
# Guess: MySQL documents that a negative timeout means to wait for ever, MariaDB takes MySQL's clients
# and dialect, and a timeout that it did not want would be an error.
# What happens: it answers NULL at once, with a warning that few clients read. A standby that waits
# so asks in a busy loop, or, where NULL is not looked at, takes a lock that it has not.
# For users of understudy: a lock in SQL is taken only where the answer is 1.
set -euo pipefail
dir=$(mktemp -d)
server='' holder=''
trap 'kill $holder $server 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial root data
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--reinstall --download-only -y install mariadb-server-core mariadb-client-core libmariadb3 libaio1 liburing2 mariadb-common > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu:$dir/root/lib/$(uname -m)-linux-gnu
root/usr/sbin/mariadbd --no-defaults --user="$(id -un)" --datadir="$dir/data" --socket="$dir/socket" --pid-file="$dir/pid" \
	--lc-messages-dir="$dir/root/usr/share/mysql" --character-sets-dir="$dir/root/usr/share/mysql/charsets" \
	--plugin-dir="$dir/data" --skip-grant-tables --skip-networking --innodb-buffer-pool-size=16M > server.log 2>&1 &
server=$!
ask() { root/usr/bin/mariadb --no-defaults --socket="$dir/socket" --skip-column-names -e "$1"; }
for _ in $(seq 300); do
	ask 'select version()' 2> /dev/null && break
	sleep 0.1
done
ask "select get_lock('billing', 0), sleep(30)" > /dev/null 2>&1 &
holder=$!
until [[ $(ask "select is_free_lock('billing')") == 0 ]]; do sleep 0.1; done
one=$(ask "select get_lock('billing', 1)")
echo "held by another, timeout 1: $one"
began=$SECONDS
answer=$(timeout 20 root/usr/bin/mariadb --no-defaults --socket="$dir/socket" --skip-column-names --show-warnings -e "select get_lock('billing', -1)")
echo "held by another, timeout -1, after $((SECONDS - began)) s:" $answer
free=$(ask "select get_lock('other', -1)")
echo "held by nobody, timeout -1: $free"
[[ $one == 0 && $answer == NULL* && $free == NULL ]] || { echo "CHANGED"; exit 1; }
echo "as found: NULL at once"
