#!/usr/bin/env bash
# A lock of OpenStack's tooz on etcd that was lost stays acquired, its heartbeat says that it was renewed, and so it stays for good.
#
# Guess: once the lease of a lock has run out and another process has the lock, acquired is False, or at the latest the next
# heartbeat finds out: it asks etcd for that very lease.
# What happens: acquired reads a set of this process. heartbeat drops what etcd answers, which is that the lease is gone, and
# returns True. release finds another's value there, returns False, and leaves the lock acquired: heartbeats go on.
# For users of understudy: a program that asks acquired before it writes, writes beside its successor after a pause. Term.Valid
# reads the clock and the promise, and a token keeps a late write out.
set -euo pipefail
dir=$(mktemp -d)
trap 'kill "$etcd" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
etcd=
cd "$dir"
mkdir -p archives/partial root
apt-get -qq -o Dir::Cache::archives="$dir/archives" -o APT::Sandbox::User=root -o Debug::NoLocking=1 --no-install-recommends \
	--download-only -y install python3-tooz=3.1.0-3 python3-etcd3gw=2.0.0-2 'etcd-server=3.4.23*' > /dev/null
for deb in archives/*.deb; do dpkg -x "$deb" root; done
export PYTHONPATH=$dir/root/usr/lib/python3/dist-packages
python3 --version && ls archives | grep -E '^(python3-tooz|python3-etcd3gw|etcd-server)'
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
root/usr/bin/etcd --data-dir data --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
	--listen-peer-urls unix://peer:0 --initial-advertise-peer-urls unix://peer:0 --initial-cluster default=unix://peer:0 > etcd.log 2>&1 &
etcd=$!
cat > main.py <<'PY'
import sys
import time
import warnings

warnings.simplefilter("ignore")
import etcd3gw
from etcd3gw.client import Etcd3Client
from tooz import coordination

etcd3gw.client = Etcd3Client  # Debian's factory lacks the argument that its tooz gives, and its class has it

def coordinator(name):
    url = "etcd3+http://127.0.0.1:%s?api_version=v3&lock_timeout=3" % sys.argv[1]
    for _ in range(100):
        try:
            c = coordination.get_coordinator(url, name)
            c.start()
            return c
        except coordination.ToozConnectionError:
            time.sleep(0.3)  # until etcd has started
    raise SystemExit("no etcd")

a = coordinator(b"a").get_lock(b"billing")
b = coordinator(b"b").get_lock(b"billing")
print("a acquires:", a.acquire(blocking=False), "| b acquires beside it:", b.acquire(blocking=False))
print("... a is paused for longer than lock_timeout")
deadline = time.time() + 60
while not b.acquire(blocking=False) and time.time() < deadline:
    time.sleep(0.2)
seen = {
    "b.acquired": b.acquired,
    "a.acquired": a.acquired,
    "a.heartbeat()": a.heartbeat(),
    "what etcd says of a's lease": a._lease.refresh(),
    "a.release()": a.release(),
    "a.acquired, after that": a.acquired,
    "a.heartbeat(), after that": a.heartbeat(),
}
for what, is_so in seen.items():
    print("%s: %s" % (what, is_so))
if list(seen.values()) != [True, True, True, -1, False, True, True]:
    raise SystemExit("it behaves otherwise now")
PY
python3 main.py "$port"
