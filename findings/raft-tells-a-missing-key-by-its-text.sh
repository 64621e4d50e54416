#!/usr/bin/env bash
# hashicorp/raft takes a missing key for one only where its error reads exactly "not found".
#
# Guess: StableStore's comments say that Get returns an empty slice, and GetUint64 returns 0, for a
# key that is not there; its own raft-boltdb returns ErrKeyNotFound, so errors.Is is asked. A store
# around it may add its name to the error by %w.
# What happens: the text of the error is compared. With one word more BootstrapCluster and NewRaft
# fail on a new, empty store, while a store that does as the comments say is as good as one with that error.
# For users of understudy: its store hands raft-boltdb's errors of reading through as they are.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
go version
go mod init example.com/finding 2> /dev/null
go mod edit -require github.com/hashicorp/raft@v1.7.3 -require github.com/hashicorp/raft-boltdb/v2@v2.3.1 \
	-require github.com/hashicorp/go-metrics@v0.5.4
cat > main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// A named store says in its errors which one it is.
type named struct{ raft.StableStore }

func (n named) Get(key []byte) ([]byte, error) {
	v, err := n.StableStore.Get(key)
	if err != nil {
		err = fmt.Errorf("store of n0: %w", err)
	}
	return v, err
}

func (n named) GetUint64(key []byte) (uint64, error) {
	v, err := n.StableStore.GetUint64(key)
	if err != nil {
		err = fmt.Errorf("store of n0: %w", err)
	}
	return v, err
}

// A quiet store does what the comments say.
type quiet struct{ raft.StableStore }

func (q quiet) Get(key []byte) ([]byte, error) {
	v, err := q.StableStore.Get(key)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return nil, nil
	}
	return v, err
}

func (q quiet) GetUint64(key []byte) (uint64, error) {
	v, err := q.StableStore.GetUint64(key)
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, nil
	}
	return v, err
}

type machine struct{}

func (machine) Apply(*raft.Log) any                 { return nil }
func (machine) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (machine) Restore(io.ReadCloser) error         { return nil }

func try(file string, wrap func(raft.StableStore) raft.StableStore) {
	db, err := raftboltdb.NewBoltStore(file)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	store := wrap(db)
	_, err = store.GetUint64([]byte("none"))
	fmt.Printf("%s: a missing key: %v, is ErrKeyNotFound: %t\n", file, err, errors.Is(err, raftboltdb.ErrKeyNotFound))
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = "n0", hclog.NewNullLogger()
	_, wire := raft.NewInmemTransport("")
	snapshots := raft.NewInmemSnapshotStore()
	group := raft.Configuration{Servers: []raft.Server{{ID: "n0", Address: wire.LocalAddr()}}}
	fmt.Printf("%s: BootstrapCluster: %v\n", file, raft.BootstrapCluster(c, db, store, snapshots, wire, group))
	r, err := raft.NewRaft(c, machine{}, db, store, snapshots, wire)
	fmt.Printf("%s: NewRaft: %v\n", file, err)
	if err == nil {
		r.Shutdown().Error()
	}
}

func main() {
	try("plain", func(s raft.StableStore) raft.StableStore { return s })
	try("quiet", func(s raft.StableStore) raft.StableStore { return quiet{s} })
	try("named", func(s raft.StableStore) raft.StableStore { return named{s} })
}
GO
go mod tidy 2> /dev/null
go list -m github.com/hashicorp/raft github.com/hashicorp/raft-boltdb/v2
out=$(go run .)
echo "$out"
for want in "plain: NewRaft: <nil>" "quiet: NewRaft: <nil>" "named: a missing key: store of n0: not found, is ErrKeyNotFound: true" \
	"named: BootstrapCluster: failed" "named: NewRaft: failed"; do
	grep -q "$want" <<< "$out" || { echo "CHANGED: not: $want"; exit 1; }
done
echo "as found: an error that wraps ErrKeyNotFound is not one"
