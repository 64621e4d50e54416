package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// raftLeadership is hashicorp/raft with its default timing, where who leads is who
// is active.
func raftLeadership(ctx context.Context, c contender) error {
	config := raft.DefaultConfig()
	config.LocalID, config.LogOutput = raft.ServerID(c.id), io.Discard
	var group raft.Configuration
	var self string
	for i, address := range c.addresses {
		id := fmt.Sprintf("c%d", i)
		if id == c.id {
			self = address
		}
		group.Servers = append(group.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(address)})
	}
	bind, err := net.ResolveTCPAddr("tcp", self)
	if err != nil {
		return err
	}
	transport, err := raft.NewTCPTransport(self, bind, 3, 10*time.Second, io.Discard)
	if err != nil {
		return err
	}
	store, err := raftboltdb.NewBoltStore(filepath.Join(c.dir, "raft.db"))
	if err != nil {
		return err
	}
	snapshots, err := raft.NewFileSnapshotStore(c.dir, 2, io.Discard)
	if err != nil {
		return err
	}
	if known, err := raft.HasExistingState(store, store, snapshots); err != nil {
		return err
	} else if !known {
		if err := raft.BootstrapCluster(config, store, store, snapshots, transport, group); err != nil {
			return err
		}
	}
	r, err := raft.NewRaft(config, nothing{}, store, store, snapshots, transport)
	if err != nil {
		return err
	}
	defer r.Shutdown()
	say("standby", 0)
	return follow(ctx, r)
}

// follow works while this node leads.
func follow(ctx context.Context, r *raft.Raft) error {
	stop := func() {}
	done := make(chan struct{})
	close(done)
	for {
		select {
		case leads := <-r.LeaderCh():
			stop()
			<-done
			if !leads {
				say("standby", 0)
				continue
			}
			if err := r.Barrier(10 * time.Second).Error(); err != nil {
				continue // it leads no more
			}
			token := r.CurrentTerm()
			say("granted", token)
			active, cancel := context.WithCancel(ctx)
			ended := make(chan struct{})
			stop, done = cancel, ended
			go func() { defer close(ended); work(active, token) }()
		case <-ctx.Done():
			stop()
			<-done
			_ = r.LeadershipTransfer().Error() // where it does not lead there is nothing to transfer
			return nil
		}
	}
}

// nothing is a state machine without a state.
type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error        { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}
