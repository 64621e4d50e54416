#!/bin/sh
# Makes the user and shows systemd the units. It starts and restarts nothing: a contender has no settings yet, and
# after an upgrade the operator restarts one after the other.
set -e
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers understudy.conf
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
