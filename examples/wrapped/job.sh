#!/bin/sh
# A script that knows nothing of roles. It runs in one process of several:
#
#   understudy run --role scheduler --id a --etcd-endpoints 127.0.0.1:2379 --backend etcd -- ./job.sh
#
# and the same with --id b elsewhere. It is told to stop by SIGTERM.
job=0
while true; do
	job=$((job + 1))
	# A real job passes the token to what it writes to, which refuses smaller ones.
	echo "token $UNDERSTUDY_TOKEN: $UNDERSTUDY_ID runs job $job"
	sleep 0.1
done
