package raft

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// streams is Raft's way through the port.
type streams struct {
	*port
	address net.Addr
}

func (s streams) Accept() (net.Conn, error) { return s.raft.Accept() }
func (s streams) Close() error              { return nil }
func (s streams) Addr() net.Addr            { return s.address }

func (s streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, stop := context.WithTimeout(s.ctx, timeout)
	defer stop()
	return s.dial(ctx, string(address), raftStream)
}

// advertised is the address under which the others know a node.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// ServerAddr makes the list of peers say where a peer is, and the log only where the list does not.
func (d *dialer) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	for _, p := range d.known() {
		if p.ID == string(id) {
			return raft.ServerAddress(p.Address), nil
		}
	}
	return "", net.UnknownNetworkError("no peer " + string(id))
}

// A transport is the library's with three flaws mended. It asks a peer for a vote only if that peer vouches for
// this node.
type transport struct {
	*raft.NetworkTransport
	log interface {
		leads(raft.ServerID) bool
		unfit() error // why this node should lead no more; nil: it may
		vouched(raft.ServerID) error
	}
	done <-chan struct{}
	rest time.Duration // between two tries
}

// SetHeartbeatHandler does nothing: heartbeats stay in Raft's main loop, which
// the fast path races (hashicorp/raft#695).
func (*transport) SetHeartbeatHandler(func(raft.RPC)) {}

// RequestVote asks a second time if the vote is refused, with the peer's own ID in place of the candidate's.
//
// The library refuses a candidate that the peer's configuration does not list as a voter, before it compares logs. A peer
// that was away while a member was replaced would then refuse the new member, even when the group needs that vote. Raft
// itself decides by the logs alone (Ongaro, "Consensus: Bridging Theory and Practice", 4.1). The library uses the ID
// only for that check, and records the vote by the candidate's address, so the second request lets the logs decide.
func (t *transport) RequestVote(id raft.ServerID, address raft.ServerAddress, in *raft.RequestVoteRequest, out *raft.RequestVoteResponse) error {
	if err := t.log.vouched(id); err != nil {
		return err
	}
	if err := t.NetworkTransport.RequestVote(id, address, in, out); err != nil || out.Granted || out.Term > in.Term {
		return err
	}
	again := *in
	again.ID = []byte(id)
	*out = raft.RequestVoteResponse{}
	return t.NetworkTransport.RequestVote(id, address, &again, out)
}

// RequestPreVote does as RequestVote does.
func (t *transport) RequestPreVote(id raft.ServerID, address raft.ServerAddress, in *raft.RequestPreVoteRequest, out *raft.RequestPreVoteResponse) error {
	if err := t.log.vouched(id); err != nil {
		return err
	}
	if err := t.NetworkTransport.RequestPreVote(id, address, in, out); err != nil || out.Granted || out.Term > in.Term {
		return err
	}
	again := *in
	again.ID = []byte(id)
	*out = raft.RequestPreVoteResponse{}
	return t.NetworkTransport.RequestPreVote(id, address, &again, out)
}

// AppendEntries tries again by itself, as long as this node leads the peer. The
// library would wait after each failure, twice as long each time, up to 10 s, and
// a peer that comes back would hear of nothing until that is over. Heartbeats,
// which carry no position in the log, have a bounded wait already.
func (t *transport) AppendEntries(id raft.ServerID, address raft.ServerAddress, in *raft.AppendEntriesRequest, out *raft.AppendEntriesResponse) error {
	call := func() error { return t.NetworkTransport.AppendEntries(id, address, in, out) }
	if in.PrevLogEntry == 0 && len(in.Entries) == 0 {
		return t.once(call)
	}
	return t.again(id, call)
}

// InstallSnapshot sends heartbeats until the peer answers one, and then the snapshot. A failure makes the library wait as
// for AppendEntries, and a stream that has been read cannot be sent again here; so a peer that is away causes none.
func (t *transport) InstallSnapshot(id raft.ServerID, address raft.ServerAddress, in *raft.InstallSnapshotRequest, out *raft.InstallSnapshotResponse, data io.Reader) error {
	beat := raft.AppendEntriesRequest{RPCHeader: in.RPCHeader, Term: in.Term}
	err := t.again(id, func() error {
		return t.NetworkTransport.AppendEntries(id, address, &beat, new(raft.AppendEntriesResponse))
	})
	if err != nil {
		return err
	}
	return t.NetworkTransport.InstallSnapshot(id, address, in, out, data)
}

// again calls until that succeeds or this node does not lead the peer.
func (t *transport) again(id raft.ServerID, call func() error) error {
	for {
		err := t.once(call)
		if err == nil || !t.log.leads(id) {
			return err
		}
		select {
		case <-time.After(t.rest):
		case <-t.done:
			return err
		}
	}
}

// once calls, unless this node is unfit to lead: a leader whose disk hangs says nothing more. The library's heartbeats
// do not wait for the disk, and would keep the others from choosing another leader for as long as it hangs.
func (t *transport) once(call func() error) error {
	if err := t.log.unfit(); err != nil {
		return err
	}
	return call()
}

// A metered connection is one of Raft's that others have opened. It fails where a message has
// more bytes than any can have: the library reads whatever length a message says.
type metered struct {
	net.Conn
	n atomic.Int64 // bytes since the last answer
}

const (
	maxEntries = 16                            // of one message
	maxMessage = int64(maxEntries+1) * maxBody // with what stands around them; and of a snapshot
)

var errMessage = fmt.Errorf("a message of more than %d bytes", maxMessage)

func (m *metered) Read(p []byte) (int, error) {
	if m.n.Load() > maxMessage {
		return 0, errMessage
	}
	n, err := m.Conn.Read(p)
	m.n.Add(int64(n))
	return n, err
}

func (m *metered) Write(p []byte) (int, error) {
	m.n.Store(0)
	return m.Conn.Write(p)
}

// newRaft makes a panic of the library an error.
func (n *node) newRaft(t raft.Transport) (_ *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return raft.NewRaft(n.options(), n.machine, n.dir.bolt, n.dir.bolt, n.dir.snaps, t)
}
