#!/usr/bin/env bash
# KillMode=mixed of systemd kills what is left of a service at once when its main process dies.
#
# Guess: as systemd.kill(5) has it, the main process gets SIGTERM, and the "subsequent SIGKILL" comes to the
# rest of the control group when TimeoutStopSec= is over. So a helper that is to clean up after a main process
# which crashed has that time.
# What happens: there is no main process any more to which SIGTERM could be sent, and systemd sends SIGKILL to all others
# in that moment, whatever TimeoutStopSec= says. Under KillMode=control-group they get SIGTERM first, and the
# helper that ignores it has its time.
# For users of understudy: its units have KillMode=control-group, or a crash would take the witness with it.
# Takes root, and systemd 252, as Debian 12 has it: it runs as the first process of namespaces of its own.
set -euo pipefail
dir=$(mktemp -d)
group=$(findmnt -n -t cgroup2 -o TARGET --first-only)/finding-$$
boot=''
trap '[ -z "$boot" ] || kill -9 "$boot" 2> /dev/null || true; wait; sleep 1; find "$group" -depth -type d -exec rmdir {} \; 2> /dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
systemctl --version | head -1
mkdir -p root etc/systemd/system var
echo 'root:x:0:0:root:/root:/bin/bash' > etc/passwd
echo 'root:x:0:' > etc/group
: > etc/machine-id
cp /etc/ld.so.cache etc/
printf '[Unit]\nRequires=basic.target\n' > etc/systemd/system/default.target
for unit in systemd-udevd.service systemd-udev-trigger.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
	sys-kernel-tracing.mount sys-fs-fuse-connections.mount sys-kernel-config.mount; do ln -s /dev/null "etc/systemd/system/$unit"; done
for mode in mixed control-group; do
	cat > "etc/systemd/system/$mode.service" << UNIT
[Service]
KillMode=$mode
TimeoutStopSec=60
ExecStart=/bin/bash -c '(trap "" TERM; while [ -d /proc/\$\$\$\$ ]; do sleep 0.1; done; sleep 1; echo cleaned up > /var/$mode) & exec sleep infinity'
UNIT
done
cat > boot.sh << 'BOOT'
set -e
mount --make-rprivate /
mount -t tmpfs root root
cd root
mkdir usr etc var run proc sys dev tmp old
for d in bin sbin lib lib64; do ln -s usr/$d $d; done
mount --rbind /usr usr
mount --bind ../etc etc
mount --bind ../var var
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
pivot_root . old
umount -l old
exec env -i container=finding PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --log-target=journal --show-status=no < /dev/null
BOOT
mkdir "$group"
bash -c 'echo $$ > "$0/cgroup.procs" && exec unshare --cgroup --mount --pid --net --uts --ipc --fork --kill-child bash boot.sh' "$group" &
boot=$!
init=''
box() { nsenter -t "$init" -a "$@"; }
for _ in $(seq 300); do
	init=$(tr -d ' ' < "/proc/$boot/task/$boot/children" 2> /dev/null || true)
	[ -n "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ] && box systemctl is-active -q basic.target 2> /dev/null && break
	sleep 0.2
done
for mode in mixed control-group; do
	box systemctl start $mode
	sleep 1
	box systemctl kill --kill-whom=main --signal=KILL $mode
	sleep 5
	echo "$mode: $(cat var/$mode 2> /dev/null || echo the helper was killed)"
done | tee out
[ "$(cat out)" = $'mixed: the helper was killed\ncontrol-group: cleaned up' ]
