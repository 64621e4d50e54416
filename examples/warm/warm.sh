#!/usr/bin/env bash
# A warm command in bash: understudy run --warm --role scheduler -- ./warm.sh
work() { # it ends by SIGTERM
	while true; do
		echo "token $1: $UNDERSTUDY_ID works"
		sleep 0.1
	done
}
sleep "${LOAD:-0.1}" # in place of what takes a program long to start
echo READY=1 >&"$UNDERSTUDY_SOCKET"
while read -r state rest <&"$UNDERSTUDY_SOCKET"; do
	case $state in
	active)
		token=${rest#token=}
		token=${token%% *}
		work "$token" &
		worker=$!
		;;
	standby)
		[ -n "$worker" ] || continue
		kill "$worker"
		wait "$worker"
		worker=
		echo "IDLE=$token" >&"$UNDERSTUDY_SOCKET"
		;;
	stop) exit ;;
	esac
done
