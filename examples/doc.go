// Package examples holds no code of its own: scheduler embeds a coordinator, schedulerfx
// is the same with go.uber.org/fx, wrapped/job.sh is a script that `understudy run`
// runs, and follower is a client that follows whoever is active. The test runs each on
// embedded Raft, etcd and Consul. warm has commands in five languages that run in standby, too.
// rootcoord keeps its state in the replicated log of package state;
// filestore and zookeeper are stores of one's own, see docs/backend.md. Each of these has its own tests.
package examples
