package raft

import (
	"bytes"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// leading is the log of a node that leads, until it does not.
type leading struct{ not atomic.Bool }

func (l *leading) leads(raft.ServerID) bool  { return !l.not.Load() }
func (*leading) unfit() error                { return nil }
func (*leading) vouched(raft.ServerID) error { return nil }

// TestSnapshotWaitsForThePeer: a peer that is away when it is to get a snapshot gets it as soon as it is back, and the
// library hears of no failure: it would wait up to 10 s after the last of many.
func TestSnapshotWaitsForThePeer(t *testing.T) {
	t.Parallel()
	wire := func(address string) *raft.NetworkTransport {
		n, err := raft.NewTCPTransport(address, nil, 1, time.Second, io.Discard)
		must(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	free, err := servers.Addresses(1)
	must(t, err)
	address := free[0]
	log := &leading{}
	sender := &transport{NetworkTransport: wire("127.0.0.1:0"), log: log, done: t.Context().Done(), rest: time.Millisecond}
	image := bytes.Repeat([]byte("x"), 1<<20)
	sent := func() chan error {
		done := make(chan error, 1)
		go func() {
			in := raft.InstallSnapshotRequest{Term: 7, Size: int64(len(image))}
			done <- sender.InstallSnapshot("b", raft.ServerAddress(address), &in, new(raft.InstallSnapshotResponse), bytes.NewReader(image))
		}()
		return done
	}
	done := sent()
	select {
	case err := <-done:
		t.Fatalf("the snapshot of a peer that is away ended with %v", err)
	case <-time.After(300 * time.Millisecond): // many tries
	}
	peer := wire(address)
	var got []byte
	for installed := false; !installed; {
		switch rpc := <-peer.Consumer(); in := rpc.Command.(type) {
		case *raft.AppendEntriesRequest:
			if in.Term != 7 || len(in.Entries) != 0 || in.PrevLogEntry != 0 || in.LeaderCommitIndex != 0 {
				t.Errorf("a heartbeat %+v", in)
			}
			rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
		case *raft.InstallSnapshotRequest:
			got, err = io.ReadAll(rpc.Reader)
			must(t, err)
			rpc.Respond(&raft.InstallSnapshotResponse{Term: 7, Success: true}, nil)
			installed = true
		}
	}
	if err := <-done; err != nil || !bytes.Equal(got, image) {
		t.Errorf("%v, and the peer has %d bytes of %d", err, len(got), len(image))
	}
	must(t, peer.Close())
	sender.CloseStreams()
	done = sent()
	log.not.Store(true)
	if err := <-done; err == nil {
		t.Error("who does not lead has sent a snapshot to nobody")
	}
}
