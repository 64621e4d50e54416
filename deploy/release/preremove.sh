#!/bin/sh
# Stops every contender when the package is removed (deb says remove, rpm 0), and none when it is upgraded.
set -e
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl stop understudy.service 'understudy@*.service'
	fi
fi
