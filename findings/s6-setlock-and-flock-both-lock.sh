#!/usr/bin/env bash
# s6-setlock and flock(1) both hold the lock of one file.
#
# Guess: each runs a command under an exclusive lock of a file, so where one cron job uses this and
# another that, one of the two commands runs.
# What happens: flock(1) takes a lock of flock(2), s6-setlock one of fcntl(2). On a local file system
# Linux does not compare the two, and both commands run. daemontools' setlock, whose arguments
# s6-setlock has, takes flock(2), so to move from one to the other is enough.
# For users of understudy: all contenders for one file use one tool.
set -euo pipefail
dir=$(mktemp -d)
holder=''
trap 'kill $holder 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial root
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--reinstall --download-only -y install s6 daemontools > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
export LD_LIBRARY_PATH=$dir/root/usr/lib/$(uname -m)-linux-gnu:$dir/root/lib/$(uname -m)-linux-gnu
basename -a archives/s6_*.deb archives/daemontools_*.deb
echo "Linux $(uname -r), $(flock --version)"
tools=("root/usr/bin/s6-setlock -n" "root/usr/bin/setlock -n" "flock --no-fork --nonblock")
got=''
for first in "${tools[@]}"; do
	for second in "${tools[@]}"; do
		rm -f lock held
		$first lock bash -c 'echo > held; exec sleep 60' &
		holder=$!
		until [[ -f held ]]; do sleep 0.1; done
		if $second lock true 2> /dev/null; then answer=both; else answer=one; fi
		kill "$holder"
		wait "$holder" 2> /dev/null || true
		echo "${first##*/} and then ${second##*/}: $answer"
		got+="$answer "
	done
done
[[ $got == "one both both both one one both one one " ]] || { echo "CHANGED: $got"; exit 1; }
echo "as found: s6-setlock excludes only itself"
