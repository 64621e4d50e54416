package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// What peers and clients ask each other, as JSON over HTTP on the one port.
type (
	lookRequest struct {
		After uint64
		Roles []string `json:",omitempty"`
	}
	lookReply struct {
		Standings []lock.Standing
		Revision  uint64
	}
	hello struct {
		ID     string
		State  bool // it has state: a log that went on from the bootstrap, or a vote
		Timing time.Duration
		Peers  []Peer
	}
	joinRequest struct {
		ID   string
		Step string // "remove", then "add"
	}
)

// errNotApplied is wrapped by every error after which it is sure that nothing was
// done: the call may be made again.
var errNotApplied = errors.New("nothing was done")

var errNotReady = fmt.Errorf("%w: this node has not joined its group yet", errNotApplied)

// hold is how long a look is held open for a change.
const hold = 500 * time.Millisecond

// longest is the most that a call may send or answer, in bytes.
const longest = 16 << 20

// A caller makes calls to one peer.
type caller struct {
	peer   Peer
	client *http.Client
}

func newCaller(p Peer, s *security) *caller {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := s.dial(ctx, p, forCall)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNotApplied, err)
		}
		return conn, nil
	}
	return &caller{peer: p, client: &http.Client{Transport: &http.Transport{
		DialContext: dial, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
	}}}
}

// call posts in and reads out. An error that is not errNotApplied leaves the
// outcome unknown.
func (c *caller) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://understudy"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.GetBody = nil // nothing is sent a second time behind our back
	reply, err := c.client.Do(request)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("peer %s at %s: %w", c.peer.ID, c.peer.Address, err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(io.LimitReader(reply.Body, longest))
	if err != nil {
		return fmt.Errorf("peer %s at %s: %w", c.peer.ID, c.peer.Address, err)
	}
	text := fmt.Sprintf("peer %s at %s: %s", c.peer.ID, c.peer.Address, bytes.TrimSpace(data))
	switch reply.StatusCode {
	case http.StatusOK:
		return json.Unmarshal(data, out)
	case http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %s", errNotApplied, text)
	case http.StatusForbidden, http.StatusUpgradeRequired:
		return fmt.Errorf("%w: %s", lock.ErrPermanent, text)
	}
	return errors.New(text)
}

func (c *caller) close() { c.client.CloseIdleConnections() }

// fromPeer is the context key under which a connection says whether its
// certificate is a peer's.
type fromPeer struct{}

// serve answers calls on the port until it is closed.
func (n *node) serve() *http.Server {
	mux := http.NewServeMux()
	handle(mux, "/hello", false, func(context.Context, struct{}) (hello, error) { return n.hello(), nil })
	handle(mux, "/look", false, n.lookFor)
	handle(mux, "/join", true, n.join)
	handle(mux, "/wish", false, func(ctx context.Context, c ledger.Command) (ledger.Result, error) {
		if c.Op != ledger.Ask && c.Op != ledger.Raise {
			return ledger.Result{}, fmt.Errorf("%w: %s is for peers", lock.ErrPermanent, c.Op)
		}
		return n.Propose(ctx, c)
	})
	handle(mux, "/propose", true, n.proposeHere)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: opening,
		ErrorLog: slog.NewLogLogger(n.config.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, fromPeer{}, c.(*sorted).peer)
		},
	}
	n.group.Go(func() { _ = server.Serve(n.port.calls) })
	return server
}

// handle answers one kind of call.
func handle[In, Out any](mux *http.ServeMux, path string, peersOnly bool, f func(context.Context, In) (Out, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		if peer, _ := r.Context().Value(fromPeer{}).(bool); peersOnly && !peer {
			http.Error(w, "the certificate names no peer of the group", http.StatusForbidden)
			return
		}
		var in In
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, longest)).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out, err := f(r.Context(), in)
		switch {
		case errors.Is(err, errNotApplied):
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		case errors.Is(err, lock.ErrPermanent):
			http.Error(w, err.Error(), http.StatusForbidden)
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			_ = json.NewEncoder(w).Encode(out) // a reply that is lost is the caller's to reckon with
		}
	})
}

// lookFor answers a client. A node that knows no leader sends it elsewhere.
func (n *node) lookFor(ctx context.Context, q lookRequest) (lookReply, error) {
	if !n.ready.Load() {
		return lookReply{}, errNotReady
	}
	if address, _ := n.raft.LeaderWithID(); address == "" {
		return lookReply{}, fmt.Errorf("%w: the group has no leader, as this node sees it", errNotApplied)
	}
	ctx, cancel := context.WithTimeout(ctx, hold)
	defer cancel()
	standings, revision, err := n.Look(ctx, q.After, q.Roles...)
	if err != nil && ctx.Err() != nil { // nothing changed: say how it stands
		standings, revision, err = n.Look(context.Background(), 0, q.Roles...)
	}
	return lookReply{Standings: standings, Revision: revision}, err
}
