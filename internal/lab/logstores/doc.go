// Package logstores compares the stores of entries that hashicorp/raft has: raft-boltdb, which embedded Raft uses, and
// raft-wal. It is a module of its own, since nothing else uses raft-wal. docs/decisions.md says what follows from it.
package logstores
